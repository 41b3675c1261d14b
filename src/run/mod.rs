//! The order of the stages.
//!
//! Inputs, plan, credentials, builder, build, push, report: this file alone knows it. The report
//! is written whether or not it built, and cleaning up never hides how the build ended.

mod accelerate;
mod build_image;
pub(crate) mod check;
mod document;
pub(crate) mod error;
mod execution;
mod existing;
mod finish_push;
mod log;
mod login;
mod planner;
pub(crate) mod post;
mod prepare;
mod unchanged;
mod write_files;

use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::aws::{Session, Settings};
use crate::cli::Flags;
use crate::facts::GivenFacts;
use crate::history::{self, History, Leg, Workflow};
use crate::inputs::{self, InputError, Inputs, RawInputs};
use crate::network::certificates;
use crate::network::proxy;
use crate::plan::{Plan, RunDir};
use crate::report::{self, ImageOutcome, Observed, Outcome, largest_entries};
use crate::runner::env::Env;
use crate::runner::folder;
use crate::runner::host;
use crate::runner::log::Stream;
use crate::runner::owner;
use crate::runner::redact::Redactor;
use crate::runner::trust;
use crate::timings::{Phase, Stage};
use document::Document;
use error::Error;
use execution::Execution;
use planner::Planner;
use prepare::registries;

