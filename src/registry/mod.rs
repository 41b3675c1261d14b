//! Registries: what would fail after the build, found before it; and what was pushed, read back.

pub(crate) mod lifecycle;
pub(crate) mod preflight;
pub(crate) mod pushed;
