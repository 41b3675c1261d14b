//! A build that is done again where what ended it passes: the builder stays, so that all that was
//! built comes from its cache, and only the push is new.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::build::metadata::Metadata;
use crate::build::{self, BuildError};
use crate::builder::{self, Tool};
use crate::credentials::helper;
use crate::plan::{ImagePlan, Place};
use crate::registry::preflight::Found;
use crate::run::error::Error;
use crate::runner::log::Group;
use crate::runner::redact::Redactor;
use crate::timings::{Recorder, Retry};

/// Builds, and builds again.
///
/// # Errors
/// The last attempt's, or that the run was cancelled.
pub(super) async fn build(
    image: &ImagePlan,
    place: &Place,
    tool: &Tool,
    recorder: &mut Recorder,
    (retries, found): (usize, &Found),
    redactor: &Redactor,
    cancel: &CancellationToken,
) -> Result<Metadata, Error> {
    let mut waits = builder::waits(retries);
    let mut attempt = 1;
    loop {
        let title = match attempt {
            1 => "Build".to_owned(),
            attempt => format!("Build, attempt {attempt}"),
        };
        let group = Group::open(&title);
        let error = match build::run(image, place, tool, recorder, redactor, cancel).await {
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
            "{failure}\nthis passes: the push is tried again {}",
            builder::words(wait, retries + 2 - attempt)
        );
        if refused {
            // Before its time: the helper would give the same one again.
            helper::forget(&place.tokens_folder());
        }
        recorder.retried(Retry {
            what: "the push".to_owned(),
            why: failure.to_string(),
            failed: Timestamp::now(),
            wait,
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return Err(BuildError::Cancelled.into()),
        }
    }
}
