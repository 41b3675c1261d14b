//! How many uploads run at a time: as many as make the whole faster, fewer when the registry says that it is too much.
//!
//! A single stream to Amazon ECR carries some 24 to 28 MB/s
//! (<https://github.com/clowdhaus/ocync/blob/main/docs/src/content/design/engine.md>), and a blob is one stream, so the
//! number of streams sets the pace until the link or the registry is full. [`Controller`] looks for that point: it adds
//! streams, and takes them back when they bring nothing; a 429 halves the number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How often the rate is looked at.
pub(crate) const EPOCH: Duration = Duration::from_millis(500);
/// Requests in flight learn of the same overload: of several 429s in so much time one counts.
const ONE_OVERLOAD: Duration = Duration::from_secs(1);
/// Epochs before more streams are tried: after they brought nothing, and after an overload.
const AFTER_PLATEAU: u32 = 10;
const AFTER_OVERLOAD: u32 = 10;
/// More streams are worth it when they make the whole faster by so much.
const GAIN: f64 = 1.05;

/// Bounds of the number of streams to one registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// At the start.
    pub start: usize,
    pub most: usize,
}

impl Default for Streams {
    /// 8 streams carry some 200 MB/s to ECR. More than 24 would be more than an image has new blobs.
    fn default() -> Self {
        Self { start: 8, most: 24 }
    }
}

/// Decides on the number of streams. Additive increase, multiplicative decrease.
#[derive(Debug)]
struct Controller {
    limit: usize,
    most: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// The next full epoch is a measure.
    Steady,
    /// More streams have begun; their first epoch tells nothing.
    Settling { before: f64, from: usize },
    /// This epoch tells whether they bring something.
    Probing { before: f64, from: usize },
    /// No change for so many epochs.
    Holding(u32),
}

impl Controller {
    fn new(streams: Streams) -> Self {
        let most = streams.most.max(1);
        Self {
            limit: streams.start.clamp(1, most),
            most,
            state: State::Steady,
        }
    }

    /// An epoch has ended, with so many bytes sent. It is full where all streams were busy and more uploads waited.
    fn epoch(&mut self, bytes: u64, is_full: bool) {
        let rate = bytes as f64;
        self.state = match self.state {
            State::Holding(left) if left > 1 => State::Holding(left - 1),
            _ if !is_full => State::Steady,
            State::Steady | State::Holding(_) => self.raise(rate),
            State::Settling { before, from } => State::Probing { before, from },
            State::Probing { before, .. } if rate >= before * GAIN => self.raise(rate),
            State::Probing { from, .. } => {
                self.limit = from;
                State::Holding(AFTER_PLATEAU)
            }
        };
    }

    fn raise(&mut self, before: f64) -> State {
        let from = self.limit;
        self.limit = (from + from.div_ceil(4)).min(self.most);
        if self.limit == from {
            State::Steady
        } else {
            State::Settling { before, from }
        }
    }

    fn overload(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.state = State::Holding(AFTER_OVERLOAD);
    }
}

/// The way in for uploads to one registry.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    active: AtomicUsize,
    most: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    controller: Controller,
    /// Permits to be withdrawn when they come back.
    surplus: usize,
    overload: Option<Instant>,
    bytes: u64,
}

/// One upload that runs.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
}

/// A change of the number of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub from: usize,
    pub to: usize,
}

