//! The work that a plan describes: credentials, builder, images, clean-up; and another builder where the cluster fails.

use std::collections::BTreeMap;
use std::ffi::OsString;

use anyhow::Context as _;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::planner::{Planned, Planner, cluster_failure};
use super::write_files::write_files;
use super::{Run, log, post, stage};
use crate::aws::{Session, ecr};
use crate::builder::{self, Builder};
use crate::buildx::Tool;
use crate::credentials::{Credentials, FORMER_KUBECONFIG_FILE, TEMPORARY};
use crate::facts::Facts;
use crate::plan::{ImagePlan, Plan};
use crate::registry::preflight::Found;
use crate::report::{self, Built};
use crate::run::error::Error;
use crate::runner::env::Env;
use crate::timings::{Phase, Recorder, Stage};
use crate::unchanged::{Identity, Registries};

/// The error with the place in the repository of the Dockerfile's line, if it is about one.
fn located(mut error: Error, image: &ImagePlan, env: &Env) -> Error {
    if let Some(failure) = error.failure_mut() {
        let place = failure.place.as_ref();
        failure.in_repository = place.and_then(|(file, line)| {
            let path = report::in_repository(file, image, env)?;
            Some((path.to_string_lossy().into_owned(), *line))
        });
    }
    error
}

/// What an image is built with.
#[derive(Debug, Clone, Copy)]
pub(super) struct With<'a> {
    pub builder: &'a Builder,
    pub tool: &'a Tool,
    pub credentials: &'a Credentials,
    /// Those that were asked for an unchanged image, if one is looked for.
    pub registries: Option<&'a Registries<'a>>,
}

/// An execution: the plan that is being carried out, and what came of it so far.
#[derive(Debug)]
pub(super) struct Execution<'a> {
    pub run: &'a Run,
    pub planner: &'a Planner<'a>,
    pub session: &'a Session,
    /// A token that planning needed.
    pub authorization: Option<ecr::Authorization>,
    pub facts: Facts,
    pub plan: Plan,
    /// Whether the cluster is still to be described: the plan has a placeholder for it.
    pub describes_cluster: bool,
    /// What the preflight found, once it was made.
    pub found: Option<Found>,
    /// Whether the registries' tokens were fetched.
    pub logged_in: bool,
    /// What the images are, in the plan's order, as far as it is known before they are built.
    pub identities: Vec<Option<Identity>>,
    /// The images that were built, in the plan's order.
    pub built: Vec<Built>,
    /// Times of the work for all images.
    pub recorder: Recorder,
    /// Times of each image that was begun, with those for all.
    pub image_recorders: Vec<Recorder>,
}

impl<'a> Execution<'a> {
    pub(super) fn new(
        run: &'a Run,
        planner: &'a Planner<'a>,
        session: &'a Session,
        planned: Planned,
        describes_cluster: bool,
    ) -> Self {
        let mut recorder = Recorder::new(run.started);
        recorder.add(stage("inputs, facts, plan", Phase::Setup, run.started));
        Self {
            run,
            planner,
            session,
            authorization: planned.authorization,
            facts: planned.facts,
            plan: planned.plan,
            describes_cluster,
            found: None,
            logged_in: false,
            identities: Vec::new(),
            built: Vec::new(),
            recorder,
            image_recorders: Vec::new(),
        }
    }

