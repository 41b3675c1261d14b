//! Whether the other end of a stream answers.
//!
//! buildx pings every stream of an exec each 5 s
//! (<https://github.com/kubernetes/client-go/blob/v0.36.0/tools/remotecommand/spdy.go>), and the node's
//! kubelet answers at once. What goes up and gets nothing back for long was not heard: TCP's own
//! acknowledgements come from whoever is next, a proxy or the API server.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// All streams that are open.
#[derive(Debug, Default)]
pub(super) struct Pulses(Mutex<Vec<Weak<Pulse>>>);

/// One stream. It counts while it is held.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When the first of what was not answered yet went up.
    unanswered: Mutex<Option<Instant>>,
}

impl Pulses {
    /// A new stream.
    pub(super) fn open(&self) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&pulse));
        pulse
    }

    /// How long the stream that has waited longest for an answer waits; none where all have theirs.
    pub(super) fn silence(&self) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.iter().filter_map(|pulse| {
            let pulse = pulse.upgrade()?;
            let unanswered = pulse.unanswered.lock();
            *unanswered.unwrap_or_else(PoisonError::into_inner)
        });
        waiting.min().map(|since| since.elapsed())
    }
}

impl Pulse {
    /// Something went up.
    pub(super) fn sent(&self) {
        let mut unanswered = self.lock();
        unanswered.get_or_insert_with(Instant::now);
    }

    /// Something came down, or nothing is expected any more.
    pub(super) fn heard(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_for_an_answer_counts() {
        let pulses = Pulses::default();
        assert_eq!(pulses.silence(), None);
        let (first, second) = (pulses.open(), pulses.open());
        let pause = Duration::from_millis(40);
        first.sent();
        std::thread::sleep(pause);
        let of_second = Instant::now();
        second.sent();
        first.sent();
        assert!(pulses.silence().unwrap() >= pause);
        first.heard();
        assert!(pulses.silence().unwrap() <= of_second.elapsed());
        drop(second);
        assert_eq!(pulses.silence(), None);
    }
}
