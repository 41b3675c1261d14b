//! Whether a registry can be reached at all.
//!
//! One that has never answered is not asked as patiently as one that fails for a moment: its name may be unknown here, or a firewall in
//! between. Without this each of a push's questions would wait as long as the first.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Cause;

/// Tries of what gets no connection while there was never an answer.
const TRIES: u32 = 3;

/// What is known of the way to a registry.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    has_answered: AtomicBool,
    is_given_up: AtomicBool,
}

impl Reach {
    /// There was an answer.
    pub(crate) fn answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }

    /// How often to try what has failed so often for this cause, if `most` is the number otherwise.
    pub(crate) fn tries(&self, cause: &Cause, failed: u32, most: u32) -> u32 {
        let is_out_of_reach = matches!(cause, Cause::NoConnection(_) | Cause::ConnectionTimeout(_))
            && !self.has_answered.load(Ordering::Relaxed);
        if !is_out_of_reach {
            return most;
        }
        if failed >= TRIES.min(most) {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
        if self.is_given_up.load(Ordering::Relaxed) {
            failed
        } else {
            most
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_connection() -> Cause {
        Cause::NoConnection("refused".into())
    }

    #[test]
    fn a_registry_that_never_answered_is_given_up_once_for_all_questions() {
        let reach = Reach::default();
        assert_eq!(reach.tries(&no_connection(), 1, 6), 6);
        assert_eq!(reach.tries(&no_connection(), 2, 6), 6);
        assert_eq!(reach.tries(&no_connection(), 3, 6), 3);
        assert_eq!(reach.tries(&no_connection(), 1, 6), 1, "another question");
        assert_eq!(reach.tries(&Cause::TokenExpired, 1, 6), 6, "it was there");
    }

    #[test]
    fn one_that_has_answered_is_tried_as_often_as_any() {
        let reach = Reach::default();
        reach.answered();
        for failed in 1..6 {
            assert_eq!(reach.tries(&no_connection(), failed, 6), 6);
        }
    }
}