/// What every stage may need.
#[derive(Debug)]
pub(crate) struct Run {
    pub env: Env,
    /// Where masks, annotations and the log go.
    pub stream: Stream,
    pub started: Timestamp,
    pub cancel: CancellationToken,
    pub redactor: Redactor,
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
        let plan = async {
            let inputs = self.inputs(flags)?;
            let session = self.session(&inputs)?;
            let given = GivenFacts::parse(facts.iter().map(String::as_str))?;
            let dir = RunDir::at(&folder::example(&self.env));
            let planner = Planner::new(&inputs, &self.env, dir);
            let planned = Box::pin(self.make_plan(&planner, &session, &given));
            let plan = planned.await?.plan;
            let keys = Box::pin(self.preview_keys(&plan, &planner)).await;
            Ok((plan, keys))
        };
        match Box::pin(plan).await {
            Ok((plan, keys)) => {
                // Plain data of our own types always serializes.
                let text =
                    serde_json::to_string_pretty(&Document::new(&plan, keys)).unwrap_or_default();
                Stream::Output.print(&text);
                ExitCode::SUCCESS
            }
            Err(error) => self.fail(&error),
        }
    }

    async fn build_and_report(&self, flags: &Flags) -> Result<(), Error> {
        let inputs = self.start(flags)?;
        let session = self.session(&inputs)?;
        certificates::check(&self.env)?;
        let folder =
            folder::create(&self.env).context("could not make a private folder for this run")?;
        let planner = Planner::new(&inputs, &self.env, RunDir::at(folder.path()));
        let session = session
            .share(&planner.dir.tokens())
            .context("could not keep the settings for AWS")?;
        // A run that may build nothing describes its cluster only when it builds.
        let later = GivenFacts {
            cluster: planner.cluster_to_describe(),
            ..GivenFacts::default()
        };
        let planned = Box::pin(self.make_plan(&planner, &session, &later)).await;
        let planned = planned.map_err(|error| self.explained(error))?;
        self.hide(&planned.plan);
        log::plan_with_remarks(&planned.plan);
        check::mounted(&planned.plan, &self.env)?;
        check::files(&planned.plan, &self.env)?;
        check::git_context::notice(&planned.plan, &self.env);
        if inputs.dry_run {
            return Ok(());
        }
        post::save_state(&planned.plan, &planner.dir, &self.env)
            .context("could not save what the post step removes")?;
        let workflow = Workflow::from_env(&self.env, inputs.github_token.as_ref());
        let leg = Leg::new(&self.env, &inputs, &planned.plan);
        let history = History::ask(workflow.as_ref(), inputs.compare_with.as_deref(), &leg);
        let mut execution =
            Execution::new(self, &planner, &session, planned, later.cluster.is_some());
        let ended = Box::pin(execution.run()).await;
        let ended = ended.map_err(|error| self.explained(error));
        give_back_files(&execution.plan);
        let outcome = self.outcome(execution, ended.as_ref().err(), history).await;
        let written = report::write(&outcome, &self.env);
        if let Err(error) = &written {
            tracing::warn!("{error}");
        }
        post::clean_up(folder, &outcome.plan, &planner.dir, &self.env);
        if inputs.comment && !self.cancel.is_cancelled() {
            let markdown = report::comment(&outcome, history::LONGEST_COMMENT);
            Box::pin(history::comment(workflow.as_ref(), &leg, &markdown)).await;
        }
        ended?;
        Ok(written.context("could not write the report")?)
    }

    /// Reads the inputs, and logs what machine this is.
    fn start(&self, flags: &Flags) -> Result<Inputs, Error> {
        self.hide_environment();
        let inputs = self.inputs(flags);
        // After the masks that reading the inputs prints.
        for line in host::lines(&self.env) {
            tracing::info!("{line}");
        }
        inputs
    }

    /// Everything that the report needs.
    async fn outcome(
        &self,
        execution: Execution<'_>,
        error: Option<&Error>,
        history: History,
    ) -> Outcome {
        let ended = Timestamp::now();
        let Execution {
            plan,
            found,
            built,
            recorder,
            image_recorders,
            ..
        } = execution;
        // After a cancellation the runner kills soon: no time for what only helps the next run.
        let is_cancelled = error.is_some_and(Error::is_cancelled);
        let mut built = built.into_iter();
        // An image that was not begun has the times of the work for all.
        let recorders = image_recorders
            .into_iter()
            .chain(std::iter::repeat(recorder));
        let images = plan.images.iter().zip(recorders).map(|(image, recorder)| {
            let timings = recorder.finish(ended);
            let context = (!is_cancelled).then(|| largest_entries(&image.context, &timings));
            ImageOutcome {
                built: built.next(),
                context: context.unwrap_or_default(),
                timings,
            }
        });
        let images = images.collect();
        let earlier = match error {
            None => history.answer().await,
            Some(_) => None,
        };
        Outcome {
            images,
            failure: error.map(Error::for_report),
            observed: Observed::new(earlier, registries(found.unwrap_or_default()), &self.env),
            plan,
            redactor: self.redactor.clone(),
        }
    }

    fn inputs(&self, flags: &Flags) -> Result<Inputs, Error> {
        let mut given = RawInputs::from_env(&self.env);
        flags.over(&mut given);
        for (name, path) in &flags.secret_files {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::Inputs(vec![InputError::new(
                    name,
                    path.to_string_lossy(),
                    format!("a file that can be read ({error})"),
                )])
            })?;
            given.set(name, text);
        }
        for secret in given.to_mask().into_iter().chain(proxy::secrets(&self.env)) {
            self.mask(secret.expose_secret());
        }
        for warning in inputs::unknown(&self.env) {
            tracing::warn!("{warning}");
        }
        let inputs = Inputs::parse(&given).map_err(Error::Inputs)?;
        for line in given.unset_arguments() {
            tracing::info!("{line}");
        }
        Ok(inputs)
    }

    /// The AWS session that inputs and environment describe. Nothing is asked yet.
    fn session(&self, inputs: &Inputs) -> Result<Session, Error> {
        let settings = Settings::choose(inputs, &self.env).map_err(Error::Inputs)?;
        Ok(Session::new(settings, self.masking()))
    }

    fn explained(&self, error: Error) -> Error {
        error.explained(|| trust::without_secrets(&self.env))
    }
}

/// Gives files that the run wrote for others to the owners of their folders.
fn give_back_files(plan: &Plan) {
    for (_, path) in check::written(plan) {
        if let Err(error) = owner::give_back(&path) {
            tracing::warn!(
                "could not give `{}` to the owner of its folder: {error}",
                path.display()
            );
        }
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
