//! What will be done: every default, choice and conflict is settled here.
//!
//! In: [`Inputs`], the workflow run, [`Facts`] and a [`Place`] for files. Out: a [`Plan`], pure
//! data that can be printed and compared, or everything that speaks against it. No IO, no clock,
//! no randomness: the same input gives the same plan. It holds a list of images (one for now).

mod argv;
mod builder;
mod buildkitd;
mod cache;
mod context;
mod export;
mod handed_on;
mod ignored;
mod kubernetes;
mod logins;
mod names;
mod repositories;
mod secrets;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use image::{ImageRef, Registry};
use serde::Serialize;
use thiserror::Error;

use crate::credentials::{KUBECONFIG_FILE, TOKENS_FOLDER};
use crate::facts::{Engine, Facts, OLDEST_BUILDX};
pub(crate) use crate::inputs::LARGEST_SECRET;
use crate::inputs::cache::CacheEntry;
pub(crate) use crate::inputs::new_repository::{LifecyclePolicy, NewRepository};
use crate::inputs::output_spec::{Exporter, OutputSpec};
use crate::inputs::{Call, InputError, Inputs};
use crate::runner::workflow::WorkflowRun;

pub(crate) use builder::{
    BuilderPlan, Driver, PREFIX as BUILDER_PREFIX, check_cluster, driver_opt,
};
pub(crate) use cache::{CACHE_TAGS, CachePlan, Kind as CacheKind};
pub(crate) use context::{Context, NamedContext, lower_case};
#[cfg(test)]
pub(crate) use kubernetes::{Hidden, Toleration};
pub(crate) use kubernetes::{KubernetesPlan, Node, VOLUME_OPTION, Workload, amount};
use names::Names;
pub(crate) use repositories::EcrRepository;
pub(crate) use secrets::{PlannedSecret, SecretSource};

/// Where a run keeps its own files, and what it calls its own things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// A folder of this run alone.
    pub folder: PathBuf,
    /// A name that no other run has.
    pub id: String,
}

impl Place {
    /// The place in a folder whose name no other run has.
    pub(crate) fn at(folder: &Path) -> Self {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        Self {
            folder: folder.to_owned(),
            // Builder names are container names: letters, digits, hyphens.
            id: name
                .rsplit('-')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase(),
        }
    }

    /// buildx writes its result here.
    pub(crate) fn metadata_file(&self) -> PathBuf {
        self.folder.join("metadata.json")
    }

    /// buildx writes the image's id here.
    pub(crate) fn image_id_file(&self) -> PathBuf {
        self.folder.join("image-id")
    }

    /// The way into the cluster, for buildx and for the post step.
    pub(crate) fn kubeconfig_file(&self) -> PathBuf {
        self.folder.join(KUBECONFIG_FILE)
    }

    /// What the run's processes need for logins.
    pub(crate) fn tokens_folder(&self) -> PathBuf {
        self.folder.join(TOKENS_FOLDER)
    }

    /// The token for a private Git context.
    pub(crate) fn git_token_file(&self) -> PathBuf {
        self.folder.join("git-token")
    }

    /// The value of a secret, counted from 0 in the order of the input.
    pub(crate) fn secret_file(&self, index: usize) -> PathBuf {
        self.folder.join(format!("secret-{index}"))
    }

    /// Certificates for BuildKit's daemon.
    pub(crate) fn certificates_file(&self) -> PathBuf {
        self.folder.join("certificates.pem")
    }

    /// The configuration of BuildKit's daemon.
    pub(crate) fn buildkitd_config_file(&self) -> PathBuf {
        self.folder.join("buildkitd.toml")
    }
}

/// Everything that will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    pub builder: BuilderPlan,
    pub images: Vec<ImagePlan>,
    /// What a repository that does not exist is to be like; none where it is an error.
    pub create_repository: Option<NewRepository>,
    /// How often a push that a passing fault ended is tried again.
    pub retries: usize,
    /// What the user should know, but need not change.
    pub notices: Vec<String>,
    pub warnings: Vec<String>,
    /// Secret variables that buildx gets.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub handed_on: BTreeSet<String>,
    /// Hosts of Amazon ECR to log in to, beside those that tags name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more_logins: Vec<String>,
    pub summary: bool,
    pub timings_file: Option<PathBuf>,
}

