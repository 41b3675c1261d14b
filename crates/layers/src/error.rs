//! What can go wrong while two trees are compared and packed.

use std::io;

use crate::path::TreePath;

/// Why a tree could not be compared or packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something about one path of the image.
    #[error("{action} {path} in the image")]
    Tree {
        /// What was tried, as `read`.
        action: &'static str,
        /// Where.
        path: TreePath,
        /// Why not.
        source: io::Error,
    },
    /// A name that layers reserve for removed files.
    #[error(
        "the image holds {path}, but layers reserve names that begin with `.wh.` for removed files; rename it"
    )]
    ReservedName {
        /// The file.
        path: TreePath,
    },
    /// A mount inside the image's tree, which is not the image's own content.
    #[error("{path} in the image is a mount of another file system")]
    OtherFileSystem {
        /// The mount point.
        path: TreePath,
    },
    /// The tree was written to between the walk and the packing.
    #[error("{path} in the image changed while it was packed")]
    Changed {
        /// The file.
        path: TreePath,
    },
    /// Whoever takes the packed bytes did not take them.
    #[error("could not pass on a packed layer")]
    Sink(#[source] io::Error),
    /// A compressor gave up.
    #[error("could not compress a layer")]
    Compress(#[source] io::Error),
    /// The threads could not be started.
    #[error("could not start the threads that pack")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` on a system call about `path`.
    pub(crate) fn tree<E: Into<io::Error>>(
        action: &'static str,
        path: &TreePath,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Tree {
            action,
            path: path.clone(),
            source: source.into(),
        }
    }
}
