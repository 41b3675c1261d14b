//! The order of the stages.
//!
//! Inputs, plan, credentials, builder, build, push, report: this file alone knows it. The report
//! is written whether or not it built, and cleaning up never hides how the build ended.

use std::process::ExitCode;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::build;
use crate::builder::{self, Builder, Tool};
use crate::check;
use crate::cli::Flags;
use crate::credentials::kubeconfig::Access;
use crate::credentials::{Credentials, CredentialsError, ecr, write_private};
use crate::env::Env;
use crate::error::Error;
use crate::facts::{self, Facts, GivenFacts, cluster};
use crate::folder;
use crate::github::command::{Annotation, Level, masks};
use crate::github::trust;
use crate::github::workflow::WorkflowRun;
use crate::history::{self, History, Workflow};
use crate::host;
use crate::image::{EcrRegistry, Registry};
use crate::inputs::{Given, Inputs};
use crate::log::{self, Group};
use crate::mounts::{self, Mounts};
use crate::owner;
use crate::plan::{Place, Plan, SecretSource};
use crate::post;
use crate::proxy;
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

/// The plan, and what it was made from.
#[derive(Debug)]
struct Settled {
    plan: Plan,
    facts: Facts,
    authorization: Option<ecr::Authorization>,
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
            Ok(Box::pin(self.settle(&inputs, &given, &place)).await?.plan)
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
        let inputs = self.inputs(flags);
        // Behind the masks that reading the inputs prints.
        for line in host::lines(&self.env) {
            tracing::info!("{line}");
        }
        let inputs = inputs?;
        mounts::check_certificates(&self.env)?;
        let folder = folder::create(&self.env).map_err(Error::Folder)?;
        let place = Place::at(folder.path());
        let settled = Box::pin(self.settle(&inputs, &GivenFacts::default(), &place)).await;
        let mut settled = settled.map_err(|error| self.explained(error))?;
        show(&settled.plan);
        mounts::check(&settled.plan, &self.env)?;
        check::files(&settled.plan, &self.env)?;
        if inputs.dry_run {
            return Ok(());
        }
        post::note(&settled.plan, &place, &self.env).map_err(report::ReportError::from)?;
        let workflow = Workflow::from_env(&self.env, inputs.github_token.as_ref());
        let driver = settled.plan.builder.driver.name();
        let history = History::ask(workflow.as_ref(), inputs.compare_with.as_deref(), driver);
        let mut recorder = Recorder::new(self.started);
        let result = self.execute_or_fall_back(&inputs, &mut settled, &place, &mut recorder);
        let result = Box::pin(result)
            .await
            .map_err(|error| self.explained(error));
        let plan = settled.plan;
        for (_, path) in mounts::written(&plan) {
            if let Err(error) = owner::give_back(&path) {
                tracing::warn!(
                    "could not give `{}` to the owner of its folder: {error}",
                    path.display()
                );
            }
        }
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
        if post::has_to_remove(&outcome.plan, &place, &self.env) {
            let _ = folder.keep();
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
        for secret in given.to_mask() {
            self.mask(secret.expose_secret());
        }
        Inputs::parse(&given).map_err(Error::Inputs)
    }

    /// Executes the plan; where the cluster can't build and another builder may, that one's.
    async fn execute_or_fall_back(
        &self,
        inputs: &Inputs,
        settled: &mut Settled,
        place: &Place,
        recorder: &mut Recorder,
    ) -> Result<Built, Error> {
        let first = match self.execute(inputs, settled, place, recorder).await {
            Err(error) if falls_back(&settled.plan, &error) && !self.cancel.is_cancelled() => error,
            ended => return ended,
        };
        let second = match self.fall_back(inputs, settled, place, &first) {
            Ok(()) => self.execute(inputs, settled, place, recorder).await,
            Err(error) => Err(error),
        };
        second.map_err(|second| Error::Fallback {
            first: Box::new(first),
            second: Box::new(second),
        })
    }

