//! Bodies that go through, counted; and answers of our own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

/// What hyper can box, and `?` can make of anything.
pub(crate) type Error = anyhow::Error;
pub(crate) type Body = BoxBody<Bytes, Error>;

/// A body whose bytes are counted as they go. What is to happen at its end happens before the last of it is handed on,
/// so that nobody who has it all finds the end unnoticed.
pub(crate) struct Counted<E: FnMut(u64)> {
    inner: Body,
    count: Arc<AtomicU64>,
    /// Called once, with the number of bytes.
    end: Option<E>,
}

impl<E: FnMut(u64)> Counted<E> {
    pub(crate) fn new(inner: Body, count: Arc<AtomicU64>, end: E) -> Self {
        let mut body = Self {
            inner,
            count,
            end: Some(end),
        };
        body.check_end();
        body
    }

    fn check_end(&mut self) {
        if hyper::body::Body::is_end_stream(&self.inner) {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(mut end) = self.end.take() {
            end(self.count.load(Ordering::Relaxed));
        }
    }
}

impl<E: FnMut(u64) + Unpin> hyper::body::Body for Counted<E> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.count.fetch_add(length as u64, Ordering::Relaxed);
                self.check_end();
            }
            Poll::Ready(_) => self.end(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A client that goes away in the middle is an end, too.
impl<E: FnMut(u64)> Drop for Counted<E> {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// An answer with a body of this type.
pub(crate) fn answer(status: u16, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn json(status: u16, value: &Value) -> Response<Body> {
    answer(status, "application/json", value.to_string())
}

pub(crate) fn empty(status: u16) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    response
}

/// All of a body, of `limit` bytes at most.
pub(crate) async fn collect(body: Body, limit: usize) -> Result<Bytes, Error> {
    let collected = http_body_util::Limited::new(body, limit).collect().await;
    Ok(collected.map_err(anyhow::Error::from_boxed)?.to_bytes())
}

/// Reads a body to its end and forgets it, so that the client reads the answer rather than a broken connection.
pub(crate) async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}
