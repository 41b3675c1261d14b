//! Layers.
mod cache;
mod compress;
mod diff;
mod error;
mod owner;
mod pack;
mod path;
mod plan;
mod tar;
mod tree;
mod workers;

pub use cache::{CacheError, DigestCache, Fingerprint};
pub use compress::Compression;
pub use diff::{Diff, Entry};
pub use error::{Error, Result};
pub use owner::{LONGEST_LIST, Owner, Owners};
pub use pack::{Blob, PACKER, PackedLayer, Packer};
pub use path::TreePath;
pub use plan::{Assignment, Layer, Limits, Plan};
pub use tree::{Found, Kind, Time, Tree};
pub use workers::Workers;
