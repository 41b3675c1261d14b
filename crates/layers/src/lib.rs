//! Layers.
mod compress;
mod diff;
mod error;
mod pack;
mod path;
mod plan;
mod tar;
mod tree;
mod workers;

pub use compress::Compression;
pub use diff::{Diff, Entry};
pub use error::{Error, Result};
pub use pack::{Blob, PACKER, PackedLayer, Packer};
pub use path::TreePath;
pub use plan::Layer;
pub use tree::{Found, Kind, Time, Tree};
pub use workers::Workers;
