//! Starts and removes the builder.
//!
//! In: the plan's choice. Out: a [`Builder`]. The Engine's own BuildKit needs no start; builders in a container or a cluster are
//! started before the build, so that their time and their errors are not the build's.

mod create;
mod exit;
pub(crate) mod kubernetes;
mod lease;
mod local;
mod removal;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::buildx::failure::is_of_ended_container;
use crate::buildx::{Tool, remove_instance};
use crate::facts::Address;
use crate::plan::{BUILDER_PREFIX, BuilderPlan, Driver};
use crate::process::{Ongoing, ProcessError};
use crate::timings::{Recorder, Traffic};
use exit::Exit;
use kubernetes::Running;
pub(crate) use kubernetes::{KubernetesError, is_left as is_left_in_cluster, set_aside};
use lease::Lease;
use removal::Creation;
pub(crate) use removal::RemovalError;

/// Limit for the removal of a builder: its disk may be large.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same in a cancelled run, which has 7 s in all; the build may take 4 of them to exit. The Engine finishes the removal, and
/// the post step checks it.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(2);

/// A builder that is ready.
#[derive(Debug)]
pub(crate) struct Builder {
    pub name: String,
    kind: Kind,
    tool: Tool,
    begun: Timestamp,
}

#[derive(Debug)]
enum Kind {
    /// The Engine's own BuildKit.
    Engine,
    Container(Address, Lease),
    Cluster(Box<Running>),
}

/// The arguments of [`start`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    pub plan: &'a BuilderPlan,
    /// The platforms of the build; empty for the builder's own.
    pub platforms: &'a [String],
    pub tool: &'a Tool,
    /// The Engine that runs a builder in a container.
    pub engine: Option<&'a Address>,
    /// Attempts after a temporary failure.
    pub retries: usize,
    /// Ends the start alone.
    pub stop: &'a CancellationToken,
    /// Ends the run, which leaves less time to clean up.
    pub cancel: &'a CancellationToken,
}

/// The builder did not start, or was lost.
#[derive(Debug, Error)]
pub(crate) enum BuilderError {
    #[error("could not start the builder `{name}`{}", why(exit.as_ref()))]
    Boot {
        name: String,
        /// Of a BuildKit that ended while it booted.
        exit: Option<Exit>,
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
    #[error("the builder does not support {}, only {offered}", missing.join(", "))]
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
            Self::Boot {
                exit: Some(exit), ..
            } => Some(exit.hint().to_owned()),
            Self::Boot { source, .. } => local::boot_hint(&source.to_string()),
            Self::Kubernetes(error) => error.hint(),
            Self::Inspect { .. } => None,
            Self::Exited { exit, .. } => Some(exit.hint().to_owned()),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Kubernetes(KubernetesError::Lost { .. }) | Self::Exited { .. }
        )
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Self::Boot { source, .. } | Self::Inspect { source, .. } => {
                matches!(source, ProcessError::Cancelled { .. })
            }
            Self::Kubernetes(error) => matches!(error, KubernetesError::Cancelled),
            Self::Exited { .. } | Self::Platform { .. } => false,
        }
    }
}

fn why(exit: Option<&Exit>) -> String {
    exit.map(|exit| format!(": {exit}")).unwrap_or_default()
}

/// Whether this is the name of a builder for one run of this action.
pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix(BUILDER_PREFIX)
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Starts the builder, and records the stages of its boot. After an error, whatever was created is removed.
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
            let lease = Lease::take(&plan.name, &engine);
            Kind::Container(engine, lease)
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
    if let Err(mut error) = ready.await {
        if let (BuilderError::Boot { exit, source, .. }, Kind::Container(engine, _)) =
            (&mut error, &builder.kind)
            && is_of_ended_container(&source.to_string())
        {
            *exit = exit::of(&builder.name, engine, begun).await;
        }
        let creation = if error.is_cancelled() {
            Creation::Interrupted
        } else {
            Creation::Complete
        };
        builder.remove(creation, start.cancel).await;
        return Err(error);
    }
    Ok(builder)
}

/// Removes the container and the volume of a killed run; whether any existed.
pub(crate) async fn remove_container(name: &str, engine: &Address) -> Result<bool, RemovalError> {
    removal::remove(name, engine, Creation::Complete, PATIENCE).await
}

/// Removes the nodes of a killed run from the cluster of its kubeconfig.
pub(crate) async fn remove_from_cluster(name: &str, kubeconfig: &Path, cancel: &CancellationToken) {
    Box::pin(kubernetes::remove_left(name, kubeconfig, cancel)).await;
}

impl Builder {
    /// Removes the builder if it is ours. A failure is only a warning, so it does not hide an error of the build.
    pub(crate) async fn stop(&self, cancel: &CancellationToken) {
        if let Kind::Container(_, lease) = &self.kind {
            cancel.run_until_cancelled(lease.swept()).await;
        }
        self.remove(Creation::Complete, cancel).await;
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
                    // After an interrupted creation, buildx's file makes the post step check again.
                    Ok(_) if creation == Creation::Interrupted => {}
                    Ok(_) => remove_instance(&self.tool, &self.name),
                    Err(error) => {
                        tracing::warn!("could not remove the builder `{}`: {error}", self.name);
                    }
                }
            }
            Kind::Cluster(running) => running.stop(&self.name, &self.tool, cancel).await,
        }
    }

    /// Resolves when the builder is lost, which buildx may not notice. `builds` are the calls of buildx that need it.
    pub(crate) async fn lost(&self, builds: &Ongoing) -> BuilderError {
        match &self.kind {
            Kind::Cluster(running) => running.lost(&self.name, builds).await.into(),
            Kind::Engine | Kind::Container(..) => std::future::pending().await,
        }
    }

    /// Why buildx lost its connection, if the Engine or the cluster knows.
    pub(crate) async fn after_disconnection(&self) -> Option<BuilderError> {
        match &self.kind {
            Kind::Cluster(running) => Some(running.after_disconnection(&self.name).await.into()),
            Kind::Container(engine, _) => {
                let name = self.name.clone();
                let exit = exit::of(&name, engine, self.begun).await?;
                Some(BuilderError::Exited { name, exit })
            }
            Kind::Engine => None,
        }
    }

    /// The bytes through the cluster's API server, if they were counted.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        match &self.kind {
            Kind::Cluster(running) => running.traffic(),
            Kind::Engine | Kind::Container(..) => None,
        }
    }
}
