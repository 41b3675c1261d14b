//! Files and folders that only our own user may read.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
#[error("could not write the private file `{}`", path.display())]
pub(crate) struct PrivateError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Creates a folder of mode 0700, with its parents.
pub(crate) fn create_private_folder(path: &Path) -> Result<(), PrivateError> {
    let created = DirBuilder::new().mode(0o700).recursive(true).create(path);
    failed(path, created)
}

/// Writes a file of mode 0600.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), PrivateError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path);
    failed(path, file.and_then(|mut file| file.write_all(content)))
}

fn failed(path: &Path, result: io::Result<()>) -> Result<(), PrivateError> {
    result.map_err(|source| PrivateError {
        path: path.to_owned(),
        source,
    })
}
