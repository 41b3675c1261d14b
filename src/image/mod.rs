//! The vocabulary of images: [`ImageRef`], [`Digest`], [`Registry`]; text in, typed values out, and back.
//!
//! Uses nothing else of this crate, and every stage may use it.

mod digest;
mod reference;
mod registry;

pub(crate) use digest::Digest;
pub(crate) use reference::{ImageRef, is_tag};
pub(crate) use registry::{EcrRegistry, Partition, Registry};
