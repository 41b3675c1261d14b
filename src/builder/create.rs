//! `buildx create`, repeated after temporary failures: of a registry, the network, a new node.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::BuilderError;
use crate::buildx::retry::{is_temporary, schedule, waits};
use crate::process::ProcessError;
use crate::timings::Retry;

/// Calls `create` until it succeeds, at most `most` times more, and adds the failed attempts to `retries`.
pub(super) async fn create(
    name: &str,
    most: usize,
    retries: &mut Vec<Retry>,
    cancel: &CancellationToken,
    mut create: impl AsyncFnMut() -> Result<(), ProcessError>,
) -> Result<(), BuilderError> {
    let failed = |source| BuilderError::Boot {
        name: name.to_owned(),
        exit: None,
        source,
    };
    let mut waits = waits(most);
    let mut left = most;
    while let Err(error) = create().await {
        let Some(wait) = waits.next().filter(|_| is_temporary(&error)) else {
            return Err(failed(error));
        };
        tracing::warn!(
            "{error}\nthis is temporary: starting the builder again {}",
            schedule(wait, left)
        );
        left -= 1;
        retries.push(Retry {
            what: "the start of the builder".to_owned(),
            why: error.to_string(),
            failed: Timestamp::now(),
            wait,
        });
        let waited = cancel.run_until_cancelled(tokio::time::sleep(wait)).await;
        waited.ok_or_else(|| {
            let program = "buildx".to_owned();
            failed(ProcessError::Cancelled { program })
        })?;
    }
    Ok(())
}
