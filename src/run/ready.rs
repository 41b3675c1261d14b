//! What has to be there before the build: logins, repositories, the builder. All at once.

use jiff::Timestamp;

use super::settle::Settled;
use super::{Run, stage};
use crate::aws::Session;
use crate::builder::{self, Builder, BuilderError};
use crate::buildx::Tool;
use crate::credentials::Credentials;
use crate::inputs::Inputs;
use crate::network::proxy;
use crate::plan::{ImagePlan, Place};
use crate::registry::preflight::{self, Found, FoundRepository};
use crate::report::Registries;
use crate::run::error::Error;
use crate::runner::log;
use crate::timings::{Phase, Recorder, Stage};

impl Run {
    /// Logs in, looks at the repositories and starts the builder. What fails of the first two stops
    /// the boot: an image that can't be pushed is not built. What was found is known also where no
    /// builder could be started.
    pub(super) async fn get_ready(
        &self,
        session: &Session,
        settled: &Settled,
        image: &ImagePlan,
        credentials: &Credentials,
        tool: &Tool,
        recorder: &mut Recorder,
    ) -> Result<(Result<Builder, BuilderError>, Found), Error> {
        let begin = Timestamp::now();
        let boot = self.cancel.child_token();
        let doors = async {
            let known = settled.authorization.as_ref();
            let log_in = self.log_in(&settled.plan, known, session, credentials);
            let log_in = timed("logins", log_in);
            let look = timed("preflight", Box::pin(self.look(settled, session)));
            let opened = tokio::try_join!(log_in, look);
            if opened.is_err() {
                boot.cancel();
            }
            opened
        };
        let start = async {
            let start = builder::Start {
                plan: &settled.plan.builder,
                platforms: &image.platforms,
                tool,
                engine: settled.facts.engine_address(),
                retries: settled.plan.retries,
                secret_options: &proxy::secret_options(&settled.plan, &self.env),
                stop: &boot,
                cancel: &self.cancel,
            };
            let started = builder::start(start, recorder);
            (started.await, stage("builder", Phase::Builder, begin))
        };
        let (opened, (builder, booted)) = tokio::join!(doors, start);
        recorder.add(booted);
        match opened {
            Ok(((logged_in, logins), (found, preflight))) => {
                // What there was nothing to do for is no stage.
                if logged_in {
                    recorder.add(logins);
                }
                if settled.found.is_none() && !settled.plan.ecr_repositories().is_empty() {
                    recorder.add(preflight);
                }
                Ok((builder, found))
            }
            Err(error) => Err(match builder {
                Ok(builder) => {
                    builder.stop(&self.cancel).await;
                    error
                }
                // It failed by itself, not because it was stopped.
                Err(broken) if !broken.is_cancelled() => broken.into(),
                Err(_) => error,
            }),
        }
    }

    /// Looks at the repositories, unless an earlier builder of this run was tried after it.
    async fn look(&self, settled: &Settled, session: &Session) -> Result<Found, Error> {
        let repositories = settled.plan.ecr_repositories();
        if let Some(found) = &settled.found {
            return Ok(found.clone());
        }
        if repositories.is_empty() {
            return Ok(Found::default());
        }
        let new = settled.plan.create_repository.as_ref();
        tokio::select! {
            found = preflight::look(repositories, new, session) => Ok(found?),
            () = self.cancel.cancelled() => Err(Error::Cancelled),
        }
    }
}

impl Run {
    /// Plans anew where tags of a repository can't move: the cache goes elsewhere. The builder is
    /// there, and stays as it is.
    pub(super) fn heed(
        &self,
        inputs: &Inputs,
        settled: &mut Settled,
        found: &Found,
        place: &Place,
    ) -> Result<(), Error> {
        let mut facts = settled.facts.clone();
        for repository in &found.repositories {
            if let Some(mutability) = &repository.mutability {
                let address = repository.address.clone();
                facts.repositories.insert(address, mutability.clone());
            }
        }
        if facts.repositories == settled.facts.repositories {
            return Ok(());
        }
        let plan = self.plan_with(inputs, &facts, place)?;
        let before = std::mem::replace(&mut settled.plan, plan);
        settled.facts = facts;
        settled.plan.builder = before.builder;
        let new = |words: &[String], said: &[String]| -> Vec<String> {
            let new = words.iter().filter(|words| !said.contains(words));
            new.cloned().collect()
        };
        for notice in new(&settled.plan.notices, &before.notices) {
            tracing::info!(target: log::NOTICE, "{notice}");
        }
        for warning in new(&settled.plan.warnings, &before.warnings) {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}

/// A piece of our own work that goes well, and how long it took.
async fn timed<T, E>(
    name: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<(T, Stage), E> {
    let begin = Timestamp::now();
    let done = work.await?;
    Ok((done, stage(name, Phase::Setup, begin)))
}

/// What the report tells of the registries.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_hears_of_new_repositories_and_those_without_a_policy() {
        let repository = |address: &str, created, has_lifecycle_policy| FoundRepository {
            address: address.to_owned(),
            exists: true,
            created,
            mutability: None,
            has_lifecycle_policy,
        };
        let told = registries(Found {
            repositories: vec![
                repository("r/new", true, Some(true)),
                repository("r/bare", false, Some(false)),
                repository("r/unknown", false, None),
            ],
            warnings: vec!["w".to_owned()],
        });
        assert_eq!(told.created, ["r/new"]);
        assert_eq!(told.without_lifecycle_policy, ["r/bare"]);
        assert_eq!(told.warnings, ["w"]);
    }
}
