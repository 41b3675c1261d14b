//! `skip-unchanged`: an image of an earlier build of the same inputs, found by their key and tagged instead of built again.
//!
//! In: an image's plan, the run's logins. [`identify`] makes the key of everything that goes into the build, or says what can't be known;
//! [`look_up`] asks the image's repositories for that key; [`Hit::tag`] puts the run's tags on the image; [`write_key`] leaves the key of a
//! new image for later runs. Nothing here ends a run: what goes wrong is a reason to build.
//!
//! A key is a tag, `unchanged-<sha256>`, of a small manifest of its own ([`Mark`]), not of the image: lifecycle rules may remove old keys,
//! and no image with them; and the image is the same with and without this input. docs/unchanged.md says what is in a key and whom a hit
//! trusts.

#[cfg(test)]
#[path = "../../tests/any_bytes/unchanged.rs"]
pub(crate) mod any_bytes;
mod build;
mod contents;
mod identity;
mod images;
mod lookup;
mod mark;
mod recipe;
mod registries;
mod tree;
mod write;

pub(crate) use build::Build;
pub(crate) use identity::{Identity, identify, preview};
pub(crate) use lookup::{Answer, Hit, look_up};
pub(crate) use mark::Mark;
pub(crate) use registries::Registries;
pub(crate) use tree::GitHub;
pub(crate) use write::{Built, write_key};

/// Why an image is built, in a line.
pub(crate) type Reason = String;