/// One image to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ImagePlan {
    /// The exact buildx command line, program first.
    pub argv: Vec<String>,
    /// That which writes the cache, once the image is pushed; empty where the first one does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_argv: Vec<String>,
    pub context: Context,
    pub build_contexts: Vec<NamedContext>,
    /// The input `file`.
    pub file: Option<String>,
    pub tags: Vec<String>,
    pub labels: Vec<String>,
    /// The most important tag, without image name.
    pub version: String,
    /// Tags and labels as docker/metadata-action's output `json` has them.
    pub json: serde_json::Value,
    pub annotations: Vec<String>,
    pub cache: CachePlan,
    pub cache_from: Vec<CacheEntry>,
    pub cache_to: Vec<CacheEntry>,
    /// Variables that this build needs.
    pub variables: Vec<(String, String)>,
    pub outputs: Vec<OutputSpec>,
    pub platforms: Vec<String>,
    pub secrets: Vec<PlannedSecret>,
    pub ssh: Vec<String>,
    /// What is asked of the build's frontend, instead of building.
    #[serde(serialize_with = "call_text")]
    pub call: Option<Call>,
    /// Whether the image goes to a registry.
    pub push: bool,
    /// Whether buildx writes an image id: not for outputs that are files.
    pub image_id: bool,
    /// The image under all its names; without tag where it is pushed by digest.
    #[serde(skip)]
    pub references: Vec<ImageRef>,
}

fn call_text<S: serde::Serializer>(call: &Option<Call>, to: S) -> Result<S::Ok, S::Error> {
    call.as_ref().map(|call| &call.text).serialize(to)
}

#[cfg(test)]
impl ImagePlan {
    /// The plan for a context, with nothing else asked for.
    pub(crate) fn example(context: Context) -> Self {
        let facts = Facts::example(crate::facts::ImageStore::Containerd);
        let place = Place::at(Path::new("/run"));
        let inputs = Inputs {
            push: Some(false),
            ..Inputs::default()
        };
        let plan = Plan::new(&inputs, None, &facts, &place).expect("nothing speaks against it");
        let image = plan.images.into_iter().next().expect("one image");
        Self { context, ..image }
    }
}

impl ImagePlan {
    /// The program of the command line.
    pub(crate) fn program(&self) -> PathBuf {
        self.argv.first().map(PathBuf::from).unwrap_or_default()
    }
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
        Some(match self {
            Self::Inputs(_) => return None,
            Self::NoEngine(_) => {
                "start Docker Engine, or set DOCKER_HOST to where it listens; a runner in a \
                 container needs its socket mounted"
                    .to_owned()
            }
            Self::OldBuildx { .. } => {
                "update Docker Buildx: https://docs.docker.com/build/install-buildx/".to_owned()
            }
        })
    }
}

