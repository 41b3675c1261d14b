//! Folders that a build reads, hashed on threads of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::dockerfile::{IGNORE_FILE, Ignore};
use ::key::{Folder, Limits, Progress};

use super::Reason;
use super::recipe::read;
use crate::aws::error_chain;
use crate::timings::units;

/// Between two lines about how far it is.
const NEWS: Duration = Duration::from_secs(5);

/// A folder, and how it was read.
#[derive(Debug, Clone)]
pub(super) struct Hashed {
    path: PathBuf,
    ignore: Ignore,
    pub folder: Arc<Folder>,
}

/// Ends the work when nobody waits for it any more.
struct Ends(Arc<Progress>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Hashed {
    /// Hashes a folder.
    ///
    /// # Errors
    /// When it can't be read, or is too large.
    pub(super) async fn read(path: &Path, ignore: &Ignore) -> Result<Self, Reason> {
        let progress = Arc::new(Progress::default());
        let _ends = Ends(Arc::clone(&progress));
        let (own, rules, at) = (Arc::clone(&progress), ignore.clone(), path.to_owned());
        let work = move || Folder::read(&at, &rules, Limits::default(), &own);
        let mut work = tokio::task::spawn_blocking(work);
        let folder = loop {
            tokio::select! {
                ended = &mut work => break ended,
                () = tokio::time::sleep(NEWS) => {
                    let (entries, bytes) = progress.so_far();
                    tracing::info!(
                        "hashing `{}`: {entries} files found, {} hashed",
                        path.display(),
                        units::bytes(bytes)
                    );
                }
            }
        };
        let folder = folder.map_err(|error| error.to_string())?;
        let folder = folder.map_err(|error| format!("the context: {}", error_chain(&error)))?;
        Ok(Self {
            path: path.to_owned(),
            ignore: ignore.clone(),
            folder: Arc::new(folder),
        })
    }

    /// Hashes a named context, which has an ignore file of its own.
    ///
    /// # Errors
    /// As [`Hashed::read`].
    pub(super) async fn read_named(path: &Path) -> Result<Self, Reason> {
        let text = read(&path.join(IGNORE_FILE))?;
        let ignore = Ignore::choose(None, text.as_deref());
        let ignore = ignore.map_err(|error| format!("the ignore file: {error}"))?;
        Self::read(path, &ignore).await
    }

    /// Whether nothing in it was written to since.
    pub(super) async fn is_untouched(&self) -> bool {
        let Self {
            path,
            ignore,
            folder,
        } = self.clone();
        let work = move || folder.is_untouched(&path, &ignore).unwrap_or(false);
        tokio::task::spawn_blocking(work).await.unwrap_or(false)
    }
}
