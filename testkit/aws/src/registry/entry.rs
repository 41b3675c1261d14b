//! A request's line in the access log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aws_stand_in::Request as Line;
use hyper::Request;
use jiff::Timestamp;

use super::route::Place;
use crate::state::{State, milliseconds_since};

/// Written when the answer has ended, or when nobody waits for it any longer (with status 0).
#[derive(Debug)]
pub(super) struct Entry {
    state: Arc<State>,
    line: Line,
    begun: Instant,
    received: Arc<AtomicU64>,
    written: bool,
}

impl Entry {
    /// A request has come; `received` counts what comes of its body.
    pub(super) fn new<B>(
        state: &Arc<State>,
        host: &str,
        place: &Place,
        request: &Request<B>,
        received: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            state: Arc::clone(state),
            line: Line {
                account: place.account.clone(),
                host: host.to_owned(),
                method: request.method().to_string(),
                path: request
                    .uri()
                    .path_and_query()
                    .map_or_else(String::new, ToString::to_string),
                repository: place.repository.clone(),
                status: 0,
                request_bytes: 0,
                response_bytes: 0,
                token: None,
                ended: 0,
                milliseconds: 0,
            },
            begun: Instant::now(),
            received: Arc::clone(received),
            written: false,
        }
    }

    pub(super) fn token(&mut self, number: Option<u32>) {
        self.line.token = number;
    }

    pub(super) fn answered(mut self, status: u16) -> Self {
        self.line.status = status;
        self
    }

    /// All of the answer has gone.
    pub(super) fn end(&mut self, bytes: u64) {
        self.written = true;
        let mut line = self.line.clone();
        line.request_bytes = self.received.load(Ordering::Relaxed);
        line.response_bytes = if line.method == "HEAD" { 0 } else { bytes };
        line.ended = Timestamp::now().as_millisecond();
        line.milliseconds = milliseconds_since(self.begun);
        self.state.memory().log_request(line);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.written {
            self.end(0);
        }
    }
}
