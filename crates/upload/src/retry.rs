//! Another try, later.

use backon::BackoffBuilder as _;

use crate::error::{Cause, Error, Failure, chain};
use crate::host::Host;
use crate::progress::Event;
use crate::settings::Timing;

/// The tries of one thing.
#[derive(Debug)]
pub(crate) struct Tries {
    attempted: String,
    failed: u32,
    most: u32,
    waits: backon::ExponentialBackoff,
}

impl Tries {
    /// `attempted` completes "could not …".
    pub(crate) fn new(attempted: String, timing: &Timing) -> Self {
        Self {
            attempted,
            failed: 0,
            most: timing.tries,
            waits: waits(timing),
        }
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// When there is none: the failure is not temporary, or was the last.
    pub(crate) async fn again(&mut self, host: &Host, failure: Failure) -> Result<(), Error> {
        self.failed += 1;
        if failure.cause.is_throttling() {
            host.overload();
        }
        let most = host.reach.tries(&failure.cause, self.failed, self.most);
        if !failure.cause.is_temporary() || self.failed >= most {
            return Err(self.fail(failure));
        }
        let asked = failure.cause.retry_after().unwrap_or_default();
        let wait = self.waits.next().unwrap_or_default();
        let wait = wait.max(asked.min(host.timing.longest_retry_after));
        host.observer.tell(Event::Retry {
            attempted: self.attempted.clone(),
            tries: self.failed,
            wait,
            reason: reason(&failure),
        });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The last failure as an error.
    pub(crate) fn fail(&self, failure: impl Into<Failure>) -> Error {
        Error::new(self.attempted.clone(), self.failed.max(1), failure.into())
    }

    pub(crate) fn replaced(&self, cause: Cause) -> Error {
        self.fail(Failure::from(cause))
    }
}

fn reason(failure: &Failure) -> String {
    let place = failure.place.as_ref();
    let place = place.map_or_else(String::new, |place| format!("{place}: "));
    format!("{place}{}", chain(&failure.cause))
}

/// Growing waits with jitter, without end.
pub(crate) fn waits(timing: &Timing) -> backon::ExponentialBackoff {
    backon::ExponentialBuilder::default()
        .with_min_delay(timing.first_wait)
        .with_max_delay(timing.longest_wait.max(timing.first_wait))
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_never_end() {
        let timing = Timing::default();
        let all: Vec<Duration> = waits(&timing).take(50).collect();
        assert_eq!(all.len(), 50);
        // The jitter doubles it at most.
        assert!(
            all.iter()
                .all(|wait| *wait >= timing.first_wait && *wait <= timing.longest_wait * 2)
        );
        assert!(
            all.iter().skip(6).all(|wait| *wait >= timing.longest_wait),
            "{all:?}"
        );
    }
}
