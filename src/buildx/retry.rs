//! Waiting times between attempts.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use super::catalogue;
use crate::process::ProcessError;

/// The first wait, before jitter. BuildKit itself has retried for some seconds by then
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/resolver/retryhandler/retry.go>).
const FIRST_WAIT: Duration = Duration::from_secs(2);

const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The waits before that many further attempts.
pub(crate) fn waits(retries: usize) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_max_times(retries)
        .with_jitter()
        .build()
}

/// When the next attempt is made, for a log line: `in 2.1 s, up to 2 times`. `left` counts this attempt.
pub(crate) fn schedule(wait: Duration, left: usize) -> String {
    let often = match left {
        1 => "for the last time".to_owned(),
        left => format!("up to {left} times"),
    };
    format!("in {:.1} s, {often}", wait.as_secs_f64())
}

/// Whether the same command may succeed a moment later, judged by buildx's last line.
pub(crate) fn is_temporary(error: &ProcessError) -> bool {
    let ProcessError::Failed { stderr, .. } = error else {
        return false;
    };
    let mut lines = stderr.lines().rev();
    lines
        .find(|line| !line.trim().is_empty())
        .is_some_and(catalogue::is_temporary)
}
