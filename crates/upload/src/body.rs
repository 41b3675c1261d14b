//! What a request sends: nothing, chunks in memory, content that is still being made, or content that is read again.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

use crate::spool::Pass;

/// The content of a request failed, not the request.
#[derive(Debug, thiserror::Error)]
#[error("the content of the request failed")]
pub(crate) struct ContentError(#[source] pub(crate) io::Error);

/// A request's body, as hyper takes it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    content: Content,
    /// Bytes to come, where the length is known: it becomes `Content-Length`.
    left: Option<u64>,
    /// Counts bytes of blobs on their way.
    meter: Option<Meter>,
    /// Nobody waits for the answer any longer.
    is_over: Arc<AtomicBool>,
    /// Dropped when all is sent.
    end: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Content {
    Chunks(VecDeque<Bytes>),
    Spool(Pass),
    Channel(mpsc::Receiver<io::Result<Bytes>>),
}

/// Counters of bytes: of a whole registry, and of one try.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) registry: Arc<AtomicU64>,
    pub(crate) attempt: Arc<AtomicU64>,
}

impl Meter {
    fn count(&self, bytes: usize) {
        self.registry.fetch_add(bytes as u64, Ordering::Relaxed);
        self.attempt.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Outgoing {
    fn new(content: Content, left: Option<u64>, meter: Option<Meter>) -> Self {
        Self {
            content,
            left,
            meter,
            is_over: Arc::new(AtomicBool::new(false)),
            end: None,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Content::Chunks(VecDeque::new()), Some(0), None)
    }

    /// A small body that is not counted.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self::new(Content::Chunks([bytes].into()), Some(length), None)
    }

    pub(crate) fn chunks(chunks: VecDeque<Bytes>, meter: Meter) -> Self {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self::new(Content::Chunks(chunks), Some(length), Some(meter))
    }

    pub(crate) fn spool(pass: Pass, length: Option<u64>, meter: Meter) -> Self {
        Self::new(Content::Spool(pass), length, Some(meter))
    }

    pub(crate) fn channel(
        receiver: mpsc::Receiver<io::Result<Bytes>>,
        length: Option<u64>,
        meter: Meter,
    ) -> Self {
        Self::new(Content::Channel(receiver), length, Some(meter))
    }

    /// The same again, for a body that is small and in memory.
    pub(crate) fn again(&self) -> Option<Self> {
        match (&self.content, &self.meter) {
            (Content::Chunks(chunks), None) => {
                Some(Self::new(Content::Chunks(chunks.clone()), self.left, None))
            }
            _ => None,
        }
    }

    /// What ends the sending when it is dropped, and what tells that all is sent.
    pub(crate) fn watch(&mut self) -> (Guard, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        if !self.is_end_stream() {
            self.end = Some(end);
        }
        (Guard(Arc::clone(&self.is_over)), ended)
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.content {
            Content::Chunks(chunks) => Poll::Ready(chunks.pop_front().map(Ok)),
            Content::Spool(pass) => pass.poll_next(context),
            Content::Channel(receiver) => receiver.poll_recv(context),
        }
    }
}

/// Ends a request's sending when it is dropped: hyper would send on after an early answer.
#[derive(Debug)]
pub(crate) struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = ContentError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        if self.is_over.load(Ordering::Relaxed) {
            let error = io::Error::other("the request is over");
            return Poll::Ready(Some(Err(ContentError(error))));
        }
        let Poll::Ready(next) = self.next(context) else {
            return Poll::Pending;
        };
        let result = match next {
            Some(Ok(bytes)) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                if let Some(meter) = &self.meter {
                    meter.count(bytes.len());
                }
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => Some(Err(ContentError(error))),
            None => match self.left {
                Some(left) if left > 0 => Some(Err(ContentError(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the content is {left} bytes shorter than announced"),
                )))),
                _ => None,
            },
        };
        let is_last = self.left == Some(0) || !matches!(result, Some(Ok(_)));
        if is_last {
            self.end = None;
        }
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