/// Several wrong inputs, a line each.
pub(crate) fn list(errors: &[InputError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// What the parts of a plan have to say beside their result.
#[derive(Debug, Default)]
struct Remarks {
    errors: Vec<InputError>,
    notices: Vec<String>,
    warnings: Vec<String>,
}

impl Remarks {
    fn wrong(&mut self, input: &'static str, given: impl AsRef<str>, expected: impl fmt::Display) {
        self.errors.push(InputError::new(input, given, expected));
    }
}

impl Plan {
    /// Settles what will be done.
    ///
    /// # Errors
    /// All conflicts between inputs at once, or what this machine lacks.
    pub(crate) fn new(
        inputs: &Inputs,
        run: Option<&WorkflowRun>,
        facts: &Facts,
        place: &Place,
    ) -> Result<Self, PlanError> {
        if facts.buildx.version < OLDEST_BUILDX {
            return Err(PlanError::OldBuildx {
                found: facts.buildx.version.clone(),
            });
        }
        let mut remarks = Remarks::default();
        let nobody = Engine::none();
        let (engine, builder) = match (&facts.cluster, &facts.engine) {
            (Some(access), engine) => {
                let buildx = &facts.buildx.version;
                let builder =
                    BuilderPlan::in_cluster(inputs, access, run, buildx, place, &mut remarks);
                if inputs.load && engine.is_err() {
                    remarks.wrong("load", "true", "a Docker Engine to load the image into");
                }
                (engine.as_ref().unwrap_or(&nobody), builder)
            }
            (None, Ok(engine)) => {
                let builder = BuilderPlan::choose(inputs, engine, place, &mut remarks);
                (engine, builder)
            }
            (None, Err(reason)) => return Err(PlanError::NoEngine(reason.clone())),
        };
        let context = Context::choose(inputs, run, &mut remarks);
        let (mut names, mut outputs) = match &inputs.call {
            Some(call) => (
                Names::default(),
                export::nothing(inputs, call, &mut remarks),
            ),
            None => (
                Names::choose(inputs, run, facts, &mut remarks),
                export::choose(inputs, &builder, engine, &mut remarks),
            ),
        };
        let mut tags = Vec::new();
        if !outputs.iter().any(OutputSpec::is_by_digest) {
            tags.extend(names.references.iter().map(names::printed));
        }
        names.join(&mut outputs, &mut remarks);
        let situation = cache::Situation {
            inputs,
            run,
            facts,
            engine,
            builder: &builder,
            references: &names.references,
            outputs: &outputs,
        };
        let cache = cache::choose(&situation, &mut remarks);
        let mut image = ImagePlan {
            argv: Vec::new(),
            cache_argv: Vec::new(),
            build_contexts: NamedContext::choose(inputs, run, &mut remarks),
            file: inputs.file.clone(),
            tags,
            labels: names.labels,
            version: names.version,
            json: names.json,
            annotations: names.annotations,
            variables: cache::variables(&cache.from, &cache.to, run),
            cache: cache.plan,
            cache_from: cache.from,
            cache_to: cache.to,
            image_id: inputs.call.is_none()
                && outputs
                    .iter()
                    .all(|output| !matches!(output.exporter, Exporter::Local | Exporter::Tar)),
            push: outputs.iter().any(OutputSpec::pushes),
            outputs,
            platforms: inputs.platforms.iter().map(ToString::to_string).collect(),
            secrets: secrets::choose(inputs, &context, run, place, &mut remarks),
            ssh: inputs.ssh.iter().map(ToString::to_string).collect(),
            call: inputs.call.clone(),
            context,
            references: names.references,
        };
        if inputs.no_cache && !inputs.no_cache_filters.is_empty() {
            remarks.wrong(
                "no-cache-filters",
                inputs.no_cache_filters.join(","),
                "nothing beside `no-cache: true`, which builds every stage anew",
            );
        }
        let more_logins = logins::choose(inputs, &image.references, facts, &mut remarks);
        let is_private = |name: &ImageRef| matches!(name.registry(), Registry::Ecr(_));
        if inputs.create_repository.is_some()
            && image.push
            && !image.references.iter().any(is_private)
        {
            remarks.notices.push(
                "`create-repository` does nothing: the image goes to no private registry of Amazon ECR"
                    .to_owned(),
            );
        }
        if !remarks.errors.is_empty() {
            return Err(PlanError::Inputs(remarks.errors));
        }
        image.argv = argv::build(inputs, &image, &builder, run, facts, place);
        if image.cache.afterwards {
            image.cache_argv = argv::cache(&image);
        }
        Ok(Self {
            more_logins,
            handed_on: handed_on::choose(inputs, &image, facts.cluster.as_ref()),
            builder,
            images: vec![image],
            create_repository: inputs.create_repository.clone(),
            retries: inputs.retries.get() as usize,
            notices: remarks.notices,
            warnings: remarks.warnings,
            summary: inputs.summary,
            timings_file: inputs.timings_file.clone(),
        })
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
