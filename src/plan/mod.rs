//! What will be done: every default, choice and conflict is decided here.
//!
//! In: [`Inputs`], the workflow run, [`Facts`] and a [`RunDir`]. Out: a [`Plan`], or everything that speaks against it. A plan is
//! typed data without IO, clock or randomness: the same input gives the same plan. Nothing edits it; a new fact makes a new plan.

mod acceleration;
mod annotations;
mod attestations;
mod builder;
mod buildkitd;
mod cache;
mod context;
mod driver;
mod driver_options;
mod environment;
mod export;
mod fallback;
mod hidden;
mod ignored;
mod index;
mod kubernetes;
mod logins;
mod memory;
mod names;
mod naming;
mod network;
mod push;
mod repositories;
mod run_dir;
mod secrets;
mod unchanged;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use image::{ImageRef, Registry};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::facts::{Engine, Facts, OLDEST_BUILDX};
pub(crate) use crate::inputs::IfExists;
pub(crate) use crate::inputs::LARGEST_SECRET;
use crate::inputs::attest::Attest;
use crate::inputs::build::{BuildArg, SshKey, Ulimit};
use crate::inputs::cache::CacheEntry;
pub(crate) use crate::inputs::new_repository::{LifecyclePolicy, NewRepository};
use crate::inputs::output_spec::{Exporter, OutputSpec};
use crate::inputs::registry_auth::Login;
use crate::inputs::{Call, InputError, Inputs, Network};
use crate::runner::workflow::WorkflowRun;

pub(crate) use acceleration::{Acceleration, EnginePart, EnginePlan};
pub(crate) use annotations::{Annotation, Level};
pub(crate) use builder::{BuilderPlan, check_cluster};
pub(crate) use cache::{CACHE_TAGS, CachePlan, Kind as CacheKind};
pub(crate) use context::{Context, NamedContext, lower_case};
pub(crate) use driver::Driver;
pub(crate) use driver_options::amount;
#[cfg(test)]
pub(crate) use driver_options::{ALL as DRIVER_OPTIONS, Toleration};
#[cfg(test)]
pub(crate) use fallback::FALLBACKS;
pub(crate) use fallback::Fallback;
pub(crate) use hidden::Hidden;
pub(crate) use kubernetes::{KubernetesPlan, Node, VOLUME_OPTION, Workload};
use names::Names;
pub(crate) use naming::Naming;
pub(crate) use push::PushPlan;
pub(crate) use repositories::EcrRepository;
pub(crate) use run_dir::{BUILDER_PREFIX, EngineFiles, ImageFiles, RunDir};
pub(crate) use secrets::{PlannedSecret, SecretSource};
pub(crate) use unchanged::{KEY_TAGS, Look, Unchanged, repositories};

/// Everything that will be done.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// The buildx program.
    #[serde(skip)]
    pub buildx: PathBuf,
    pub builder: BuilderPlan,
    #[serde(skip)]
    pub images: Vec<ImagePlan>,
    /// How to create a repository that does not exist; none where that is an error.
    pub create_repository: Option<NewRepository>,
    #[serde(skip)]
    pub if_exists: IfExists,
    /// How often a push or a builder start is repeated after a temporary failure.
    pub retries: usize,
    /// Seconds for which a registry may be silent; 0 for ever.
    #[serde(skip)]
    pub silence_timeout: Option<u64>,
    /// What the user should know, but need not change.
    pub notices: Vec<String>,
    pub warnings: Vec<String>,
    /// Secret variables that buildx gets. Other children get none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secret_variables: BTreeSet<String>,
    /// More Amazon ECR hosts to log in to than those of the tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more_logins: Vec<String>,
    /// Logins with the user's own passwords.
    #[serde(skip)]
    pub registry_auth: Vec<Login>,
    pub summary: bool,
    pub timings_file: Option<PathBuf>,
}

