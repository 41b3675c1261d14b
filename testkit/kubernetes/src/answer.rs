//! Answers: objects, Status, streams of lines.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A channel as the stream of a body.
struct ReceiverStream(Receiver<Bytes>);

impl hyper::body::Body for ReceiverStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// An answer that is a Status.
pub(crate) struct Refusal {
    pub code: u16,
    reason: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(code: u16, reason: &'static str, message: &str) -> Self {
        Self {
            code,
            reason,
            message: message.to_owned(),
        }
    }

    pub(crate) fn response(&self) -> Response<Body> {
        json(
            self.code,
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": self.message, "reason": self.reason, "code": self.code,
            }),
        )
    }
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed()
}

pub(crate) fn text(body: &'static str) -> Response<Body> {
    Response::new(full(Bytes::from_static(body.as_bytes())))
}

pub(crate) fn json(code: u16, value: &Value) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(value.to_string())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Lines as they come, until the sender is dropped.
pub(crate) fn lines(receiver: Receiver<Bytes>) -> Response<Body> {
    let mut response = Response::new(ReceiverStream(receiver).boxed());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
