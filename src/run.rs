//! The order of the stages.
//!
//! Inputs, plan, credentials, builder, build, push, report: this file alone knows it. The report
//! is written whether or not it built, and cleaning up never hides how the build ended.

use std::process::ExitCode;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::build;
use crate::builder::{self, Tool};
use crate::check;
use crate::cli::Flags;
use crate::credentials::{Credentials, ecr, write_private};
use crate::env::Env;
use crate::error::Error;
use crate::facts::{self, GivenFacts};
use crate::folder;
use crate::github::command::{Annotation, Level, masks};
use crate::github::workflow::WorkflowRun;
use crate::history::{self, History, Workflow};
use crate::image::{EcrRegistry, Registry};
use crate::inputs::{Given, Inputs};
use crate::log::{self, Group};
use crate::plan::{Place, Plan};
use crate::post;
use crate::push;
use crate::report::{self, Around, Built, Outcome};
use crate::timings::{Phase, Recorder, Stage};

/// What every stage may need.
#[derive(Debug)]
pub(crate) struct Run {
    pub env: Env,
    pub started: Timestamp,
    pub cancel: CancellationToken,
}

impl Run {
    /// Runs the action: from inputs to report.
    pub(crate) async fn action(&self, flags: &Flags) -> ExitCode {
        match Box::pin(self.build_and_report(flags)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => self.fail(&error),
        }
    }

    /// Prints the plan as JSON.
    pub(crate) async fn plan(&self, flags: &Flags, facts: &[String]) -> ExitCode {
        let place = Place::at(&folder::example(&self.env));
        let plan = async {
            let inputs = self.inputs(flags)?;
            let given = GivenFacts::parse(facts.iter().map(String::as_str))?;
            let (plan, _) = self.settle(&inputs, &given, &place).await?;
            Ok(plan)
        };
        match plan.await {
            Ok(plan) => {
                // Plain data of our own types always serializes.
                let text = serde_json::to_string_pretty(&plan).unwrap_or_default();
                crate::print(&text);
                ExitCode::SUCCESS
            }
            Err(error) => self.fail(&error),
        }
    }

    async fn build_and_report(&self, flags: &Flags) -> Result<(), Error> {
        let inputs = self.inputs(flags)?;
        let folder = folder::create(&self.env).map_err(Error::Folder)?;
        let place = Place::at(folder.path());
        let (plan, authorization) = self.settle(&inputs, &GivenFacts::default(), &place).await?;
        show(&plan);
        check::files(&plan, &self.env)?;
        if inputs.dry_run {
            return Ok(());
        }
        post::note(&plan, &place, &self.env).map_err(report::ReportError::from)?;
        let workflow = Workflow::from_env(&self.env, inputs.github_token.as_ref());
        let driver = plan.builder.driver.name();
        let history = History::ask(workflow.as_ref(), inputs.compare_with.as_deref(), driver);
        let mut recorder = Recorder::new(self.started);
        let result =
            Box::pin(self.execute(&inputs, &plan, &place, authorization, &mut recorder)).await;
        let timings = recorder.finish(Timestamp::now());
        let outcome = Outcome {
            around: Around::look(&plan, &timings, history.answer().await, &self.env),
            plan,
            timings,
            result,
        };
        let written = report::write(&outcome, &self.env);
        if let Err(error) = &written {
            tracing::warn!("{error}");
        }
        if inputs.comment {
            let markdown = report::summary(&outcome, history::LONGEST_COMMENT);
            Box::pin(history::comment(
                workflow.as_ref(),
                &self.leg(&outcome.plan),
                &markdown,
            ))
            .await;
        }
        match outcome.result {
            Err(error) => Err(error),
            Ok(_) => Ok(written?),
        }
    }

    /// What tells this leg of a matrix from the others: the job, and what it builds.
    fn leg(&self, plan: &Plan) -> String {
        let job = self.env.get("GITHUB_JOB").unwrap_or_default();
        let image = plan.images.first().and_then(|image| image.tags.first());
        let driver = plan.builder.driver.name();
        format!("{job} {} {driver}", image.map_or("", String::as_str))
    }

