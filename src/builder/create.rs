//! `buildx create`, repeated after a temporary failure: a registry in trouble, a connection that was cut, a node that has just
//! joined.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::BuilderError;
use crate::buildx::retry::{is_temporary, schedule, waits};
use crate::process::ProcessError;
use crate::timings::Retry;

/// Calls `create` until it succeeds, at most `most` times more. What was retried is added to `retries`.
pub(super) async fn create(
    name: &str,
    most: usize,
    retries: &mut Vec<Retry>,
    cancel: &CancellationToken,
    mut create: impl AsyncFnMut() -> Result<(), ProcessError>,
) -> Result<(), BuilderError> {
    let failed = |source| BuilderError::Boot {
        name: name.to_owned(),
        source,
    };
    let mut waits = waits(most);
    let mut left = most;
    loop {
        let error = match create().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let wait = waits.next().filter(|_| is_temporary(&error));
        let Some(wait) = wait else {
            return Err(failed(error));
        };
        tracing::warn!(
            "{error}\nthis is temporary: the builder is started again {}",
            schedule(wait, left)
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
                let program = "buildx".to_owned();
                return Err(failed(ProcessError::Cancelled { program }));
            }
        }
    }
}
