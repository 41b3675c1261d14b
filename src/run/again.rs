//! A build that is done again where what ended it passes: the builder stays, so that all that was
//! built comes from its cache, and only the push is new.

use jiff::Timestamp;

use crate::buildx::metadata::Metadata;
use crate::buildx::retry::{schedule, waits};
use crate::buildx::{Build, BuildError};
use crate::credentials::helper;
use crate::registry::preflight::Found;
use crate::run::error::Error;
use crate::runner::log::Group;
use crate::timings::{Recorder, Retry};

/// Builds, and builds again.
///
/// # Errors
/// The last attempt's, or that the run was cancelled.
pub(super) async fn build(
    build: &Build<'_>,
    retries: usize,
    found: &Found,
    recorder: &mut Recorder,
) -> Result<Metadata, Error> {
    let mut waits = waits(retries);
    let mut attempt = 1;
    loop {
        let title = match attempt {
            1 => "Build".to_owned(),
            attempt => format!("Build, attempt {attempt}"),
        };
        let group = Group::open(&title);
        let error = match build
            .run(|status| recorder.record(status, Timestamp::now()))
            .await
        {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        drop(group);
        let BuildError::Failed { failure, .. } = &error else {
            return Err(error.into());
        };
        // The rights were looked at before the build, so that a refusal speaks against the token. A
        // second one, with a new token, is final.
        let refused = attempt == 1 && failure.may_be_expired_login();
        let passes = refused || failure.passes(&|address| found.has_seen(address));
        let Some(wait) = waits.next().filter(|_| passes) else {
            return Err(error.into());
        };
        attempt += 1;
        tracing::warn!(
            "{failure}\nthis is temporary: the push is tried again {}",
            schedule(wait, retries + 2 - attempt)
        );
        if refused {
            // Before its time: the helper would give the same one again.
            helper::forget(&build.place.tokens_folder());
        }
        recorder.retried(Retry {
            what: "the push".to_owned(),
            why: failure.to_string(),
            failed: Timestamp::now(),
            wait,
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = build.cancel.cancelled() => return Err(BuildError::Cancelled.into()),
        }
    }
}
