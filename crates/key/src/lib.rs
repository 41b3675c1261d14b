//! A key for everything that goes into a build.
//!
//! In: folders ([`Folder::read`]), a Dockerfile's graph and steps, digests of images, settings. Out: a [`Key`], or [`Unknown`], which
//! names the first thing that is not known before the build. Two builds with the same key have the same inputs.
//!
//! Keys form a tree. The key of an instruction includes that of the instruction before it, and those of the stages, images, contexts and
//! files that it reads. The key of a stage is that of its last instruction; the key of the image includes that of its target for each
//! platform. Everything that is hashed has a name and a length ([`Fields`]), so that no two inputs are the same bytes.
//!
//! Only [`Folder`] reads files; everything else is pure.

mod folder;
mod hash;
mod image;
mod scan;
mod stage;
mod unknown;

pub use folder::{Folder, FolderError};
pub use hash::{FORMAT, Fields, Hash};
pub use image::{Image, Key};
pub use scan::{Limits, Progress};
pub use stage::{Content, PlatformBuild, Sources, StepKey};
pub use unknown::Unknown;
