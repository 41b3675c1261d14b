//! The order of the stages.
//!
//! Inputs, plan, credentials, builder, build, push, report: this file alone knows it. The report
//! is written whether or not it built, and cleaning up never hides how the build ended.

mod again;
pub(crate) mod check;
pub(crate) mod error;
mod fall_back;
mod fill;
mod login;
pub(crate) mod post;
mod ready;
mod settle;
mod show;

use std::process::ExitCode;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::aws::{Session, Settings};
use crate::builder::Builder;
use crate::buildx::imagetools::Imagetools;
use crate::buildx::{Build, BuildError, Tool};
use crate::cli::Flags;
use crate::credentials::Credentials;
use crate::facts::GivenFacts;
use crate::history::{self, History, Leg, Workflow};
use crate::inputs::{Inputs, RawInputs};
use crate::network::certificates;
use crate::network::proxy;
use crate::plan::Place;
use crate::registry::pushed;
use crate::report::{self, Built, Observed, Outcome};
use crate::runner::env::Env;
use crate::runner::folder;
use crate::runner::host;
use crate::runner::log::{Group, Stream};
use crate::runner::mounts::Mounts;
use crate::runner::owner;
use crate::runner::private::write_private;
use crate::runner::redact::Redactor;
use crate::runner::trust;
use crate::timings::{Phase, Recorder, Stage};
use error::Error;
use fill::fill;
use ready::registries;
use settle::Settled;
use show::show;

/// What every stage may need.
#[derive(Debug)]
pub(crate) struct Run {
    pub env: Env,
    /// Where the runner is told what to hide, and what went wrong.
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
        let place = Place::at(&folder::example(&self.env));
        let plan = async {
            let inputs = self.inputs(flags)?;
            let session = self.session(&inputs)?;
            let given = GivenFacts::parse(facts.iter().map(String::as_str))?;
            let settled = Box::pin(self.settle(&inputs, &session, &given, &place));
            Ok(settled.await?.plan)
        };
        match Box::pin(plan).await {
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
        self.hide_environment();
        let inputs = self.inputs(flags);
        // Behind the masks that reading the inputs prints.
        for line in host::lines(&self.env) {
            tracing::info!("{line}");
        }
        let inputs = inputs?;
        let session = self.session(&inputs)?;
        certificates::check(&self.env)?;
        let folder = folder::create(&self.env).map_err(Error::Folder)?;
        let place = Place::at(folder.path());
        let session = session.share(&place.tokens_folder())?;
        let given = GivenFacts::default();
        let settled = Box::pin(self.settle(&inputs, &session, &given, &place)).await;
        let mut settled = settled.map_err(|error| self.explained(error))?;
        self.hide(&settled.plan);
        show(&settled.plan);
        check::mounted(&settled.plan, &self.env)?;
        check::files(&settled.plan, &self.env)?;
        check::git_context::notice(&settled.plan, &self.env);
        if inputs.dry_run {
            return Ok(());
        }
        post::note(&settled.plan, &place, &self.env).map_err(report::ReportError::from)?;
        let workflow = Workflow::from_env(&self.env, inputs.github_token.as_ref());
        let leg = Leg::new(&self.env, &inputs, &settled.plan);
        let history = History::ask(workflow.as_ref(), inputs.compare_with.as_deref(), &leg);
        let mut recorder = Recorder::new(self.started);
        recorder.add(stage("inputs, facts, plan", Phase::Setup, self.started));
        let result =
            self.execute_or_fall_back(&inputs, &session, &mut settled, &place, &mut recorder);
        let result = Box::pin(result)
            .await
            .map_err(|error| self.explained(error));
        let mut plan = settled.plan;
        plan.warnings.extend(settled.remarks);
        let result = result.map_err(|error| report::placed(error, &plan, &self.env));
        for (_, path) in check::written(&plan) {
            if let Err(error) = owner::give_back(&path) {
                tracing::warn!(
                    "could not give `{}` to the owner of its folder: {error}",
                    path.display()
                );
            }
        }
        let timings = recorder.finish(Timestamp::now());
        let mut observed = match &result {
            Ok(_) => Observed::new(&plan, &timings, history.answer().await, &self.env),
            // There is no time for what only helps the next run: the runner kills soon.
            Err(error) if error.is_cancelled() => Observed::machine(&self.env),
            Err(_) => Observed::new(&plan, &timings, None, &self.env),
        };
        observed.registries = registries(settled.found.unwrap_or_default());
        let outcome = Outcome {
            observed,
            plan,
            timings,
            result,
            redactor: self.redactor.clone(),
        };
        let written = report::write(&outcome, &self.env);
        if let Err(error) = &written {
            tracing::warn!("{error}");
        }
        post::leave(folder, &outcome.plan, &place, &self.env);
        if inputs.comment && !self.cancel.is_cancelled() {
            let markdown = report::comment(&outcome, history::LONGEST_COMMENT);
            Box::pin(history::comment(workflow.as_ref(), &leg, &markdown)).await;
        }
        match outcome.result {
            Err(error) => Err(error),
            Ok(_) => Ok(written?),
        }
    }

    fn inputs(&self, flags: &Flags) -> Result<Inputs, Error> {
        let mut given = RawInputs::from_env(&self.env);
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
        for secret in given.to_mask().into_iter().chain(proxy::secrets(&self.env)) {
            self.mask(secret.expose_secret());
        }
        Inputs::parse(&given).map_err(Error::Inputs)
    }

