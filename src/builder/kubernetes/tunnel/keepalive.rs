//! Whether the other end of a connection replies.
//!
//! buildx pings on every exec connection each 5 s
//! (<https://github.com/kubernetes/client-go/blob/v0.36.0/tools/remotecommand/spdy.go>), and the node's kubelet replies at once. Bytes without a
//! reply were not received: TCP's acknowledgements come from the next hop, a proxy or the API server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Keepalives(Mutex<Vec<Weak<Keepalive>>>);

/// One connection. It counts while it is held.
#[derive(Debug, Default)]
pub(super) struct Keepalive {
    /// When the first byte without a reply was sent.
    unanswered: Mutex<Option<Instant>>,
}

impl Keepalives {
    pub(super) fn open(&self) -> Arc<Keepalive> {
        let keepalive = Arc::new(Keepalive::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&keepalive));
        keepalive
    }

    /// The longest time that a connection has waited for a reply; none if all have theirs.
    pub(super) fn unanswered(&self) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.iter().filter_map(|other| *other.upgrade()?.lock());
        waiting.min().map(|since| since.elapsed())
    }
}

impl Keepalive {
    pub(super) fn sent(&self) {
        self.lock().get_or_insert_with(Instant::now);
    }

    /// Bytes were received, or none are expected any more.
    pub(super) fn received(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        let unanswered = self.unanswered.lock();
        unanswered.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_for_a_reply_counts() {
        let keepalives = Keepalives::default();
        assert_eq!(keepalives.unanswered(), None);
        let (first, second) = (keepalives.open(), keepalives.open());
        let pause = Duration::from_millis(40);
        first.sent();
        std::thread::sleep(pause);
        let of_second = Instant::now();
        second.sent();
        first.sent();
        assert!(keepalives.unanswered().unwrap() >= pause);
        first.received();
        assert!(keepalives.unanswered().unwrap() <= of_second.elapsed());
        drop(second);
        assert_eq!(keepalives.unanswered(), None);
    }
}
