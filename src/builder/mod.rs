//! The builder: made ready, used under its name, removed at the end.
//!
//! In: the plan's choice. Out: a [`Builder`]. The Engine's own BuildKit has nothing to boot; a
//! docker-container builder is created and booted here, so that its time and its failure are its
//! own and not the build's.

mod local;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) use local::remove;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::plan::{BUILDER_PREFIX, BuilderPlan, Driver};
use crate::process::{Command, ProcessError};
use crate::timings::Recorder;

/// A builder that is ready.
#[derive(Debug)]
pub(crate) struct Builder {
    pub name: String,
    /// Whether it is ours to remove.
    ours: bool,
    tool: Tool,
}

/// How buildx is called.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub program: PathBuf,
    /// Variables that every call gets.
    pub env: BTreeMap<String, OsString>,
}

impl Tool {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program).args(args.iter().copied());
        command.env = self.env.clone();
        command
    }
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
    #[error("could not ask the builder `{name}` for its platforms")]
    Inspect {
        name: String,
        #[source]
        source: ProcessError,
    },
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
            Self::Inspect { .. } => None,
        }
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
            }
        )
    }
}

/// Whether a builder of this name was made by a run of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix(BUILDER_PREFIX)
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Makes the builder ready; the recorder hears what its boot consists of.
///
/// # Errors
/// When it does not boot, or lacks a platform. What was created is removed again.
pub(crate) async fn start(
    plan: &BuilderPlan,
    platforms: &[String],
    tool: Tool,
    recorder: &mut Recorder,
    cancel: &CancellationToken,
) -> Result<Builder, BuilderError> {
    let builder = Builder {
        name: plan.name.clone(),
        ours: plan.driver == Driver::DockerContainer,
        tool,
    };
    let ready = async {
        if builder.ours {
            local::boot(plan, &builder.tool, recorder, cancel).await?;
        }
        local::check_platforms(plan, platforms, &builder.tool, cancel).await
    };
    match ready.await {
        Ok(()) => Ok(builder),
        Err(error) => {
            builder.stop().await;
            Err(error)
        }
    }
}

impl Builder {
    /// Removes the builder if it is ours. A failure is a warning: it must not hide how the build
    /// ended.
    pub(crate) async fn stop(&self) {
        if self.ours {
            remove(&self.name, &self.tool).await;
        }
    }
}