    /// Carries out the plan. If the cluster can't build and another builder may, plans and tries again.
    ///
    /// # Errors
    /// Why an image could not be built; after a second try both reasons.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let first = match Box::pin(self.attempt()).await {
            Err(error) if self.falls_back(&error) => error,
            ended => return ended,
        };
        let second = match self.fall_back(&first) {
            Ok(()) => Box::pin(self.attempt()).await,
            Err(error) => Err(error),
        };
        second.map_err(|second| Error::Fallback {
            first: Box::new(first),
            second: Box::new(second),
        })
    }

    async fn attempt(&mut self) -> Result<(), Error> {
        if Box::pin(self.take_existing()).await? {
            return Ok(());
        }
        let run = self.run;
        let begin = Timestamp::now();
        // Before the credentials, which name the kubeconfig to children if there is one.
        write_files(&self.plan, &self.planner.dir)?;
        let credentials = Credentials::prepare(
            &self.planner.dir.path,
            &self.plan.logins(),
            &self.plan.registry_auth,
            &run.env,
        )?;
        let mut tool = self.tool(&credentials).await?;
        self.record(&stage("credentials", Phase::Setup, begin));
        let registries = self.registries(&credentials);
        if Box::pin(self.take_unchanged(&credentials, registries.as_ref(), &tool)).await? {
            return Ok(());
        }
        if self.describes_cluster {
            self.describe_cluster().await?;
            write_files(&self.plan, &self.planner.dir)?;
            tool = self.tool(&credentials).await?;
        }
        let builder = Box::pin(self.prepare(&credentials, &tool)).await?;
        let built = match self.plan_with_repositories() {
            Ok(()) => {
                let with = With {
                    builder: &builder,
                    tool: &tool,
                    credentials: &credentials,
                    registries: registries.as_ref().and_then(|known| known.as_ref().ok()),
                };
                self.build_images(&with).await
            }
            Err(error) => Err(error),
        };
        self.remove(&builder).await;
        built
    }

    /// buildx with this run's logins, and the secret variables that the plan names.
    async fn tool(&self, credentials: &Credentials) -> Result<Tool, Error> {
        let mut env = credentials.env.clone();
        if self.plan.images.iter().any(|image| image.reads(TEMPORARY)) {
            // The run's folder has another name in each run.
            env.remove(TEMPORARY);
        }
        env.extend(self.secret_variables().await?);
        env.extend(self.facts.engine_variables());
        let program = self.plan.buildx.clone();
        Ok(Tool { program, env })
    }

    async fn secret_variables(&self) -> Result<Vec<(String, OsString)>, Error> {
        let names = &self.plan.secret_variables;
        let env = &self.run.env;
        let mut values: BTreeMap<&str, SecretString> = names
            .iter()
            .filter_map(|name| Some((name.as_str(), env.get(name)?.into())))
            .collect();
        if names.iter().any(|name| name.starts_with("AWS_")) {
            let variables = Box::pin(self.session.variables());
            let variables = self.run.unless_cancelled(variables).await?;
            values.extend(
                variables
                    .into_iter()
                    .filter(|(name, _)| names.contains(*name)),
            );
        }
        let values = values.into_iter();
        Ok(values
            .map(|(name, value)| (name.to_owned(), value.expose_secret().into()))
            .collect())
    }

    /// Plans again if the preflight found out which tags can't move: the cache may go elsewhere. Repositories don't decide on the
    /// builder, which is running by now.
    fn plan_with_repositories(&mut self) -> Result<(), Error> {
        let mut facts = self.facts.clone();
        let taken = self.found.iter().flat_map(Found::taken);
        facts.taken.extend(taken.map(|(name, _)| name));
        for repository in self.found.iter().flat_map(|found| &found.repositories) {
            if let Some(mutability) = &repository.mutability {
                let address = repository.address.clone();
                facts.repositories.insert(address, mutability.clone());
            }
        }
        if facts.repositories == self.facts.repositories && facts.taken == self.facts.taken {
            return Ok(());
        }
        self.plan_again(facts)
    }

    /// Describes the cluster, for which the plan has a placeholder, and plans again.
    ///
    /// # Errors
    /// When it can't be described.
    async fn describe_cluster(&mut self) -> Result<(), Error> {
        let begin = Timestamp::now();
        let access = self
            .run
            .describe_cluster(self.planner.inputs, self.session)
            .await?;
        self.plan_again(Facts {
            cluster: Some(access),
            ..self.facts.clone()
        })?;
        self.describes_cluster = false;
        self.record(&stage("find the cluster", Phase::Setup, begin));
        Ok(())
    }

    fn plan_again(&mut self, facts: Facts) -> Result<(), Error> {
        let plan = self.planner.plan(&facts)?;
        log::changes(&self.plan, &plan);
        self.run.hide(&plan);
        self.facts = facts;
        self.plan = plan;
        Ok(())
    }

    async fn build_images(&mut self, with: &With<'_>) -> Result<(), Error> {
        for (place, image) in self.plan.images.iter().enumerate() {
            let mut recorder = self.recorder.clone();
            let built = Box::pin(self.build_image(place, image, with, &mut recorder)).await;
            self.image_recorders.push(recorder);
            let built = built.map_err(|error| located(error, image, &self.run.env));
            self.built.push(built?);
        }
        Ok(())
    }

    async fn remove(&mut self, builder: &Builder) {
        if let Some(traffic) = builder.traffic() {
            log::traffic(traffic);
            for recorder in self.recorders() {
                recorder.set_api_traffic(traffic);
            }
        }
        let begin = Timestamp::now();
        builder.stop(&self.run.cancel).await;
        self.record(&stage("remove the builder", Phase::Builder, begin));
    }

    /// Whether another builder is to take over after this failure, which must be the cluster's and not the build's.
    fn falls_back(&self, error: &Error) -> bool {
        let kubernetes = self.plan.builder.kubernetes.as_ref();
        let is_of_cluster = match error {
            Error::Builder(error) => !error.is_lost(),
            Error::Cluster(error) => !error.is_input(),
            _ => false,
        };
        kubernetes.is_some_and(|kubernetes| kubernetes.fallback)
            && is_of_cluster
            && !self.run.cancel.is_cancelled()
    }

    /// Plans again without the cluster.
    fn fall_back(&mut self, first: &Error) -> Result<(), Error> {
        let facts = Facts {
            cluster: None,
            cluster_failure: Some(cluster_failure(first)),
            ..self.facts.clone()
        };
        self.describes_cluster = false;
        self.plan_again(facts)?;
        log::plan(&self.plan);
        // Left in place, it would send the post step to the cluster instead of the Engine.
        let dir = &self.planner.dir;
        builder::set_aside(&dir.kubeconfig(), &dir.path.join(FORMER_KUBECONFIG_FILE));
        // The post step is to remove this builder instead; of two values the later counts.
        Ok(post::save_state(&self.plan, dir, &self.run.env)
            .context("could not save what the post step removes")?)
    }

    /// Records work for all images.
    pub(super) fn record(&mut self, stage: &Stage) {
        for recorder in self.recorders() {
            recorder.add(stage.clone());
        }
    }

    fn recorders(&mut self) -> impl Iterator<Item = &mut Recorder> {
        std::iter::once(&mut self.recorder).chain(&mut self.image_recorders)
    }
}
