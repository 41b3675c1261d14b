//! Whether processes of one kind run.
//!
//! In: a guard for each process. Out: the time without a pause in which at least one runs, to wait for.

use tokio::sync::watch;

/// Counts processes. Whoever starts one holds the guard until it has ended.
#[derive(Debug, Default)]
pub(crate) struct Ongoing(watch::Sender<Count>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    running: usize,
    /// How often all had ended.
    pauses: usize,
}

/// One process.
#[derive(Debug)]
pub(crate) struct One<'a>(&'a Ongoing);

impl Ongoing {
    pub(crate) fn one(&self) -> One<'_> {
        self.0.send_modify(|count| count.running += 1);
        One(self)
    }

    /// Does some work anew each time that a first process starts, until it is done before all have ended.
    pub(crate) async fn meanwhile<T>(&self, work: impl AsyncFn() -> T) -> T {
        let mut counts = self.0.subscribe();
        loop {
            // The sender lives as long as `self`: no wait fails.
            let begun = counts.wait_for(|count| count.running > 0).await;
            let pauses = begun.map(|count| count.pauses).unwrap_or_default();
            tokio::select! {
                done = work() => return done,
                _ = counts.wait_for(|count| count.pauses > pauses) => {}
            }
        }
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| {
            count.running = count.running.saturating_sub(1);
            count.pauses += usize::from(count.running == 0);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn work_is_done_while_one_runs_and_begins_anew_after_each_pause() {
        let ongoing = Ongoing::default();
        let (begun, may_end) = (Cell::new(0), Cell::new(false));
        let work = async || {
            begun.set(begun.get() + 1);
            while !may_end.get() {
                yield_now().await;
            }
        };
        let processes = async {
            assert_eq!(begun.get(), 0);
            for times in 1..4 {
                let first = ongoing.one();
                let _second = ongoing.one();
                while begun.get() < times {
                    yield_now().await;
                }
                drop(first);
                yield_now().await;
                assert_eq!(begun.get(), times);
            }
            let _last = ongoing.one();
            may_end.set(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = processes => unreachable!("it waits for the work"),
            () = ongoing.meanwhile(work) => {}
        }
        assert!(begun.get() >= 3);
    }
}
