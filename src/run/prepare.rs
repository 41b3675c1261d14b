//! What the build needs: logins, repositories, a builder. All at once.

use jiff::Timestamp;

use super::execution::Execution;
use super::{Run, stage};
use crate::aws::Session;
use crate::builder::{self, Builder};
use crate::buildx::Tool;
use crate::credentials::Credentials;
use crate::plan::Plan;
use crate::registry::preflight::{self, Found, FoundRepository};
use crate::report::Registries;
use crate::run::error::Error;
use crate::timings::{Phase, Stage};

impl Execution<'_> {
    /// Logs in, checks the repositories and starts the builder. A failure of the first two stops the boot: an image that can't be
    /// pushed is not built.
    ///
    /// # Errors
    /// When one of the three fails.
    pub(super) async fn prepare(
        &mut self,
        credentials: &Credentials,
        tool: &Tool,
    ) -> Result<Builder, Error> {
        let run = self.run;
        let begin = Timestamp::now();
        let stop = run.cancel.child_token();
        let platforms = self.plan.images.iter().flat_map(|image| &image.platforms);
        let platforms: Vec<String> = platforms.cloned().collect();
        let checks_repositories = self.found.is_none() && !self.plan.ecr_repositories().is_empty();
        let logged_in = self.logged_in;
        let open = async {
            let log_in = run.log_in(
                &self.plan,
                self.authorization.as_ref(),
                self.session,
                credentials,
            );
            let log_in = timed("logins", async {
                if logged_in {
                    return Ok(false);
                }
                log_in.await
            });
            // An earlier builder of this run was tried after the preflight.
            let known = self.found.clone();
            let preflight = timed("preflight", async {
                match known {
                    Some(found) => Ok(found),
                    None => Box::pin(run.preflight(&self.plan, self.session)).await,
                }
            });
            let opened = tokio::try_join!(log_in, preflight);
            if opened.is_err() {
                stop.cancel();
            }
            opened
        };
        let start = builder::Start {
            plan: &self.plan.builder,
            platforms: &platforms,
            tool,
            engine: self.facts.engine_address(),
            retries: self.plan.retries,
            stop: &stop,
            cancel: &run.cancel,
        };
        let recorder = &mut self.recorder;
        let start = async {
            let started = builder::start(start, recorder).await;
            (started, stage("builder", Phase::Builder, begin))
        };
        let (opened, (builder, booted)) = tokio::join!(open, start);
        self.record(&booted);
        match opened {
            Ok(((logged_in, logins), (found, preflight))) => {
                // A stage without work is left out.
                if logged_in {
                    self.record(&logins);
                }
                if checks_repositories {
                    self.record(&preflight);
                }
                self.found = Some(found);
                Ok(builder?)
            }
            Err(error) => Err(match builder {
                Ok(builder) => {
                    builder.stop(&run.cancel).await;
                    error
                }
                // The builder failed by itself, not because it was stopped.
                Err(failed) if !failed.is_cancelled() => failed.into(),
                Err(_) => error,
            }),
        }
    }
}

impl Run {
    pub(super) async fn preflight(&self, plan: &Plan, session: &Session) -> Result<Found, Error> {
        let repositories = plan.ecr_repositories();
        if repositories.is_empty() {
            return Ok(Found::default());
        }
        let new = plan.create_repository.as_ref();
        tokio::select! {
            found = preflight::look(repositories, new, plan.if_exists, session) => Ok(found?),
            () = self.cancel.cancelled() => Err(Error::Cancelled),
        }
    }
}

/// Work that succeeds, and how long it took.
async fn timed<T, E>(
    name: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<(T, Stage), E> {
    let begin = Timestamp::now();
    let done = work.await?;
    Ok((done, stage(name, Phase::Setup, begin)))
}

/// What the report says about the registries.
pub(super) fn registries(found: Found) -> Registries {
    let with = |holds: fn(&FoundRepository) -> bool| {
        let repositories = found.repositories.iter().filter(|found| holds(found));
        repositories.map(|found| found.address.clone()).collect()
    };
    Registries {
        created: with(|found| found.created),
        without_lifecycle_policy: with(|found| found.has_lifecycle_policy == Some(false)),
        warnings: found.warnings,
    }
}
