//! The way in: an upload thread, and handles that any thread may use.
//!
//! Producers of blobs are threads that compute; uploads mostly wait. All uploads share one thread with one runtime: at
//! 250 MB/s, TLS takes it a tenth of a core, while a thread for each of 24 streams would need a stack, and a way to give
//! up a write that hangs, for each.

use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::Method;
use image::Digest;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::blob::{Blob, Descriptor};
use crate::connection::{Connector, Proxies, SettingsError};
use crate::error::{Cause, Error, Failure};
use crate::gate::EPOCH;
use crate::host::Host;
use crate::location::LocationError;
use crate::manifest::{Complete, PublishError, Stored, publish, write_tags};
use crate::progress::{Observer, Progress};
use crate::push::{Present, Push, obtain};
use crate::repository::{Fetched, PULL, PUSH, Place};
use crate::settings::{RegistrySettings, Timing};
use crate::watched::Patience;

/// What all registries have in common.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub proxies: Proxies,
    /// Certificates of authorities to trust beside Mozilla's, PEM.
    pub authorities: String,
    pub timing: Timing,
    pub observer: Observer,
}

/// Runs uploads. When it is dropped, those that are left are stopped.
pub struct Uploader {
    runtime: Handle,
    connector: Connector,
    timing: Timing,
    observer: Observer,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Uploader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploader").finish_non_exhaustive()
    }
}

impl Uploader {
    /// Starts the upload thread.
    ///
    /// # Errors
    /// When proxies or certificates are not usable.
    pub fn start(settings: &Settings) -> Result<Self, SettingsError> {
        let Settings {
            proxies,
            authorities,
            timing,
            observer,
        } = settings;
        let patience = Patience {
            silence: timing.silence,
            floor: timing.floor,
            window: timing.floor_window,
        };
        let connector = Connector::new(proxies, authorities, timing.connect, patience)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SettingsError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("upload".to_owned())
            .spawn(move || {
                // An error is the sender's end.
                let _ = runtime.block_on(stopped);
                // Threads that make content again may take long to see that nobody wants it.
                runtime.shutdown_background();
            })
            .map_err(SettingsError::Thread)?;
        Ok(Self {
            runtime: handle,
            connector,
            timing: *timing,
            observer: observer.clone(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// A registry. Repositories of the same share its connections and its limits, so ask once for each.
    ///
    /// # Errors
    /// When its name is not a host.
    pub fn registry(&self, settings: RegistrySettings) -> Result<Registry, LocationError> {
        let host = Host::new(
            settings,
            self.connector.clone(),
            self.timing,
            self.observer.clone(),
        )?;
        let host = Arc::new(host);
        let weak = Arc::downgrade(&host);
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(EPOCH).await;
                match weak.upgrade() {
                    Some(host) => host.epoch(),
                    None => return,
                }
            }
        });
        Ok(Registry {
            host,
            runtime: self.runtime.clone(),
        })
    }

    /// Writes manifests and tags: first each manifest by its digest, and when all registries have it, all tags. Each is
    /// read back and compared.
    #[must_use]
    pub fn publish(
        &self,
        images: Vec<(Complete, Vec<String>)>,
    ) -> Pending<Vec<Stored>, PublishError> {
        Pending::spawn(&self.runtime, publish(images))
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// A registry to push to.
#[derive(Clone)]
pub struct Registry {
    host: Arc<Host>,
    runtime: Handle,
}

impl Registry {
    /// A repository, by its path in the registry.
    #[must_use]
    pub fn repository(&self, path: &str) -> Repository {
        Repository {
            place: Place {
                host: Arc::clone(&self.host),
                repository: path.into(),
                rights: PUSH,
            },
            runtime: self.runtime.clone(),
        }
    }

    /// What its uploads are doing.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.host.progress()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.host.name).finish()
    }
}

/// A repository to push to.
#[derive(Debug, Clone)]
pub struct Repository {
    place: Place,
    runtime: Handle,
}

impl Repository {
    /// `HOST/PATH`.
    #[must_use]
    pub fn name(&self) -> String {
        self.place.to_string()
    }

    /// The repository, asked with the right to pull alone.
    #[must_use]
    pub fn only_to_read(mut self) -> Self {
        self.place.rights = PULL;
        self
    }

    /// Gets a blob into the repository, if it is not there.
    #[must_use]
    pub fn push(&self, blob: Blob) -> Pending<Present> {
        let push = Push::new(self.place.clone(), blob);
        Pending::spawn(&self.runtime, push.run())
    }

    /// Proof that a blob is here, by now or mounted from one of these repositories; `None` where it is not. For a blob
    /// whose size is not known.
    #[must_use]
    pub fn obtain(&self, digest: &Digest, mount_from: &[String]) -> Pending<Option<Present>> {
        let obtain = obtain(self.place.clone(), digest.clone(), mount_from.to_vec());
        Pending::spawn(&self.runtime, obtain)
    }

    /// A manifest all of whose blobs, and of an index all of whose manifests, are proved to be here.
    ///
    /// # Errors
    /// When one is not, or the bytes are not a manifest of this type.
    pub fn complete(
        &self,
        media_type: &str,
        bytes: impl Into<Bytes>,
        blobs: &[Present],
        manifests: &[Stored],
    ) -> Result<Complete, Error> {
        Complete::new(
            self.place.clone(),
            media_type,
            bytes.into(),
            blobs,
            manifests,
        )
    }

    /// The manifest that a tag or a digest names, `None` where it names none.
    #[must_use]
    pub fn manifest(&self, reference: &str) -> Pending<Option<Fetched>> {
        let (place, reference) = (self.place.clone(), reference.to_owned());
        Pending::spawn(
            &self.runtime,
            async move { place.manifest(&reference).await },
        )
    }

    /// Proof that a manifest is here that was read from this repository.
    #[must_use]
    pub fn stored(&self, manifest: &Fetched) -> Stored {
        Stored::of_repository(self.place.clone(), manifest)
    }

    /// The digest that a tag names, `None` where it names none.
    #[must_use]
    pub fn digest(&self, tag: &str) -> Pending<Option<Digest>> {
        let (place, tag) = (self.place.clone(), tag.to_owned());
        Pending::spawn(&self.runtime, async move { place.digest(&tag).await })
    }

    /// A blob of at most [`MANIFEST_LIMIT`](crate::MANIFEST_LIMIT) bytes with a SHA-256, `None` where it is not there.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Pending<Option<Bytes>> {
        let (place, digest) = (self.place.clone(), digest.clone());
        Pending::spawn(&self.runtime, async move { place.blob(&digest).await })
    }

    /// Gives a manifest that was read from this repository more tags: all that it names is here.
    #[must_use]
    pub fn tag(&self, manifest: &Fetched, tags: &[String]) -> Pending<(), PublishError> {
        let image = Complete::of_repository(self.place.clone(), manifest);
        let images = vec![(image, tags.to_vec())];
        Pending::spawn(&self.runtime, write_tags(images))
    }

    /// A blob's content, for a copy to another registry. It is not checked here: [`Blob::with_repeat`] does that.
    #[must_use]
    pub fn open(&self, blob: &Descriptor) -> Download {
        let (sender, chunks) = tokio::sync::mpsc::channel(AHEAD);
        let (place, path) = (self.place.clone(), format!("blobs/{}", blob.digest));
        self.runtime.spawn(async move {
            let reply = match place.ask(Method::GET, &path, None).await {
                Ok(reply) if reply.status.is_success() => Ok(reply),
                Ok(reply) => Err(reply.refusal().await),
                Err(failure) => Err(failure),
            };
            let mut reply = match reply {
                Ok(reply) => reply,
                Err(failure) => return drop(sender.send(Err(failure)).await),
            };
            while let Some(chunk) = reply.chunk().await.transpose() {
                let is_error = chunk.is_err();
                if sender.send(chunk).await.is_err() || is_error {
                    return;
                }
            }
        });
        Download {
            attempted: format!("read blob `{}` of `{}`", blob.digest, self.place),
            chunks,
            current: Bytes::new(),
        }
    }
}

/// Chunks that wait between the network and a reading thread.
const AHEAD: usize = 4;

/// A blob that is read. Its reads block, so they must not be on the upload thread.
#[derive(Debug)]
pub struct Download {
    attempted: String,
    chunks: tokio::sync::mpsc::Receiver<Result<Bytes, Failure>>,
    current: Bytes,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(failure)) => {
                    let error = Error::new(self.attempted.clone(), 1, failure);
                    return Err(io::Error::other(error));
                }
                None => return Ok(0),
            }
        }
        let bytes = self.current.split_to(buffer.len().min(self.current.len()));
        if let Some(filled) = buffer.get_mut(..bytes.len()) {
            filled.copy_from_slice(&bytes);
        }
        Ok(bytes.len())
    }
}

