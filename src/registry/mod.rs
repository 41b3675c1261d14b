//! Registries: what would fail after the build, found before it; and what was pushed, read back.

#[cfg(test)]
#[path = "../../tests/any_bytes/registry.rs"]
pub(crate) mod any_bytes;
pub(crate) mod lifecycle;
pub(crate) mod preflight;
pub(crate) mod pushed;
