//! `buildx create` that is called again where what ended it passes: a registry in trouble, a connection that was cut, a node
//! that has just come.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{BuilderError, Tool};
use crate::build::catalogue;
use crate::process::ProcessError;
use crate::timings::Retry;

/// The first wait, before chance is added; BuildKit itself has tried for some seconds by then
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/resolver/retryhandler/retry.go>).
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The waits before so many further tries.
pub(crate) fn waits(retries: usize) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_max_times(retries)
        .with_jitter()
        .build()
}

/// When something is done again: `in 2.1 s, up to 2 times`. `left` counts this time, too.
pub(crate) fn words(wait: Duration, left: usize) -> String {
    let often = match left {
        1 => "for the last time".to_owned(),
        left => format!("up to {left} times"),
    };
    format!("in {:.1} s, {often}", wait.as_secs_f64())
}

/// Creates a builder, and again as often as the tool may. What was done again is added to `retries`.
pub(super) async fn create(
    name: &str,
    tool: &Tool,
    retries: &mut Vec<Retry>,
    cancel: &CancellationToken,
    mut create: impl AsyncFnMut() -> Result<(), ProcessError>,
) -> Result<(), BuilderError> {
    let failed = |source| BuilderError::Boot {
        name: name.to_owned(),
        source,
    };
    let mut waits = waits(tool.retries);
    let mut left = tool.retries;
    loop {
        let error = match create().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let wait = waits.next().filter(|_| passes(&error));
        let Some(wait) = wait else {
            return Err(failed(error));
        };
        tracing::warn!(
            "{error}\nthis passes: the builder is started again {}",
            words(wait, left)
        );
        left -= 1;
        retries.push(Retry {
            what: "the start of the builder".to_owned(),
            why: error.to_string(),
            failed: Timestamp::now(),
            wait,
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => {
                let program = tool.program.to_string_lossy().into_owned();
                return Err(failed(ProcessError::Cancelled { program }));
            }
        }
    }
}

/// Whether the same may succeed a moment later, by buildx's last words.
fn passes(error: &ProcessError) -> bool {
    let ProcessError::Failed { stderr, .. } = error else {
        return false;
    };
    let mut lines = stderr.lines().rev();
    lines
        .find(|line| !line.trim().is_empty())
        .is_some_and(catalogue::may_pass)
}
