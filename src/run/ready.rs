//! What has to be there before the build: logins, repositories, the builder. All at once.

use jiff::Timestamp;

use super::settle::Settled;
use super::{Run, stage};
use crate::builder::{self, Builder, Tool};
use crate::credentials::Credentials;
use crate::credentials::aws::Session;
use crate::error::Error;
use crate::inputs::Inputs;
use crate::log;
use crate::plan::{ImagePlan, Place};
use crate::preflight::{self, Found, FoundRepository};
use crate::report::Registries;
use crate::timings::{Phase, Recorder, Stage};

impl Run {
    /// Logs in, looks at the repositories and starts the builder. What fails of the first two stops
    /// the boot: an image that can't be pushed is not built.
    pub(super) async fn get_ready(
        &self,
        session: &Session,
        settled: &Settled,
        image: &ImagePlan,
        credentials: &Credentials,
        tool: &Tool,
        recorder: &mut Recorder,
    ) -> Result<(Builder, Found), Error> {
        let begin = Timestamp::now();
        let boot = self.cancel.child_token();
        let doors = async {
            let known = settled.authorization.as_ref();
            let log_in = self.log_in(&settled.plan, known, session, credentials);
            let opened = tokio::try_join!(log_in, Box::pin(self.look(settled, session)));
            if opened.is_err() {
                boot.cancel();
            }
            opened
        };
        let start = builder::start(
            &settled.plan.builder,
            &image.platforms,
            (tool.clone(), settled.facts.engine_address()),
            recorder,
            &boot,
            &self.cancel,
        );
        let (opened, builder) = tokio::join!(doors, start);
        recorder.add(stage("builder", Phase::Builder, begin));
        let (found, looked) = match opened {
            Ok(((), opened)) => opened,
            Err(error) => {
                return Err(match builder {
                    Ok(builder) => {
                        builder.stop(&self.cancel).await;
                        error
                    }
                    // It failed by itself, not because it was stopped.
                    Err(broken) if !broken.is_cancelled() => broken.into(),
                    Err(_) => error,
                });
            }
        };
        if let Some(stage) = looked {
            recorder.add(stage);
        }
        Ok((builder?, found))
    }

    /// Looks at the repositories, unless an earlier builder of this run was tried after it.
    async fn look(
        &self,
        settled: &Settled,
        session: &Session,
    ) -> Result<(Found, Option<Stage>), Error> {
        let repositories = settled.plan.ecr_repositories();
        if let Some(found) = &settled.found {
            return Ok((found.clone(), None));
        }
        if repositories.is_empty() {
            return Ok((Found::default(), None));
        }
        let new = settled.plan.create_repository.as_ref();
        let begin = Timestamp::now();
        let found = tokio::select! {
            found = preflight::look(repositories, new, session) => found?,
            () = self.cancel.cancelled() => return Err(Error::Cancelled),
        };
        Ok((found, Some(stage("preflight", Phase::Setup, begin))))
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