    /// The way to AWS that inputs and environment name; nothing is asked yet.
    fn session(&self, inputs: &Inputs) -> Result<Session, Error> {
        let settings = Settings::choose(inputs, &self.env).map_err(Error::Inputs)?;
        Ok(Session::new(settings, self.masking()))
    }

    fn explained(&self, error: Error) -> Error {
        error.explained(|| trust::without_secrets(&self.env))
    }

    async fn execute(
        &self,
        inputs: &Inputs,
        session: &Session,
        settled: &mut Settled,
        place: &Place,
        recorder: &mut Recorder,
    ) -> Result<Built, Error> {
        let begin = Timestamp::now();
        let plan = &settled.plan;
        if let Some(kubernetes) = &plan.builder.kubernetes {
            let kubeconfig = kubernetes.kubeconfig.0.expose_secret();
            write_private(&place.kubeconfig_file(), kubeconfig.as_bytes())?;
        }
        let credentials = Credentials::prepare(
            &place.folder,
            &plan.logins(),
            &inputs.registry_auth,
            &self.env,
        )?;
        let Some(image) = plan.images.first() else {
            return Ok(Built::default());
        };
        fill(place, plan, inputs, &self.env)?;
        let mut tool = Tool {
            program: image.program(),
            env: credentials.env.clone(),
        };
        tool.env.extend(self.handed_on(plan, session).await?);
        tool.env.extend(settled.facts.engine_variables());
        recorder.add(stage("credentials", Phase::Setup, begin));
        let ready = self.get_ready(session, settled, image, &credentials, &tool, recorder);
        let (builder, found) = Box::pin(ready).await?;
        settled.found = Some(found.clone());
        let builder = builder?;
        if let Err(error) = self.heed(inputs, settled, &found, place) {
            builder.stop(&self.cancel).await;
            return Err(error);
        }
        let plan = &settled.plan;
        let Some(image) = plan.images.first() else {
            return Ok(Built::default());
        };
        let cancel = self.cancel.child_token();
        let isolated = Mounts::of(&self.env).is_some();
        let build = Build {
            image,
            place,
            tool: &tool,
            redactor: &self.redactor,
            cancel: &cancel,
        };
        let imagetools = Imagetools {
            builder: &builder.name,
            tool: &tool,
            cancel: &cancel,
        };
        let built = async {
            let built = again::build(&build, plan.retries, &found, recorder);
            let before = pushed::before(image, &imagetools, isolated);
            let (built, before) = beside(built, before).await;
            let mut metadata = built?;
            if !image.cache_argv.is_empty() {
                let _group = Group::open("Write the cache");
                let begin = Timestamp::now();
                let written = build.write_cache(&mut metadata, |status| {
                    recorder.record(status, Timestamp::now());
                });
                written.await;
                recorder.add(stage("write the cache", Phase::CacheExport, begin));
            }
            if self.cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            Ok((metadata, before.flatten()))
        };
        let built = while_it_lives(built, &builder, &cancel).await;
        let begin = Timestamp::now();
        let result = match built {
            Ok((metadata, before)) => {
                let imagetools = Imagetools {
                    cancel: &self.cancel,
                    ..imagetools
                };
                let pushed =
                    pushed::confirm(image, &metadata, &imagetools, isolated, &self.redactor);
                let mut image = pushed.await;
                if let Some(image) = &mut image {
                    image.unchanged = before.is_some_and(|before| before.is(&metadata));
                }
                recorder.add(stage("read the manifest back", Phase::Setup, begin));
                Ok(Built { metadata, image })
            }
            Err(error) => Err(error),
        };
        if let Some(traffic) = builder.traffic() {
            show::traffic(traffic);
            recorder.set_api_traffic(traffic);
        }
        let begin = Timestamp::now();
        builder.stop(&self.cancel).await;
        recorder.add(stage("remove the builder", Phase::Builder, begin));
        result
    }
}

/// Two pieces of work at the same time; the second is dropped when the first ends before it.
async fn beside<T, U>(
    first: impl Future<Output = T>,
    second: impl Future<Output = U>,
) -> (T, Option<U>) {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    let mut answer = None;
    loop {
        tokio::select! {
            ended = &mut first => return (ended, answer),
            other = &mut second, if answer.is_none() => answer = Some(other),
        }
    }
}

/// A build, ended when its builder is lost.
async fn while_it_lives<T>(
    built: impl Future<Output = Result<T, Error>>,
    builder: &Builder,
    cancel: &CancellationToken,
) -> Result<T, Error> {
    let mut built = std::pin::pin!(built);
    let lost = tokio::select! {
        built = &mut built => match built {
            // buildx noticed first; what it says of it helps nobody.
            Err(Error::Build(error)) if error.is_disconnection() => {
                let lost = builder.after_disconnection().await;
                return Err(lost.map_or(Error::Build(error), Error::from));
            }
            built => return built,
        },
        lost = builder.lost() => lost,
    };
    cancel.cancel();
    // It may just have been done.
    built.await.map_err(|_| lost.into())
}

fn stage(name: &str, phase: Phase, started: Timestamp) -> Stage {
    Stage {
        name: name.to_owned(),
        phase,
        started,
        ended: Timestamp::now(),
    }
}
