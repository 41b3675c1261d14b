//! One image, pushed by the push engine.

use image::Digest;
use jiff::Timestamp;
use protocol::{Event, Summary};
use tokio::sync::oneshot;

use super::build_image::wait_to_retry;
use super::execution::Execution;
use crate::acceleration::{Preparation, Watch, complete};
use crate::buildx::metadata::Metadata;
use crate::buildx::retry::{schedule, waits};
use crate::buildx::{Accelerated, Build, BuildError, Reason};
use crate::credentials::Credentials;
use crate::plan::EnginePlan;
use crate::run::error::Error;
use crate::runner::log::{Group, NOTICE};
use crate::timings::Recorder;

impl Execution<'_> {
    /// Builds and pushes with the push engine; none if BuildKit has to push. `publish` gets the image's digest before the build ends.
    ///
    /// # Errors
    /// When the user's build fails, the run is cancelled, or BuildKit must not take over: by request, or because tags name the
    /// engine's image already.
    pub(super) async fn accelerate(
        &self,
        build: &Build<'_>,
        plan: &EnginePlan,
        credentials: &Credentials,
        publish: oneshot::Sender<Digest>,
        recorder: &mut Recorder,
    ) -> Result<Option<(Metadata, Summary)>, Error> {
        let preparation = Preparation {
            image: build.image,
            plan,
            builder: build.builder,
            tool: build.tool,
            credentials,
            env: &self.run.env,
            silence_timeout: build.patience.request,
            cancel: build.cancel,
        };
        let retries = self.plan.retries;
        let mut waits = waits(retries);
        let mut attempt = 1;
        let mut publish = Some(publish);
        loop {
            let prepared = match preparation.prepare().await {
                Ok(prepared) => prepared,
                Err(_) if build.cancel.is_cancelled() => return Err(BuildError::Cancelled.into()),
                Err(reason) if plan.is_required => return Err(Error::Acceleration(reason)),
                Err(reason) => {
                    tracing::info!(target: NOTICE, "BuildKit pushes the image itself: {reason}");
                    return Ok(None);
                }
            };
            let group = Group::open("Build and push");
            let mut watch = Watch::default();
            let definition = prepared.definition(build.image, plan);
            let ended = build.accelerate(
                &definition,
                |status| recorder.record(status, Timestamp::now()),
                |event| {
                    if let Event::Done(summary) = event
                        && let Some(publish) = publish.take()
                    {
                        // Without a receiver the run was cancelled.
                        let _ = publish.send(summary.digest.clone());
                    }
                    if let Some(line) = watch.see(event, Timestamp::now()) {
                        tracing::info!("{}", self.run.redactor.text(&line));
                    }
                },
            );
            let ended = Box::pin(ended).await;
            preparation.clean_up(&prepared).await;
            drop(group);
            match ended {
                Ok(Accelerated::Pushed {
                    mut metadata,
                    summary,
                }) => {
                    for stage in watch.stages() {
                        recorder.add(stage);
                    }
                    complete(&mut metadata, &summary, build.image);
                    return Ok(Some((*metadata, *summary)));
                }
                Ok(Accelerated::NotPushed {
                    reason,
                    is_published: false,
                }) => {
                    if plan.is_required {
                        return Err(Error::Acceleration(reason));
                    }
                    warn(&reason);
                    return Ok(None);
                }
                // Tags name the image in one registry: another image would be a second one under the same names.
                Ok(Accelerated::NotPushed { reason, .. }) => {
                    let Some(wait) = waits.next() else {
                        return Err(Error::Acceleration(reason));
                    };
                    attempt += 1;
                    tracing::warn!(
                        "{reason}\nthe image is in one registry and not in another: the push is tried again {}",
                        schedule(wait, retries + 2 - attempt)
                    );
                    wait_to_retry("push", reason.to_string(), wait, recorder, build.cancel).await?;
                }
                Err(BuildError::Failed { failure, .. }) if failure.is_temporary(&|_| true) => {
                    warn(&Reason::new(failure.to_string()));
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn warn(reason: &Reason) {
    let hint = reason.hint.iter().map(|hint| format!("\nhint: {hint}"));
    let hint: String = hint.collect();
    tracing::warn!(
        "the push engine could not push, BuildKit pushes the image itself: {reason}{hint}"
    );
}
