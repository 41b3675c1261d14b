//! One image, pushed by the push engine.

use std::path::PathBuf;

use image::Digest;
use jiff::Timestamp;
use protocol::{Event, Summary};
use tokio::sync::oneshot;

use super::build_image::wait_to_retry;
use super::execution::Execution;
use super::stage;
use crate::acceleration::{Preparation, Watch, complete, index};
use crate::buildx::bake::Definition;
use crate::buildx::metadata::Metadata;
use crate::buildx::retry::{schedule, waits};
use crate::buildx::{Accelerated, Build, BuildError, NotPushed, Reason};
use crate::credentials::Credentials;
use crate::plan::EnginePlan;
use crate::run::error::Error;
use crate::runner::log::{Group, NOTICE};
use crate::timings::{Phase, Recorder};

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
        let mut published = |event: &Event| {
            if let Event::Done(summary) = event
                && let Some(publish) = publish.take()
            {
                // Without a receiver the run was cancelled.
                let _ = publish.send(summary.digest.clone());
            }
        };
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
            let mut watches: Vec<Watch> = plan.parts.iter().map(|_| Watch::default()).collect();
            let definition = prepared.definition(build.image, plan);
            let ended = build.accelerate(
                &definition,
                |status| recorder.record(status, Timestamp::now()),
                |place, event| {
                    if plan.parts.len() == 1 {
                        published(event);
                    }
                    let watch = watches.get_mut(place);
                    if let Some(line) = watch.and_then(|it| it.see(event, Timestamp::now())) {
                        let line = self.run.redactor.text(&line);
                        tracing::info!("{}", of_part(plan, place, &line));
                    }
                },
            );
            let ended = Box::pin(ended).await;
            preparation.clean_up(&prepared).await;
            let pushed = match ended {
                Ok(Accelerated::Pushed {
                    metadata,
                    summaries,
                }) => {
                    for stage in watches.iter().flat_map(Watch::stages) {
                        recorder.add(stage);
                    }
                    let summary = match <[Summary; 1]>::try_from(summaries) {
                        Ok([only]) => Ok(only),
                        Err(several) => {
                            let context = preparation.prepare_index(&prepared, &several);
                            let index =
                                self.index(build, &definition, context, recorder, &mut published);
                            let index = index.await;
                            index.map(|index| index::summary(index, &several))
                        }
                    };
                    summary.map(|summary| (metadata, summary))
                }
                Ok(Accelerated::NotPushed(not_pushed)) => Err(not_pushed),
                Err(BuildError::Failed { failure, .. }) if failure.is_temporary(&|_| true) => {
                    drop(group);
                    warn(&Reason::new(failure.to_string()));
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            drop(group);
            let NotPushed {
                reason,
                is_published,
            } = match pushed {
                Ok((mut metadata, summary)) => {
                    complete(&mut metadata, &summary, build.image);
                    return Ok(Some((*metadata, summary)));
                }
                Err(_) if build.cancel.is_cancelled() => {
                    return Err(BuildError::Cancelled.into());
                }
                Err(not_pushed) => not_pushed,
            };
            if !is_published {
                if plan.is_required {
                    return Err(Error::Acceleration(reason));
                }
                warn(&reason);
                return Ok(None);
            }
            // Tags name the image in one registry: another image would be a second one under the same names.
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
    }

    /// Writes the index of what several steps pushed, from this build context.
    async fn index(
        &self,
        build: &Build<'_>,
        definition: &Definition<'_>,
        context: Result<PathBuf, Reason>,
        recorder: &mut Recorder,
        mut published: impl FnMut(&Event),
    ) -> Result<Summary, NotPushed> {
        let begin = Timestamp::now();
        let context = context?;
        let mut watch = Watch::default();
        let written = build.write_index(definition, &context, |event| {
            published(event);
            if let Event::Published(_) = event
                && let Some(line) = watch.see(event, Timestamp::now())
            {
                tracing::info!("{}", self.run.redactor.text(&line));
            }
        });
        let index = Box::pin(written).await?;
        recorder.add(stage("write the index", Phase::Push, begin));
        Ok(index)
    }
}

/// Lines about a part, with its platform where there are several.
fn of_part(plan: &EnginePlan, place: usize, lines: &str) -> String {
    let platform = plan
        .parts
        .get(place)
        .and_then(|part| part.platform.as_ref());
    match platform.filter(|_| plan.parts.len() > 1) {
        Some(platform) => {
            let lines = lines.lines().map(|line| format!("{platform}: {line}"));
            lines.collect::<Vec<String>>().join("\n")
        }
        None => lines.to_owned(),
    }
}

fn warn(reason: &Reason) {
    let hint = reason.hint.iter().map(|hint| format!("\nhint: {hint}"));
    let hint: String = hint.collect();
    tracing::warn!(
        "the push engine could not push, BuildKit pushes the image itself: {reason}{hint}"
    );
}
