//! Files and folders that only our own user may read.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A private file or folder could not be written.
#[derive(Debug, Error)]
#[error("could not write the private file `{}`", path.display())]
pub(crate) struct PrivateError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Makes a folder of mode 0700, with its parents.
///
/// # Errors
/// When it can't be made.
pub(crate) fn create_private_folder(path: &Path) -> Result<(), PrivateError> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|source| PrivateError {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file of mode 0600.
///
/// # Errors
/// When it can't be written.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), PrivateError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(content));
    written.map_err(|source| PrivateError {
        path: path.to_owned(),
        source,
    })
}
