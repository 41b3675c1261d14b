//! What an image adds to its base, as layers: about equally large, the same from image to image, packed on all cores.
//!
//! The input is two mounted root file systems, the image's and its base's. Nothing is written anywhere but to the sinks given.
//!
//! 1. [`Diff::new`] compares the trees.
//! 2. [`Owners::read`] finds the packages that own what is new, and [`Plan::new`] puts it into layers.
//! 3. [`Times`] says which times what packages own gets.
//! 4. [`LayerState::new`] tells from the file system's attributes alone whether [`DigestCache`] knows a layer's tar.
//! 5. [`Packer::compress`] writes a layer's blob to a sink while the layer is read. It may be called from several threads at a
//!    time: all share the threads and the memory of one [`Workers`].
//! 6. [`Plan::assignment`](Plan) and the [`DigestCache`] are kept for the next image.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use layers::{Compression, Diff, Limits, Owners, Packer, Plan, Times, Tree, Workers};
//!
//! let workers = Workers::new(std::thread::available_parallelism()?.get(), 128 << 20)?;
//! let image = Tree::open("/final".as_ref())?;
//! let base = Tree::open("/base".as_ref())?;
//! let diff = Diff::new(&image, Some(&base), &workers)?;
//! let owners = Owners::read(&image, &diff, &workers)?;
//! let plan = Plan::new(&diff, &owners, 5, None, Limits::default());
//! let times = Times::of_packages(&diff, &owners);
//! let packer = Packer::new(&image, &diff, &times, &workers, Compression::Zstd { level: 1 });
//! for layer in plan.largest_first() {
//!     let blob = packer.compress(layer, &mut std::io::sink())?;
//!     println!("{} {} {}", layer.name, blob.digest(), blob.tar.diff_id());
//! }
//! # Ok(())
//! # }
//! ```

mod bytecode;
mod cache;
mod compress;
mod diff;
mod error;
mod owner;
mod pack;
mod packages;
mod path;
mod plan;
pub mod shared_file;
mod tar;
mod times;
mod tree;
mod turns;
mod workers;

pub use bytecode::NORMAL;
pub use cache::{CacheError, DigestCache, Fingerprint, Headers, LayerState};
pub use compress::Compression;
pub use diff::{Diff, Entry};
pub use error::{Error, Result};
pub use owner::{LONGEST_LIST, Owner, Owners};
pub use pack::{Blob, PACKER, PackedLayer, Packer};
pub use packages::{PackageChange, PackageState, Packages};
pub use path::TreePath;
pub use plan::{Assignment, Layer, Limits, Plan};
pub use times::Times;
pub use tree::{Found, Hidden, Kind, Time, Tree};
pub use workers::Workers;
