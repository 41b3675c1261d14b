//! The builder: made ready, used under its name, removed at the end.
//!
//! In: the plan's choice. Out: a [`Builder`]. The Engine's own BuildKit has nothing to boot; a
//! docker-container builder is created and booted here, so that its time and its failure are its
//! own and not the build's; so is one in a cluster.

mod create;
mod exit;
pub(crate) mod kubernetes;
mod life;
mod local;
mod removal;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::buildx::{Tool, remove_instance};
use crate::facts::Address;
use crate::plan::{BUILDER_PREFIX, BuilderPlan, Driver};
use crate::process::ProcessError;
use crate::timings::{Recorder, Traffic};
use exit::Exit;
use kubernetes::Running;
pub(crate) use kubernetes::{KubernetesError, is_left as is_left_in_cluster, set_aside};
use life::Life;
use removal::Creation;
pub(crate) use removal::RemovalError;

/// How long removing a builder may take: its disk may be large.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same in a run that was cancelled, which has 7 s for everything, 4 of which a stubborn build may take. The Engine goes on
/// with what it was asked for, and the post step looks again.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(2);

/// A builder that is ready.
#[derive(Debug)]
pub(crate) struct Builder {
    pub name: String,
    kind: Kind,
    tool: Tool,
    /// When its start began.
    begun: Timestamp,
}

/// What it is, and what there is to remove.
#[derive(Debug)]
enum Kind {
    /// The Engine's own BuildKit.
    Engine,
    /// A container beside the Engine of this address.
    Container(Address, Life),
    /// Pods in a cluster.
    Cluster(Box<Running>),
}

/// What the start of a builder needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    pub plan: &'a BuilderPlan,
    /// What will be built for; empty for the builder's own platform.
    pub platforms: &'a [String],
    pub tool: &'a Tool,
    /// The Engine that runs a builder in a container.
    pub engine: Option<&'a Address>,
    /// How often the start is repeated after a temporary failure.
    pub retries: usize,
    /// Ends the boot alone.
    pub stop: &'a CancellationToken,
    /// Ends the run, which leaves less time to clean up.
    pub cancel: &'a CancellationToken,
}

/// The builder could not be made ready.
#[derive(Debug, Error)]
pub(crate) enum BuilderError {
    #[error("could not start the builder `{name}`")]
    Boot {
        name: String,
        #[source]
        source: ProcessError,
    },
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error("could not ask the builder `{name}` for its platforms")]
    Inspect {
        name: String,
        #[source]
        source: ProcessError,
    },
    #[error("the builder `{name}` was lost during the build: {exit}")]
    Exited { name: String, exit: Exit },
    #[error("the builder offers no {}, it has {offered}", missing.join(", "))]
    Platform {
        missing: Vec<String>,
        offered: String,
    },
}

impl BuilderError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Platform { .. } => Some(
                "run docker/setup-qemu-action before this step, or use a runner of that architecture"
                    .to_owned(),
            ),
            Self::Boot { source, .. } => local::boot_hint(&source.to_string()),
            Self::Kubernetes(error) => error.hint(),
            Self::Inspect { .. } => None,
            Self::Exited { exit, .. } => Some(exit.hint().to_owned()),
        }
    }

    /// Whether it was there, and the build had begun.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Kubernetes(KubernetesError::Lost { .. }) | Self::Exited { .. }
        )
    }

    /// Whether it ended because the run was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Boot {
                source: ProcessError::Cancelled { .. },
                ..
            } | Self::Inspect {
                source: ProcessError::Cancelled { .. },
                ..
            } | Self::Kubernetes(KubernetesError::Cancelled)
        )
    }
}