/// Something that the upload thread does: wait for it on a thread, or await it. Dropped, it is stopped.
#[derive(Debug)]
pub struct Pending<T, E = Error> {
    /// None once the result was taken.
    result: Option<oneshot::Receiver<Result<T, E>>>,
    task: AbortHandle,
}

/// An error of something that was stopped.
trait Stopped {
    fn stopped() -> Self;
}

impl Stopped for Error {
    fn stopped() -> Self {
        Self::new("finish an upload", 1, Cause::Stopped.into())
    }
}

impl Stopped for PublishError {
    fn stopped() -> Self {
        Self {
            tagged: Vec::new(),
            source: Box::new(Error::stopped()),
        }
    }
}

#[expect(
    private_bounds,
    reason = "the two errors that there are, and no others"
)]
impl<T: Send + 'static, E: Stopped + Send + 'static> Pending<T, E> {
    fn spawn(runtime: &Handle, task: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        let (sender, result) = oneshot::channel();
        let task = runtime.spawn(async move {
            // Who dropped the other end does not want to know.
            let _ = sender.send(task.await);
        });
        Self {
            result: Some(result),
            task: task.abort_handle(),
        }
    }

    /// Waits for the end, on a thread that runs no futures.
    ///
    /// # Errors
    /// When it failed, or the [`Uploader`] is gone.
    pub fn wait(mut self) -> Result<T, E> {
        let result = self.result.take();
        let result = result.and_then(|result| result.blocking_recv().ok());
        result.unwrap_or_else(|| Err(E::stopped()))
    }
}

impl<T, E: Stopped> Future for Pending<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(result) = self.result.as_mut() else {
            return Poll::Ready(Err(E::stopped()));
        };
        let ended = ready!(Pin::new(result).poll(context));
        self.result = None;
        Poll::Ready(ended.unwrap_or_else(|_| Err(E::stopped())))
    }
}

impl<T, E> Drop for Pending<T, E> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
