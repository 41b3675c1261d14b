//! Which layer is next, where several wait for a core.
//!
//! A connection to a registry carries so much and no more, so that the image is there when its largest layer is. That layer is never
//! kept waiting by others; they have the cores while it waits for its connection.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// So many chunks, or layers, are worked on at a time.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// The largest layer first, and of one layer's chunks the one that has waited longest.
    waiting: BTreeSet<(Reverse<u64>, u64)>,
    last: u64,
}

/// The turn of a chunk or a layer, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

impl Turns {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: most,
                waiting: BTreeSet::new(),
                last: 0,
            }),
            changed: Condvar::new(),
        })
    }

    /// Waits for the turn of a layer of about `size` bytes, or of its next chunk.
    pub(crate) fn take(self: &Arc<Self>, size: u64) -> Turn {
        let mut state = self.state();
        state.last += 1;
        let own = (Reverse(size), state.last);
        state.waiting.insert(own);
        while state.free == 0 || state.waiting.first() != Some(&own) {
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&own);
        state.free -= 1;
        if state.free > 0 {
            self.changed.notify_all();
        }
        Turn(Arc::clone(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_layer_that_waits_is_next() {
        let turns = Turns::new(1);
        let held = turns.take(1);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (number, size) in [3, 20, 7, 20].into_iter().enumerate() {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let turn = turns.take(size);
                    order.lock().unwrap().push(size);
                    drop(turn);
                });
                while turns.state().waiting.len() <= number {
                    std::thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(order.into_inner().unwrap(), [20, 20, 7, 3]);
    }

    #[test]
    fn no_more_chunks_are_worked_on_than_allowed() {
        let turns = Turns::new(3);
        let (running, most) = (Mutex::new(0), Mutex::new(0));
        std::thread::scope(|scope| {
            for size in 0..8 {
                let (turns, running, most) = (&turns, &running, &most);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _turn = turns.take(size);
                        let mut now = running.lock().unwrap();
                        *now += 1;
                        let mut most = most.lock().unwrap();
                        *most = (*most).max(*now);
                        drop((now, most));
                        std::thread::yield_now();
                        *running.lock().unwrap() -= 1;
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner().unwrap()));
    }
}
