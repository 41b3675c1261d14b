//! One image: built, again after a temporary failure of the push, its cache written, the pushed manifest read back.
//!
//! The builder stays between attempts, so that all steps come from its cache and only the push is repeated.

use std::time::Duration;

use image::Digest;
use jiff::Timestamp;
use protocol::Summary;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::execution::{Execution, With};
use super::finish_push::Push;
use super::stage;
use crate::buildx::imagetools::Imagetools;
use crate::buildx::metadata::Metadata;
use crate::buildx::retry::{schedule, waits};
use crate::buildx::silence::Patience;
use crate::buildx::{Build, BuildError};
use crate::credentials::{Credentials, helper};
use crate::plan::{Acceleration, ImagePlan};
use crate::process::Ongoing;
use crate::registry::preflight::Found;
use crate::registry::pushed;
use crate::report::Built;
use crate::run::error::Error;
use crate::runner::log::Group;
use crate::runner::mounts::Mounts;
use crate::timings::{Phase, Recorder, Retry};

/// How timings name it.
const READ_BACK: &str = "read the manifest back";

impl Execution<'_> {
    /// Builds and pushes an image, the `place`th of the plan, and leaves its key.
    ///
    /// # Errors
    /// When the build fails for good, the builder is lost, or the run is cancelled.
    pub(super) async fn build_image(
        &self,
        place: usize,
        image: &ImagePlan,
        with: &With<'_>,
        recorder: &mut Recorder,
    ) -> Result<Built, Error> {
        let With { builder, tool, .. } = *with;
        let cancel = self.run.cancel.child_token();
        let isolated = Mounts::of(&self.run.env).is_some();
        let ongoing = Ongoing::default();
        let build = Build {
            image,
            builder: &builder.name,
            tool,
            redactor: &self.run.redactor,
            patience: Patience::of(self.plan.silence_timeout),
            ongoing: &ongoing,
            cancel: &cancel,
        };
        let imagetools = Imagetools {
            builder: &builder.name,
            tool,
            cancel: &cancel,
        };
        let work = async {
            let push = Push::new(image, &imagetools);
            let (publish, published) = oneshot::channel();
            let metadata = self.build(&build, push, with.credentials, publish, recorder);
            let before = pushed::before(image, &imagetools, isolated);
            let look = async {
                let digest = published.await.ok()?;
                let begin = Timestamp::now();
                let looked = pushed::look(image, digest, &imagetools, isolated).await?;
                Some((looked, stage(READ_BACK, Phase::Setup, begin)))
            };
            let ((metadata, before), looked) = tokio::join!(with_side_task(metadata, before), look);
            let (mut metadata, engine) = metadata?;
            let begin = Timestamp::now();
            let export = build.write_cache(&mut metadata, |status| {
                recorder.record(status, Timestamp::now());
            });
            if export.await {
                recorder.add(stage("write the cache", Phase::CacheExport, begin));
            }
            if self.run.cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            Ok((metadata, engine, before.flatten(), looked))
        };
        let lost = builder.lost(&ongoing);
        let built = Box::pin(unless_lost(work, lost, &cancel)).await;
        let (metadata, engine, before, looked) = match built {
            // buildx noticed first, but can't say why.
            Err(Error::Build(error)) if error.is_disconnection() && !cancel.is_cancelled() => {
                let lost = builder.after_disconnection().await;
                return Err(lost.map_or(Error::Build(error), Error::from));
            }
            other => other?,
        };
        let begin = Timestamp::now();
        let imagetools = Imagetools {
            cancel: &self.run.cancel,
            ..imagetools
        };
        let pushed = async {
            let redactor = &self.run.redactor;
            let (looked, read) = looked.unzip();
            let pushed = pushed::confirm(image, &metadata, looked, &imagetools, isolated, redactor);
            let pushed = pushed.await;
            (
                pushed,
                read.unwrap_or_else(|| stage(READ_BACK, Phase::Setup, begin)),
            )
        };
        let key = self.leave_key(place, image, metadata.digest.as_ref(), with, recorder);
        let ((mut image, read), key) = tokio::join!(pushed, Box::pin(key));
        if let Some(image) = &mut image {
            image.unchanged = before.is_some_and(|before| before.is(&metadata));
        }
        recorder.add(read);
        if let Some(key) = key {
            recorder.add(key);
        }
        Ok(Built {
            metadata,
            image,
            existed: false,
            unchanged: None,
            engine,
        })
    }

    /// Builds and pushes: with the push engine if the plan has it, else, or if it can't, with BuildKit alone. `publish` gets the digest of
    /// the engine's image as soon as that is in its registries.
    async fn build(
        &self,
        build: &Build<'_>,
        push: Push<'_>,
        credentials: &Credentials,
        publish: oneshot::Sender<Digest>,
        recorder: &mut Recorder,
    ) -> Result<(Metadata, Option<Summary>), Error> {
        if let Acceleration::Engine(plan) = &build.image.acceleration {
            let pushed =
                Box::pin(self.accelerate(build, plan, credentials, publish, recorder)).await?;
            if let Some((metadata, summary)) = pushed {
                return Ok((metadata, Some(summary)));
            }
        }
        Ok((self.build_plainly(build, push, recorder).await?, None))
    }

    /// Builds until it succeeds, as often as the plan allows. A push that failed in the middle is completed instead.
    async fn build_plainly(
        &self,
        build: &Build<'_>,
        mut push: Push<'_>,
        recorder: &mut Recorder,
    ) -> Result<Metadata, Error> {
        let retries = self.plan.retries;
        let mut waits = waits(retries);
        let mut attempt = 1;
        loop {
            let title = match attempt {
                1 => "Build".to_owned(),
                attempt => format!("Build, attempt {attempt}"),
            };
            let group = Group::open(&title);
            let built = build.run(|status| recorder.record(status, Timestamp::now()));
            let mut error = match built.await {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            drop(group);
            if let BuildError::Silent { silence, pushing } = &error {
                // The image may be complete, without its cache.
                push.attempted(pushing.as_ref());
                if silence.is_of_cache
                    && let Ok(Some(mut metadata)) = push.finish(&mut waits).await
                {
                    metadata.is_of_failed_build = false;
                    metadata.caches.unwritten = Some(silence.to_string());
                    metadata.caches.warn_of_unwritten();
                    return Ok(metadata);
                }
            }
            let BuildError::Failed { failure, .. } = &mut error else {
                return Err(error.into());
            };
            push.attempted(failure.pushing.as_ref());
            if failure.is_taken() {
                // Perhaps by an attempt of this run, whose answer was lost.
                match push.finish(&mut waits).await {
                    Ok(Some(metadata)) => return Ok(metadata),
                    Ok(None) => {}
                    Err(other) => tracing::warn!("{other}"),
                }
                let taken = self.found.iter().flat_map(Found::taken);
                failure.taken = taken
                    .map(|(name, digest)| (name, digest.to_owned()))
                    .collect();
            }
            // The preflight checked the rights, so a refusal means that the token expired. A second one, with a new token, is final.
            let refused = attempt == 1 && failure.may_be_expired_login();
            let exists = |address: &str| {
                let found = self.found.as_ref();
                found.is_some_and(|found| found.has_seen(address))
            };
            let is_temporary = refused || failure.is_temporary(&exists);
            let Some(wait) = waits.next().filter(|_| is_temporary) else {
                return Err(error.into());
            };
            attempt += 1;
            let attempted = failure.attempted();
            tracing::warn!(
                "{failure}\nthis is temporary: the {attempted} is tried again {}",
                schedule(wait, retries + 2 - attempt)
            );
            if refused {
                // Otherwise the helper would return the same token.
                helper::forget(&self.planner.dir.tokens());
            }
            wait_to_retry(attempted, failure.to_string(), wait, recorder, build.cancel).await?;
            match push.finish(&mut waits).await {
                Ok(Some(metadata)) => return Ok(metadata),
                Ok(None) => {}
                Err(_) if build.cancel.is_cancelled() => {
                    return Err(BuildError::Cancelled.into());
                }
                Err(other) => {
                    tracing::warn!("{other}");
                    return Err(error.into());
                }
            }
        }
    }
}