    /// Plans anew without the cluster, which could not build.
    fn fall_back(
        &self,
        inputs: &Inputs,
        settled: &mut Settled,
        place: &Place,
        first: &Error,
    ) -> Result<(), Error> {
        tracing::warn!(
            "the cluster can't build, this machine does: {}",
            first.lines().join("\n")
        );
        settled.facts.cluster = None;
        let workflow = WorkflowRun::from_env(&self.env);
        settled.plan = Plan::new(inputs, workflow.as_ref(), &settled.facts, place)?;
        // Left in place, it would tell the post step of a builder in the cluster.
        let _ = std::fs::remove_file(place.kubeconfig_file());
        show(&settled.plan);
        Ok(())
    }

    /// The way into the cluster, if one is to build.
    async fn cluster(&self, inputs: &Inputs) -> Result<Option<Access>, Error> {
        if !inputs.wants_cluster() {
            return Ok(None);
        }
        match cluster::find(inputs, &self.env).await {
            Ok(access) => {
                for secret in access.secrets() {
                    self.mask(&secret);
                }
                Ok(Some(access))
            }
            Err(error) if inputs.falls_back() && !error.is_input() => {
                let error = Error::from(error);
                tracing::warn!(
                    "the cluster can't build, this machine does: {}",
                    error.lines().join("\n")
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Probes facts and settles the plan; the token that telling the account's own registry took
    /// is kept for later.
    async fn settle(
        &self,
        inputs: &Inputs,
        given: &GivenFacts,
        place: &Place,
    ) -> Result<Settled, Error> {
        let asks = inputs.repository.is_some()
            && inputs.registry.is_none()
            && inputs.call.is_none()
            && given.registry().is_none();
        let authorization = async {
            if !asks {
                return Ok(None);
            }
            let answer = Box::pin(ecr::own_registry(inputs.aws_region.as_deref()));
            self.unless_cancelled(answer).await.map(Some)
        };
        let (facts, authorization, cluster) = tokio::join!(
            facts::probe(given, &self.env, &self.cancel),
            authorization,
            self.cluster(inputs)
        );
        let (mut facts, authorization) = (facts?, authorization?);
        facts.cluster = cluster?;
        if let Some(authorization) = &authorization {
            self.mask(authorization.token.password.expose_secret());
            facts.registry = Some(authorization.host.clone());
        }
        let workflow = WorkflowRun::from_env(&self.env);
        let mut plan = Plan::new(inputs, workflow.as_ref(), &facts, place)?;
        proxy::hand_on(&mut plan, &self.env);
        Ok(Settled {
            plan,
            facts,
            authorization,
        })
    }

    fn explained(&self, error: Error) -> Error {
        error.explained(|| trust::without_secrets(&self.env))
    }

    async fn execute(
        &self,
        inputs: &Inputs,
        settled: &Settled,
        place: &Place,
        recorder: &mut Recorder,
    ) -> Result<Built, Error> {
        let plan = &settled.plan;
        let registries = plan.registries();
        if let Some(kubernetes) = &plan.builder.kubernetes {
            let kubeconfig = kubernetes.kubeconfig.0.expose_secret();
            write_private(&place.kubeconfig_file(), kubeconfig.as_bytes())?;
        }
        let credentials = Credentials::prepare(&place.folder, &registries, &self.env)?;
        let Some(image) = plan.images.first() else {
            return Ok(Built::default());
        };
        fill(place, plan, inputs)?;
        let tool = Tool {
            program: image.program(),
            env: credentials.env.clone(),
        };
        recorder.add(stage("inputs, facts, plan", Phase::Setup, self.started));
        let begin = Timestamp::now();
        let (logins, builder) = tokio::join!(
            self.log_in(&registries, settled.authorization.as_ref(), &credentials),
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
        for stage in builder.stages() {
            recorder.add_boot(stage.clone());
        }
        let cancel = self.cancel.child_token();
        let built = async {
            logins?;
            let _group = Group::open("Build");
            Ok(build::run(image, place, &tool, recorder, &cancel).await?)
        };
        let built = while_it_lives(built, &builder, &cancel).await;
        let begin = Timestamp::now();
        let result = match built {
            Ok(metadata) => {
                let isolated = Mounts::of(&self.env).is_some();
                let image =
                    push::confirm(image, &metadata, &builder, &tool, isolated, &self.cancel).await;
                recorder.add(stage("read the manifest back", Phase::Setup, begin));
                Ok(Built { metadata, image })
            }
            Err(error) => Err(error),
        };
        if let Some(traffic) = builder.traffic() {
            tracing::info!(
                "over the Kubernetes API: {}",
                report::traffic::line(traffic)
            );
            if let Some(warning) = report::traffic::warning(traffic) {
                tracing::warn!("{warning}");
            }
            recorder.went_over_the_api(traffic);
        }
        let begin = Timestamp::now();
        builder.stop(&self.cancel).await;
        recorder.add(stage("remove the builder", Phase::Builder, begin));
        result
    }

    /// Fetches tokens for the plan's ECR registries and leaves them to the credential helper.
    async fn log_in(
        &self,
        registries: &[Registry],
        authorization: Option<&ecr::Authorization>,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        for registry in registries {
            let Registry::Ecr(registry) = registry else {
                continue;
            };
            let token = self.token(registry, authorization).await?;
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
        let token = self
            .unless_cancelled(Box::pin(ecr::token(registry)))
            .await?;
        self.mask(token.password.expose_secret());
        Ok(token)
    }

    /// Waits for an answer of AWS, but no longer than the run goes on.
    async fn unless_cancelled<T>(
        &self,
        answer: impl Future<Output = Result<T, ecr::EcrError>>,
    ) -> Result<T, Error> {
        tokio::select! {
            answer = answer => answer.map_err(|error| Error::Credentials(error.into())),
            () = self.cancel.cancelled() => Err(Error::Cancelled),
        }
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

/// Whether another builder is to be tried after this failure: one of the cluster, not of the build.
fn falls_back(plan: &Plan, error: &Error) -> bool {
    let kubernetes = plan.builder.kubernetes.as_ref();
    kubernetes.is_some_and(|kubernetes| kubernetes.fallback)
        && matches!(error, Error::Builder(error) if !error.is_lost())
}

/// A build, ended when its builder is lost.
async fn while_it_lives<T>(
    built: impl Future<Output = Result<T, Error>>,
    builder: &Builder,
    cancel: &CancellationToken,
) -> Result<T, Error> {
    let mut built = std::pin::pin!(built);
    let lost = tokio::select! {
        // buildx, too, may notice that it was cut off; what it says of it helps nobody.
        built = &mut built => return match (built, builder.cut()) {
            (Err(Error::Build(_)), Some(cut)) => Err(cut.into()),
            (built, _) => built,
        },
        lost = builder.lost() => lost,
    };
    cancel.cancel();
    // It may just have been done.
    built.await.map_err(|_| lost.into())
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

/// Writes the files that the plan names and the inputs fill: secrets, and the configuration of
/// BuildKit's daemon.
///
/// # Errors
/// When one can't be written.
fn fill(place: &Place, plan: &Plan, inputs: &Inputs) -> Result<(), CredentialsError> {
    for (index, secret) in inputs.secrets.iter().enumerate() {
        let value = secret.value.expose_secret();
        write_private(&place.secret_file(index), value.as_bytes())?;
    }
    let mut secrets = plan.images.iter().flat_map(|image| &image.secrets);
    if secrets.any(|secret| matches!(secret.source, SecretSource::GitToken(_)))
        && let Some(token) = &inputs.github_token
    {
        write_private(&place.git_token_file(), token.expose_secret().as_bytes())?;
    }
    if let (Some(path), Some(text)) = (
        &plan.builder.buildkitd_config,
        &inputs.buildkitd_config_inline,
    ) {
        write_private(path, text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, ImageStore};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn secrets_are_written_where_nobody_else_reads_them() {
        let folder = folder::create(&Env::default()).unwrap();
        let place = Place::at(folder.path());
        let mut given = Given::default();
        for (name, text) in [
            ("push", "false"),
            ("driver", "docker-container"),
            ("secrets", "A=b=c\n\"B=d\n e \n\""),
            ("buildkitd-config-inline", "debug = true\ntrace = true"),
        ] {
            given.set(name, text.to_owned());
        }
        let inputs = Inputs::parse(&given).unwrap();
        let facts = Facts::example(ImageStore::Containerd);
        let plan = Plan::new(&inputs, None, &facts, &place).unwrap();
        fill(&place, &plan, &inputs).unwrap();
        for (path, content) in [
            (place.secret_file(0), "b=c"),
            (place.secret_file(1), "d\n e \n"),
            (place.buildkitd_config_file(), "debug = true\ntrace = true"),
        ] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(std::fs::read_to_string(path).unwrap(), content);
        }
    }
}