/// Whether a builder of this name was made by a run of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix(BUILDER_PREFIX)
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Makes the builder ready. The parts of its boot go to the recorder.
///
/// # Errors
/// When it does not boot, is stopped, or lacks a platform. What was created is removed again.
pub(crate) async fn start(
    start: Start<'_>,
    recorder: &mut Recorder,
) -> Result<Builder, BuilderError> {
    let plan = start.plan;
    let begun = Timestamp::now();
    let kind = match (&plan.kubernetes, plan.driver) {
        (Some(kubernetes), _) => {
            let running = kubernetes::start(&start, kubernetes, recorder);
            Kind::Cluster(Box::new(Box::pin(running).await?))
        }
        (None, Driver::DockerContainer) => {
            let engine = start.engine.cloned().unwrap_or_else(Address::usual);
            let life = Life::hold(&plan.name, &engine);
            Kind::Container(engine, life)
        }
        (None, _) => Kind::Engine,
    };
    let builder = Builder {
        name: plan.name.clone(),
        kind,
        tool: start.tool.clone(),
        begun,
    };
    let ready = async {
        if matches!(builder.kind, Kind::Container(..)) {
            local::boot(&start, recorder).await?;
        }
        local::check_platforms(&start).await
    };
    match ready.await {
        Ok(()) => Ok(builder),
        Err(error) => {
            let creation = if error.is_cancelled() {
                Creation::CutOff
            } else {
                Creation::Over
            };
            builder.remove(creation, start.cancel).await;
            Err(error)
        }
    }
}

/// Removes the builder in a container that a killed run left; whether there was anything of it.
///
/// # Errors
/// When the Engine does not do it, or not in time.
pub(crate) async fn remove_container(name: &str, engine: &Address) -> Result<bool, RemovalError> {
    removal::remove(name, engine, Creation::Over, PATIENCE).await
}

/// Removes what a run left in the cluster that its kubeconfig names. Says what it did.
pub(crate) async fn remove_from_cluster(name: &str, kubeconfig: &Path, cancel: &CancellationToken) {
    Box::pin(kubernetes::remove_left(name, kubeconfig, cancel)).await;
}

impl Builder {
    /// Removes the builder if it is ours. A failure is a warning: it must not hide how the build
    /// ended.
    pub(crate) async fn stop(&self, cancel: &CancellationToken) {
        if let Kind::Container(_, life) = &self.kind {
            tokio::select! {
                () = life.has_looked() => {}
                () = cancel.cancelled() => {}
            }
        }
        self.remove(Creation::Over, cancel).await;
    }

    async fn remove(&self, creation: Creation, cancel: &CancellationToken) {
        let patience = if cancel.is_cancelled() {
            CANCELLED_PATIENCE
        } else {
            PATIENCE
        };
        match &self.kind {
            Kind::Engine => {}
            Kind::Container(engine, _) => {
                match removal::remove(&self.name, engine, creation, patience).await {
                    // After a creation that was cut off the post step looks once more.
                    Ok(_) if creation == Creation::Over => remove_instance(&self.tool, &self.name),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!("could not remove the builder `{}`: {error}", self.name);
                    }
                }
            }
            Kind::Cluster(running) => running.stop(&self.name, &self.tool, cancel).await,
        }
    }

    /// Ends when the builder is gone in the middle of its work, which buildx may not notice.
    pub(crate) async fn lost(&self) -> BuilderError {
        match &self.kind {
            Kind::Cluster(running) => running.lost(&self.name).await.into(),
            Kind::Engine | Kind::Container(..) => std::future::pending().await,
        }
    }

    /// What happened to a builder that buildx lost its connection to, where more can be told.
    pub(crate) async fn after_disconnection(&self) -> Option<BuilderError> {
        match &self.kind {
            Kind::Cluster(running) => Some(running.after_disconnection(&self.name).await.into()),
            Kind::Container(engine, _) => {
                let exit = exit::of(&self.name, engine, self.begun).await?;
                Some(BuilderError::Exited {
                    name: self.name.clone(),
                    exit,
                })
            }
            Kind::Engine => None,
        }
    }

    /// What went to the builder and back over a cluster's API server, where it could be counted.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        match &self.kind {
            Kind::Cluster(running) => running.traffic(),
            Kind::Engine | Kind::Container(..) => None,
        }
    }
}
