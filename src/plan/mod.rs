//! What will be done: every default, choice and conflict is settled here.
//!
//! In: [`Inputs`], the workflow run, [`Facts`] and a [`Place`] for files. Out: a [`Plan`], pure
//! data that can be printed and compared, or everything that speaks against it. No IO, no clock,
//! no randomness: the same input gives the same plan. It holds a list of images (one for now).

mod argv;
mod builder;
mod context;
mod export;
mod kubernetes;
mod names;
mod text;

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::credentials::KUBECONFIG_FILE;
use crate::error::Error;
use crate::facts::{Engine, Facts, OLDEST_BUILDX};
use crate::github::workflow::WorkflowRun;
use crate::image::{ImageRef, Registry};
use crate::inputs::output_spec::OutputSpec;
use crate::inputs::{InputError, Inputs};

pub(crate) use builder::{BuilderPlan, Driver, PREFIX as BUILDER_PREFIX};
pub(crate) use context::Context;
#[cfg(test)]
pub(crate) use kubernetes::{Hidden, Toleration};
pub(crate) use kubernetes::{KubernetesPlan, Node};

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

    /// The token for a private Git context.
    pub(crate) fn git_token_file(&self) -> PathBuf {
        self.folder.join("git-token")
    }
}

/// From here on buildx ends when the connection to its pod is cut
/// (<https://github.com/docker/buildx/pull/3966>).
const NOTICES_CUT_CONNECTIONS: semver::Version = semver::Version::new(0, 36, 0);

/// Everything that will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    pub builder: BuilderPlan,
    pub images: Vec<ImagePlan>,
    /// What the user should know, but need not change.
    pub notices: Vec<String>,
    pub warnings: Vec<String>,
    pub summary: bool,
    pub timings_file: Option<PathBuf>,
}

/// One image to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ImagePlan {
    /// The exact buildx command line, program first.
    pub argv: Vec<String>,
    pub context: Context,
    pub tags: Vec<String>,
    pub labels: Vec<String>,
    pub annotations: Vec<String>,
    pub cache_from: Vec<String>,
    pub cache_to: Vec<String>,
    pub outputs: Vec<OutputSpec>,
    pub platforms: Vec<String>,
    /// Whether the image goes to a registry.
    pub push: bool,
    /// Whether the token has to be written to [`Place::git_token_file`].
    pub git_token: bool,
    /// Whether buildx writes an image id: not for outputs that are files.
    pub image_id: bool,
    #[serde(skip)]
    pub references: Vec<ImageRef>,
}

impl ImagePlan {
    /// The program of the command line.
    pub(crate) fn program(&self) -> PathBuf {
        self.argv.first().map(PathBuf::from).unwrap_or_default()
    }
}

impl Plan {
    /// Whether another builder is to be tried after this failure: one of the cluster, not of the
    /// build.
    pub(crate) fn falls_back(&self, error: &Error) -> bool {
        let kubernetes = self.builder.kubernetes.as_ref();
        kubernetes.is_some_and(|kubernetes| kubernetes.fallback)
            && matches!(error, Error::Builder(error) if !error.is_lost())
    }

    /// The registries that tags name, each once.
    pub(crate) fn registries(&self) -> Vec<Registry> {
        let mut registries: Vec<Registry> = Vec::new();
        for image in self.images.iter().filter(|image| image.push) {
            for reference in &image.references {
                let registry = reference.registry();
                if !registries.contains(&registry) {
                    registries.push(registry);
                }
            }
        }
        registries
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
    fn wrong(
        &mut self,
        input: &'static str,
        given: impl Into<String>,
        expected: impl Into<String>,
    ) {
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
                let builder = BuilderPlan::in_cluster(inputs, access, run, place, &mut remarks);
                if facts.buildx.version < NOTICES_CUT_CONNECTIONS {
                    remarks.notices.push(format!(
                        "buildx {} hangs when its connection to a Kubernetes pod is cut: \
                         {NOTICES_CUT_CONNECTIONS} fails at once",
                        facts.buildx.version
                    ));
                }
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
        let references = names::references(inputs, facts.registry.as_deref(), &mut remarks);
        let context = Context::choose(inputs, run);
        let export = export::choose(inputs, &builder, engine, &mut remarks);
        if export.push && references.is_empty() && !export.named {
            remarks.wrong(
                "tags",
                "",
                "at least one tag, since the image is to be pushed",
            );
        }
        let mut image = ImagePlan {
            argv: Vec::new(),
            git_token: context.is_this_commit() && inputs.github_token.is_some() && run.is_some(),
            context,
            tags: references.iter().map(names::printed).collect(),
            labels: inputs.labels.clone(),
            annotations: Vec::new(),
            cache_from: inputs.cache_from.clone(),
            cache_to: inputs.cache_to.clone(),
            image_id: export
                .outputs
                .iter()
                .all(|output| !matches!(output.exporter.as_str(), "local" | "tar")),
            outputs: export.outputs,
            platforms: inputs.platforms.clone(),
            push: export.push,
            references,
        };
        if !remarks.errors.is_empty() {
            return Err(PlanError::Inputs(remarks.errors));
        }
        image.argv = argv::build(inputs, &image, &builder, run, facts, place);
        Ok(Self {
            builder,
            images: vec![image],
            notices: remarks.notices,
            warnings: remarks.warnings,
            summary: inputs.summary,
            timings_file: inputs.timings_file.as_ref().map(PathBuf::from),
        })
    }
}

#[cfg(test)]
mod tests;