/// Records that the push or build is tried again, and waits.
///
/// # Errors
/// When the run is cancelled meanwhile.
pub(super) async fn wait_to_retry(
    attempted: &str,
    why: String,
    wait: Duration,
    recorder: &mut Recorder,
    cancel: &CancellationToken,
) -> Result<(), BuildError> {
    recorder.retried(Retry {
        what: format!("the {attempted}"),
        why,
        failed: Timestamp::now(),
        wait,
    });
    tokio::select! {
        () = tokio::time::sleep(wait) => Ok(()),
        () = cancel.cancelled() => Err(BuildError::Cancelled),
    }
}

/// Runs both at the same time. The side task is dropped when the main one ends first.
async fn with_side_task<T, U>(
    main: impl Future<Output = T>,
    side: impl Future<Output = U>,
) -> (T, Option<U>) {
    let (mut main, mut side) = (std::pin::pin!(main), std::pin::pin!(side));
    let mut answer = None;
    loop {
        tokio::select! {
            ended = &mut main => return (ended, answer),
            other = &mut side, if answer.is_none() => answer = Some(other),
        }
    }
}

/// The build's result, or that its builder was lost, which ends the build. A cancelled build may lose its connection before it ends: that
/// is no loss.
async fn unless_lost<T, L: Into<Error>>(
    build: impl Future<Output = Result<T, Error>>,
    lost: impl Future<Output = L>,
    cancel: &CancellationToken,
) -> Result<T, Error> {
    let mut build = std::pin::pin!(build);
    let lost = tokio::select! {
        biased;
        built = &mut build => return built,
        () = cancel.cancelled() => return build.await,
        lost = lost => lost,
    };
    cancel.cancel();
    // The build may just have succeeded.
    build.await.map_err(|_| lost.into())
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::builder::BuilderError;

    fn lost() -> BuilderError {
        BuilderError::Platform {
            missing: vec!["linux/arm64".to_owned()],
            offered: "linux/amd64".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_build_without_its_builder_ends_with_the_reason() {
        let cancel = CancellationToken::new();
        let build = async {
            cancel.cancelled().await;
            Err::<(), _>(BuildError::Cancelled.into())
        };
        let ended = unless_lost(build, ready(lost()), &cancel).await;
        assert_eq!(ended.unwrap_err().to_string(), lost().to_string());
    }

    #[tokio::test]
    async fn a_cancelled_build_does_not_lose_its_builder() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let build = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err::<(), _>(BuildError::Cancelled.into())
        };
        let ended = unless_lost(build, ready(lost()), &cancel).await;
        assert!(matches!(ended, Err(Error::Build(BuildError::Cancelled))));
    }

    #[tokio::test]
    async fn a_build_that_succeeds_as_its_builder_is_lost_has_succeeded() {
        let cancel = CancellationToken::new();
        let build = async {
            cancel.cancelled().await;
            Ok(1)
        };
        let ended = unless_lost(build, ready(lost()), &cancel).await;
        assert_eq!(ended.unwrap(), 1);
    }
}