    fn inputs(&self, flags: &Flags) -> Result<Inputs, Error> {
        let mut given = Given::from_env(&self.env);
        flags.over(&mut given);
        for (name, path) in &flags.secret_files {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::Inputs(vec![crate::inputs::InputError::new(
                    name,
                    path.to_string_lossy(),
                    format!("a file that can be read ({error})"),
                )])
            })?;
            given.set(name, text);
        }
        let inputs = Inputs::parse(&given).map_err(Error::Inputs)?;
        if let Some(token) = &inputs.github_token {
            self.mask(token.expose_secret());
        }
        Ok(inputs)
    }

    /// Probes facts and settles the plan; the token that telling the account's own registry took
    /// is kept for later.
    async fn settle(
        &self,
        inputs: &Inputs,
        given: &GivenFacts,
        place: &Place,
    ) -> Result<(Plan, Option<ecr::Authorization>), Error> {
        let asks =
            inputs.repository.is_some() && inputs.registry.is_none() && given.registry().is_none();
        let authorization = async {
            if !asks {
                return Ok(None);
            }
            let answer = ecr::own_registry(inputs.aws_region.as_deref()).await;
            answer
                .map(Some)
                .map_err(|error| Error::Credentials(error.into()))
        };
        let (facts, authorization) =
            tokio::join!(facts::probe(given, &self.env, &self.cancel), authorization);
        let (mut facts, authorization) = (facts?, authorization?);
        if let Some(authorization) = &authorization {
            self.mask(authorization.token.password.expose_secret());
            facts.registry = Some(authorization.host.clone());
        }
        let workflow = WorkflowRun::from_env(&self.env);
        let plan = Plan::new(inputs, workflow.as_ref(), &facts, place)?;
        Ok((plan, authorization))
    }

    async fn execute(
        &self,
        inputs: &Inputs,
        plan: &Plan,
        place: &Place,
        authorization: Option<ecr::Authorization>,
        recorder: &mut Recorder,
    ) -> Result<Built, Error> {
        let registries = plan.registries();
        let credentials = Credentials::prepare(&place.folder, &registries, &self.env)?;
        let Some(image) = plan.images.first() else {
            return Ok(Built::default());
        };
        if let (true, Some(token)) = (image.git_token, &inputs.github_token) {
            write_private(&place.git_token_file(), token.expose_secret().as_bytes())?;
        }
        let tool = Tool {
            program: image.program(),
            env: credentials.env.clone(),
        };
        recorder.add(stage("inputs, facts, plan", Phase::Setup, self.started));
        let begin = Timestamp::now();
        let (logins, builder) = tokio::join!(
            self.log_in(&registries, authorization, &credentials),
            builder::start(
                &plan.builder,
                &image.platforms,
                tool.clone(),
                recorder,
                &self.cancel
            )
        );
        recorder.add(stage("builder", Phase::Builder, begin));
        let builder = builder?;
        let built = async {
            logins?;
            let _group = Group::open("Build");
            Ok(build::run(image, place, &tool, recorder, &self.cancel).await?)
        };
        let built: Result<_, Error> = built.await;
        let begin = Timestamp::now();
        let result = match built {
            Ok(metadata) => {
                let image = push::confirm(image, &metadata, &builder, &tool, &self.cancel).await;
                recorder.add(stage("read the manifest back", Phase::Setup, begin));
                Ok(Built { metadata, image })
            }
            Err(error) => Err(error),
        };
        let begin = Timestamp::now();
        builder.stop().await;
        recorder.add(stage("remove the builder", Phase::Builder, begin));
        result
    }

    /// Fetches tokens for the plan's ECR registries and leaves them to the credential helper.
    async fn log_in(
        &self,
        registries: &[Registry],
        authorization: Option<ecr::Authorization>,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        for registry in registries {
            let Registry::Ecr(registry) = registry else {
                continue;
            };
            let token = self.token(registry, authorization.as_ref()).await?;
            credentials.keep(registry, &token)?;
        }
        Ok(())
    }

    async fn token(
        &self,
        registry: &EcrRegistry,
        authorization: Option<&ecr::Authorization>,
    ) -> Result<ecr::Token, Error> {
        if let Some(authorization) = authorization
            && authorization.host == registry.host
        {
            return Ok(authorization.token.clone());
        }
        let token = ecr::token(registry)
            .await
            .map_err(|error| Error::Credentials(error.into()))?;
        self.mask(token.password.expose_secret());
        Ok(token)
    }

    /// Tells the runner to hide a text, before anything can print it.
    fn mask(&self, secret: &str) {
        if self.env.is_true("GITHUB_ACTIONS") {
            for line in masks(secret) {
                crate::print(&line);
            }
        }
    }

    /// Shows an error once, at the edge.
    fn fail(&self, error: &Error) -> ExitCode {
        let lines = error.lines();
        if let Some(failure) = error.failure() {
            for line in &failure.tail {
                tracing::info!("  {line}");
            }
            if self.env.is_true("GITHUB_ACTIONS") {
                let annotation = Annotation {
                    level: Level::Error,
                    title: log::TITLE,
                    message: &lines.join("\n"),
                    place: failure
                        .place
                        .as_ref()
                        .map(|(file, line)| (file.as_str(), *line)),
                };
                crate::print(&annotation.line());
                return ExitCode::from(error.exit_code());
            }
        }
        tracing::error!("{}", lines.join("\n"));
        ExitCode::from(error.exit_code())
    }
}

fn show(plan: &Plan) {
    let group = Group::open("Plan");
    for line in plan.to_string().lines() {
        tracing::info!("{line}");
    }
    drop(group);
    for notice in &plan.notices {
        tracing::info!(target: log::NOTICE, "{notice}");
    }
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
}

fn stage(name: &str, phase: Phase, started: Timestamp) -> Stage {
    Stage {
        name: name.to_owned(),
        phase,
        started,
        ended: Timestamp::now(),
    }
}