/// One image to build.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ImagePlan {
    pub context: Context,
    pub build_contexts: Vec<NamedContext>,
    /// The input `file`.
    pub file: Option<String>,
    #[serde(skip)]
    pub target: Option<String>,
    #[serde(skip)]
    pub build_args: Vec<BuildArg>,
    /// Each with a tag. None in a push by digest.
    #[serde(serialize_with = "texts")]
    pub tags: Vec<ImageRef>,
    pub labels: Vec<String>,
    /// The most important tag, without image name.
    pub version: String,
    /// Tags and labels as docker/metadata-action's output `json`.
    pub json: serde_json::Value,
    pub annotations: Vec<String>,
    #[serde(skip)]
    pub attestations: Vec<Attest>,
    pub cache: CachePlan,
    pub cache_from: Vec<CacheEntry>,
    pub cache_to: Vec<CacheEntry>,
    /// Variables for this build.
    pub variables: Vec<(String, String)>,
    pub outputs: Vec<OutputSpec>,
    pub platforms: Vec<String>,
    pub secrets: Vec<PlannedSecret>,
    #[serde(serialize_with = "texts")]
    pub ssh: Vec<SshKey>,
    #[serde(skip)]
    pub steps: StepOptions,
    /// What the Dockerfile's frontend is asked instead of building.
    #[serde(serialize_with = "call_text")]
    pub call: Option<Call>,
    #[serde(serialize_with = "is_some")]
    pub push: Option<PushPlan>,
    /// How it gets into its registries.
    pub acceleration: Acceleration,
    /// Whether an image of the same build is looked for.
    #[serde(skip_serializing_if = "Unchanged::is_ignored")]
    pub unchanged: Unchanged,
    /// Names that exist and cannot move: the push of any other image fails, and is to fail before it moves another tag.
    #[serde(skip)]
    pub taken: Vec<ImageRef>,
    /// Whether buildx writes an image id: not for outputs that are files.
    pub image_id: bool,
    #[serde(skip)]
    pub files: ImageFiles,
}

/// How the Dockerfile's steps run.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepOptions {
    pub add_hosts: Vec<String>,
    pub allow: Vec<String>,
    pub cgroup_parent: Option<String>,
    pub network: Option<Network>,
    pub shm_size: Option<String>,
    pub ulimit: Vec<Ulimit>,
    pub no_cache: bool,
    pub no_cache_filters: Vec<String>,
    pub pull: bool,
}

impl ImagePlan {
    /// The build arguments with their values. One without a value has that of the variable of its name, if there is one.
    pub(crate) fn arguments(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let arguments = self.build_args.iter();
        arguments
            .filter_map(|argument| {
                let value = argument.value.clone();
                let value = value.or_else(|| variable(&argument.name));
                Some((argument.name.clone(), value?))
            })
            .collect()
    }

    /// Whether a secret or a build argument has the value of the variable.
    pub(crate) fn reads(&self, variable: &str) -> bool {
        let mut secrets = self.secrets.iter();
        let mut arguments = self.build_args.iter();
        secrets.any(
            |secret| matches!(&secret.source, SecretSource::Variable(name) if name == variable),
        ) || arguments.any(|argument| argument.value.is_none() && argument.name == variable)
    }

    /// The image's first name.
    pub(crate) fn name(&self) -> Option<&ImageRef> {
        let pushed = self.push.iter().flat_map(|push| &push.names);
        self.tags.iter().chain(pushed).next()
    }
}

fn texts<T: ToString, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(ToString::to_string))
}

fn call_text<S: Serializer>(call: &Option<Call>, to: S) -> Result<S::Ok, S::Error> {
    call.as_ref().map(|call| &call.text).serialize(to)
}

fn is_some<T, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    value.is_some().serialize(to)
}

/// Why there is no plan.
#[derive(Debug, Error)]
pub(crate) enum PlanError {
    #[error("{}", list(.0))]
    Inputs(Vec<InputError>),
    #[error("no builder: {0}")]
    NoEngine(String),
    #[error("buildx {found} is too old, at least {OLDEST_BUILDX} is needed")]
    OldBuildx { found: semver::Version },
}

impl PlanError {
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Inputs(_) => return None,
            Self::NoEngine(_) => {
                "start Docker Engine, or set DOCKER_HOST to where it listens; a runner in a \
                 container needs its socket mounted"
            }
            Self::OldBuildx { .. } => {
                "update Docker Buildx: https://docs.docker.com/build/install-buildx/"
            }
        };
        Some(hint.to_owned())
    }
}