impl Gate {
    pub(crate) fn new(streams: Streams) -> Self {
        let controller = Controller::new(streams);
        Self {
            permits: Arc::new(Semaphore::new(controller.limit)),
            waiting: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                controller,
                surplus: 0,
                overload: None,
                bytes: 0,
            }),
        }
    }

    /// Waits for a turn, first come first served.
    pub(crate) async fn enter(self: &Arc<Self>) -> Permit {
        let waiting = Waiting::new(&self.waiting);
        // The semaphore is never closed; without a permit, an upload too many would be the least harm.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        drop(waiting);
        let active = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(active, Ordering::Relaxed);
        Permit {
            gate: Arc::clone(self),
            permit,
        }
    }

    /// An epoch has ended; `sent` is all that was sent so far.
    pub(crate) fn epoch(&self, sent: u64) -> Option<Change> {
        let is_full = self.waiting.load(Ordering::Relaxed) > 0;
        let mut inner = self.lock();
        let bytes = sent.saturating_sub(inner.bytes);
        inner.bytes = sent;
        self.change(&mut inner, |controller| controller.epoch(bytes, is_full))
    }

    /// The registry has said that there are too many requests.
    pub(crate) fn overload(&self) -> Option<Change> {
        let mut inner = self.lock();
        let now = Instant::now();
        if inner.overload.is_some_and(|last| now - last < ONE_OVERLOAD) {
            return None;
        }
        inner.overload = Some(now);
        self.change(&mut inner, Controller::overload)
    }

    fn change(&self, inner: &mut Inner, decide: impl Fn(&mut Controller)) -> Option<Change> {
        let from = inner.controller.limit;
        decide(&mut inner.controller);
        let to = inner.controller.limit;
        if to > from {
            let more = to - from;
            let kept = more.min(inner.surplus);
            inner.surplus -= kept;
            self.permits.add_permits(more - kept);
        } else {
            inner.surplus += from - to;
            let withdrawn = self.permits.forget_permits(inner.surplus);
            inner.surplus -= withdrawn;
        }
        (from != to).then_some(Change { from, to })
    }

    pub(crate) fn limit(&self) -> usize {
        self.lock().controller.limit
    }

    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// The most uploads that ran at a time.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.active.fetch_sub(1, Ordering::Relaxed);
        let mut inner = self.gate.lock();
        if inner.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            inner.surplus -= 1;
            permit.forget();
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs against a registry with so many MB/s for a stream and for all.
    fn run(controller: &mut Controller, epochs: u32, each: u64, all: u64) -> Vec<usize> {
        let mut limits = Vec::new();
        for _ in 0..epochs {
            let rate = (controller.limit as u64 * each).min(all);
            controller.epoch(rate * 500_000, true);
            limits.push(controller.limit);
        }
        limits
    }

    fn controller(start: usize, most: usize) -> Controller {
        Controller::new(Streams { start, most })
    }

    #[test]
    fn grows_to_what_fills_the_link_and_no_further() {
        let mut controller = controller(8, 24);
        let limits = run(&mut controller, 40, 26, 250);
        // Ten streams are 250 MB/s; it looks once in a while whether 13 are more by now.
        assert!(
            limits.iter().skip(4).all(|limit| (10..=13).contains(limit)),
            "{limits:?}"
        );
        assert!(
            limits.iter().filter(|limit| **limit == 10).count() > 25,
            "{limits:?}"
        );
    }

    #[test]
    fn grows_to_the_most_where_every_stream_counts() {
        let mut controller = controller(8, 24);
        assert_eq!(run(&mut controller, 12, 26, 10_000).last(), Some(&24));
        assert_eq!(run(&mut controller, 40, 26, 10_000).last(), Some(&24));
    }

    #[test]
    fn stays_while_nobody_waits() {
        let mut controller = controller(8, 24);
        for _ in 0..20 {
            controller.epoch(1_000_000_000, false);
        }
        assert_eq!(controller.limit, 8);
    }

    #[test]
    fn halves_on_overload_and_comes_back_step_by_step() {
        let mut controller = controller(16, 24);
        controller.overload();
        assert_eq!(controller.limit, 8);
        let limits = run(&mut controller, 9, 26, 10_000);
        assert_eq!(limits.last(), Some(&8));
        assert!(*run(&mut controller, 12, 26, 10_000).last().unwrap() >= 16);
        for _ in 0..9 {
            controller.overload();
        }
        assert_eq!(controller.limit, 1);
    }

    #[tokio::test]
    async fn permits_that_are_out_are_withdrawn_when_they_come_back() {
        let gate = Arc::new(Gate::new(Streams { start: 4, most: 8 }));
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(gate.enter().await);
        }
        assert_eq!(gate.overload(), Some(Change { from: 4, to: 2 }));
        assert_eq!(gate.overload(), None, "the same overload");
        permits.truncate(2);
        assert_eq!((gate.active(), gate.permits.available_permits()), (2, 0));
        permits.truncate(1);
        assert_eq!(gate.permits.available_permits(), 1);
        drop(permits);
        assert_eq!((gate.limit(), gate.permits.available_permits()), (2, 2));
    }
}
