//! A connection that fails when it stands still or crawls, where TCP would wait for a quarter of an hour.
//!
//! Only time in which bytes wait to be written counts: a connection without work is neither silent nor slow.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::error::Cause;

/// When a connection is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// No byte is taken for so long.
    pub(crate) silence: Duration,
    /// The least rate, bytes per second…
    pub(crate) floor: u64,
    /// …over so much time of waiting.
    pub(crate) window: Duration,
}

/// A stream with [`Patience`].
#[derive(Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    patience: Patience,
    /// Since when the next byte waits, and until when it may.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Of the window: time of waiting, and bytes written.
    waited: Duration,
    written: u64,
}

/// Why we gave up a connection; found again below hyper's errors.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection is given up")]
pub(crate) enum GivenUp {
    NotConnected(Duration),
    Silent(Duration),
    Slow { bytes_per_second: u64, floor: u64 },
}

impl From<GivenUp> for Cause {
    fn from(given_up: GivenUp) -> Self {
        match given_up {
            GivenUp::NotConnected(limit) => Self::ConnectionTimeout(limit),
            GivenUp::Silent(limit) => Self::Silent(limit),
            GivenUp::Slow {
                bytes_per_second,
                floor,
            } => Self::Slow {
                bytes_per_second,
                floor,
            },
        }
    }
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S, patience: Patience) -> Self {
        Self {
            inner,
            patience,
            waiting: None,
            waited: Duration::ZERO,
            written: 0,
        }
    }

    fn judge(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => {
                let silence = self.patience.silence;
                let (_, sleep) = self
                    .waiting
                    .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(silence))));
                match sleep.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Err(given_up(GivenUp::Silent(silence)))),
                    Poll::Pending => Poll::Pending,
                }
            }
            Poll::Ready(Ok(bytes)) => {
                self.written += bytes as u64;
                if let Some((since, _)) = self.waiting.take() {
                    self.waited += since.elapsed();
                }
                if self.waited < self.patience.window {
                    return Poll::Ready(Ok(bytes));
                }
                let milliseconds = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
                let bytes_per_second = self.written.saturating_mul(1000) / milliseconds.max(1);
                (self.waited, self.written) = (Duration::ZERO, 0);
                let floor = self.patience.floor;
                if bytes_per_second < floor {
                    return Poll::Ready(Err(given_up(GivenUp::Slow {
                        bytes_per_second,
                        floor,
                    })));
                }
                Poll::Ready(Ok(bytes))
            }
            error => error,
        }
    }
}

fn given_up(reason: GivenUp) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