/// Several wrong inputs, a line each.
pub(crate) fn list(errors: &[InputError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
struct Sources<'a> {
    inputs: &'a Inputs,
    run: Option<&'a WorkflowRun>,
    facts: &'a Facts,
    dir: &'a RunDir,
}

/// What planning has to say besides the plan.
#[derive(Debug, Default)]
struct Diagnostics {
    errors: Vec<InputError>,
    notices: Vec<String>,
    warnings: Vec<String>,
}

impl Diagnostics {
    fn wrong(&mut self, input: &'static str, given: impl AsRef<str>, expected: impl fmt::Display) {
        self.errors.push(InputError::new(input, given, expected));
    }

    fn conflict(&mut self, input: &'static str, given: impl AsRef<str>, other: impl fmt::Display) {
        self.errors.push(InputError::conflict(input, given, other));
    }
}

impl Plan {
    /// Decides what will be done.
    ///
    /// # Errors
    /// All conflicts between inputs at once, or what this machine lacks.
    pub(crate) fn new(
        inputs: &Inputs,
        run: Option<&WorkflowRun>,
        facts: &Facts,
        dir: &RunDir,
    ) -> Result<Self, PlanError> {
        if facts.buildx.version < OLDEST_BUILDX {
            return Err(PlanError::OldBuildx {
                found: facts.buildx.version.clone(),
            });
        }
        let sources = Sources {
            inputs,
            run,
            facts,
            dir,
        };
        let mut diagnostics = Diagnostics::default();
        let naming = Naming::of(inputs);
        let absent = Engine::none();
        let (engine, builder) = match (&facts.cluster, &facts.engine) {
            (Some(access), engine) => {
                let cluster = kubernetes::Cluster {
                    access,
                    buildx: &facts.buildx.version,
                    certificates: &facts.network.certificates,
                };
                let builder = BuilderPlan::in_cluster(inputs, run, &cluster, dir, &mut diagnostics);
                if inputs.load && engine.is_err() {
                    diagnostics.wrong("load", "true", "a Docker Engine to load the image into");
                }
                (engine.as_ref().unwrap_or(&absent), builder)
            }
            (None, Ok(engine)) => {
                let builder = BuilderPlan::choose(&sources, engine, naming, &mut diagnostics);
                (engine, builder)
            }
            (None, Err(reason)) => return Err(PlanError::NoEngine(reason.clone())),
        };
        diagnostics.warnings.extend(facts.cluster_failure.clone());
        diagnostics.warnings.extend(facts.network.warning.clone());
        let image = ImagePlan::new(&sources, engine, &builder, naming, &mut diagnostics);
        let more_logins = logins::choose(inputs, &image, facts, &mut diagnostics);
        if !diagnostics.errors.is_empty() {
            return Err(PlanError::Inputs(diagnostics.errors));
        }
        Ok(Self {
            buildx: facts.buildx.program.clone(),
            more_logins,
            registry_auth: inputs.registry_auth.clone(),
            secret_variables: environment::choose(&image, facts.cluster.as_ref()),
            builder,
            images: vec![image],
            create_repository: inputs.create_repository.clone(),
            if_exists: inputs.if_exists,
            retries: inputs.retries.get() as usize,
            silence_timeout: inputs
                .silence_timeout
                .map(|seconds| u64::from(seconds.get())),
            notices: diagnostics.notices,
            warnings: diagnostics.warnings,
            summary: inputs.summary,
            timings_file: inputs.timings_file.clone(),
        })
    }
}

impl ImagePlan {
    fn new(
        sources: &Sources<'_>,
        engine: &Engine,
        builder: &BuilderPlan,
        naming: Naming,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let Sources {
            inputs,
            run,
            facts,
            dir,
        } = *sources;
        let context = Context::choose(inputs, run, diagnostics);
        let (mut names, mut outputs) = match &inputs.call {
            Some(call) => (Names::default(), export::nothing(inputs, call, diagnostics)),
            None => (
                Names::choose(sources, naming, diagnostics),
                export::choose(inputs, builder, engine, diagnostics),
            ),
        };
        let push = names.push(naming, &mut outputs, diagnostics);
        let tags = names.references.into_iter();
        let tags: Vec<ImageRef> = tags.map(|name| naming.complete(name)).collect();
        let situation = cache::Situation {
            inputs,
            run,
            facts,
            builder,
            context: &context,
            references: push.as_ref().map_or(&tags, |push| &push.names),
            outputs: &outputs,
        };
        let cache = cache::choose(&situation, diagnostics);
        let pushed = push.iter().flat_map(|push| &push.names);
        let taken = pushed.filter(|name| facts.taken.contains(&name.to_string()));
        let taken: Vec<ImageRef> = taken.cloned().collect();
        let attestations = attestations::choose(inputs, run);
        let acceleration = acceleration::choose(
            &acceleration::Situation {
                sources,
                builder,
                engine,
                push: push.as_ref(),
                cache: &cache.plan,
                cache_to: &cache.to,
                attests: attestations.iter().any(Attest::is_on),
                annotations: &names.annotations,
                is_taken: !taken.is_empty(),
                disk_lasts: cache::disk_lasts(&situation),
            },
            diagnostics,
        );
        if push.is_some() && matches!(acceleration, Acceleration::Plain(_)) {
            let notice = export::gzip_notice(inputs, builder);
            diagnostics.notices.extend(notice);
        }
        if inputs.no_cache && !inputs.no_cache_filters.is_empty() {
            let filters = inputs.no_cache_filters.join(",");
            diagnostics.conflict("no-cache-filters", filters, "`no-cache: true`");
        }
        index::check(
            inputs,
            &names.annotations,
            &attestations,
            &outputs,
            diagnostics,
        );
        let secrets = secrets::choose(inputs, &context, run, dir, diagnostics);
        let of_user = secrets
            .iter()
            .filter(|secret| !matches!(secret.source, SecretSource::GitToken(_)));
        let (unchanged, notice) = unchanged::choose(&unchanged::Situation {
            sources,
            builder,
            push: push.as_ref(),
            outputs: &outputs,
            attestations: &attestations,
            labels: &names.labels,
            annotations: &names.annotations,
            secrets: of_user.map(|secret| secret.id.as_str()).collect(),
            cache: &situation,
        });
        diagnostics.notices.extend(notice);
        let is_private = |name: &ImageRef| matches!(name.registry(), Registry::Ecr(_));
        if inputs.create_repository.is_some()
            && let Some(push) = &push
            && !push.names.iter().any(is_private)
        {
            let notice = "`create-repository` has no effect: the image is not pushed to a private Amazon ECR registry";
            diagnostics.notices.push(notice.to_owned());
        }
        let is_file =
            |output: &OutputSpec| matches!(output.exporter, Exporter::Local | Exporter::Tar);
        Self {
            build_contexts: NamedContext::choose(inputs, run, diagnostics),
            file: inputs.file.clone(),
            target: inputs.target.clone(),
            build_args: inputs.build_args.clone(),
            tags,
            labels: names.labels,
            version: names.version,
            json: names.json,
            annotations: names.annotations,
            attestations,
            variables: cache::variables(&cache.from, &cache.to, run),
            cache: cache.plan,
            cache_from: cache.from,
            cache_to: cache.to,
            taken,
            image_id: inputs.call.is_none() && !outputs.iter().any(is_file),
            push,
            acceleration,
            outputs,
            platforms: inputs.platforms.iter().map(ToString::to_string).collect(),
            secrets,
            unchanged,
            ssh: inputs.ssh.clone(),
            steps: StepOptions {
                add_hosts: inputs.add_hosts.clone(),
                allow: inputs.allow.clone(),
                cgroup_parent: inputs.cgroup_parent.clone(),
                network: inputs.network,
                shm_size: inputs.shm_size.clone(),
                ulimit: inputs.ulimit.clone(),
                no_cache: inputs.no_cache,
                no_cache_filters: inputs.no_cache_filters.clone(),
                pull: inputs.pull,
            },
            call: inputs.call.clone(),
            context,
            files: dir.image(0),
        }
    }
}

#[cfg(test)]
#[path = "../../tests/tables/build_push_action.rs"]
mod build_push_action;
#[cfg(test)]
#[path = "../../tests/tables/contradictions.rs"]
mod contradictions;
#[cfg(test)]
mod tests;
