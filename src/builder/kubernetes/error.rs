//! Why there is no builder in the cluster, in words and with what to do.

use std::io;
use std::path::PathBuf;

use semver::Version;
use thiserror::Error;

use super::api::ApiError;
use super::rights;
use super::silence::Silence;
use crate::plan::Workload;

/// The builder in the cluster could not be had.
#[derive(Debug, Error)]
pub(crate) enum KubernetesError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("this identity lacks rights in the namespace `{namespace}`: {}", missing.join(", "))]
    Rights {
        namespace: String,
        missing: Vec<String>,
    },
    #[error("the builder `{name}` in the namespace `{namespace}` {}: {why}", late(.seconds))]
    NotReady {
        name: String,
        namespace: String,
        /// None when waiting was given up.
        seconds: Option<u64>,
        why: String,
        hint: Option<String>,
    },
    #[error(
        "the builder `{name}` is a {}, for which buildx {buildx} does not look", workload.kind()
    )]
    OldBuildx {
        name: String,
        workload: Workload,
        buildx: Version,
    },
    #[error("somebody deleted the builder `{name}` while it started")]
    Gone { name: String },
    #[error("the builder `{name}` was lost during the build: {why}")]
    Lost {
        name: String,
        why: String,
        hint: String,
    },
    #[error("could not write `{}`, by which the builder is removed if this run is killed", path.display())]
    Note {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the run was cancelled while the builder started")]
    Cancelled,
}

fn late(seconds: &Option<u64>) -> String {
    match seconds {
        Some(seconds) => format!("was not ready within {seconds} s"),
        None => "can't start".to_owned(),
    }
}

impl KubernetesError {
    /// The way to a builder was cut.
    pub(super) fn cut(builder: &str) -> Self {
        Self::Lost {
            name: builder.to_owned(),
            why: "its connection through the Kubernetes API was cut".to_owned(),
            hint: "the API server, or a load balancer before it, may have been restarted: run this job \
                   again; with `builder: NAME` what was built is still in the builder's cache"
                .to_owned(),
        }
    }

    /// The way to a builder does not answer.
    pub(super) fn silent(builder: &str, silence: Silence) -> Self {
        let (why, hint) = match silence {
            Silence::Network => (
                "neither it nor the Kubernetes API answers any more",
                "the network between this machine and the cluster may be interrupted: run this job again; \
                 with `builder: NAME` what was built is still in the builder's cache",
            ),
            Silence::Node => (
                "it does not answer any more, though the Kubernetes API does",
                "the pod's node may be gone or out of memory (`kubectl get nodes`): run this job again",
            ),
        };
        Self::Lost {
            name: builder.to_owned(),
            why: why.to_owned(),
            hint: hint.to_owned(),
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Api(error) => error.hint(),
            Self::Rights { .. } => Some(format!(
                "apply this Role and bind it to the identity of this step:\n{}",
                rights::ROLE.trim_end()
            )),
            Self::NotReady { hint, seconds, .. } => match (hint, seconds) {
                (Some(hint), _) => Some(hint.clone()),
                (None, Some(_)) => Some(
                    "a slow pull or a new node may need more: raise `builder-timeout`".to_owned(),
                ),
                (None, None) => None,
            },
            Self::Lost { hint, .. } => Some(hint.clone()),
            Self::OldBuildx { .. } => Some(format!(
                "install {}, or set `replace: true`, which makes the builder anew as it is asked for",
                Workload::needs()
            )),
            Self::Gone { .. } | Self::Note { .. } | Self::Cancelled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rights_come_with_the_role_that_grants_them() {
        let error = KubernetesError::Rights {
            namespace: "buildx".to_owned(),
            missing: vec!["create pods/exec".to_owned()],
        };
        assert_eq!(
            error.to_string(),
            "this identity lacks rights in the namespace `buildx`: create pods/exec"
        );
        assert!(error.hint().unwrap().contains("kind: Role"));
    }
}
