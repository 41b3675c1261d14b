//! What uploads are doing, for live reports.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use image::Digest;

use crate::gate::Change;

/// A registry's uploads at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of blobs handed to the network, those of failed tries included.
    pub sent: u64,
    /// Of these, bytes of tries that failed.
    pub wasted: u64,
    /// Uploads that run.
    pub streams: usize,
    /// The most that ran at a time.
    pub most_streams: usize,
    /// Uploads that may run at a time.
    pub limit: usize,
    /// Uploads that wait for their turn.
    pub waiting: usize,
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A blob is in a repository.
    Blob {
        /// `HOST/REPOSITORY`.
        repository: String,
        digest: Digest,
        /// Bytes.
        size: u64,
        how: How,
        /// From its turn to the registry's answer, failed tries included.
        took: Duration,
    },
    /// A try failed, and another will follow.
    Retry {
        /// `upload blob …`
        attempted: String,
        /// How many tries have failed.
        tries: u32,
        /// Until the next.
        wait: Duration,
        /// Why, in one line.
        reason: String,
    },
    /// The number of streams to a registry has changed.
    Streams { registry: String, change: Change },
}

/// How a blob came into a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// It was there.
    Reused,
    /// From another repository of the registry, without an upload.
    Mounted,
    Uploaded,
}

/// Who is told of events. It is called on the upload thread: it must be quick.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(Event) + Send + Sync>);

impl Observer {
    pub fn new(observe: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    pub(crate) fn tell(&self, event: Event) {
        (self.0)(event);
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self::new(drop)
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
