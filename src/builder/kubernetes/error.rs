//! Why there is no builder in the cluster.

use std::io;
use std::path::PathBuf;

use semver::Version;
use thiserror::Error;

use super::api_error::ApiError;
use super::liveness::Unresponsive;
use crate::plan::Workload;

/// A Role with all rights that are used.
pub(super) const ROLE: &str = include_str!("../../../examples/eks/role.yaml");

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
        /// None if waiting is useless.
        seconds: Option<u64>,
        why: String,
        hint: Option<String>,
    },
    #[error("the builder `{name}` is a {}, which buildx {buildx} does not support", workload.kind())]
    OldBuildx {
        name: String,
        workload: Workload,
        buildx: Version,
    },
    #[error("the builder `{name}` was deleted while it started")]
    Gone { name: String },
    #[error("the builder `{name}` was lost during the build: {why}")]
    Lost {
        name: String,
        why: String,
        hint: String,
    },
    #[error("could not write `{}`, which the clean-up after a kill needs", path.display())]
    CleanupList {
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
        None => "cannot start".to_owned(),
    }
}

impl KubernetesError {
    fn lost(builder: &str, why: &str, hint: &str) -> Self {
        Self::Lost {
            name: builder.to_owned(),
            why: why.to_owned(),
            hint: hint.to_owned(),
        }
    }

    pub(super) fn disconnected(builder: &str) -> Self {
        Self::lost(
            builder,
            "its connection through the Kubernetes API was closed",
            "the API server, or a load balancer in front of it, may have been restarted: run this job \
             again; with `builder: NAME` the builder's cache still has what was built",
        )
    }

    pub(super) fn unresponsive(builder: &str, unresponsive: Unresponsive) -> Self {
        let (why, hint) = match unresponsive {
            Unresponsive::Network => (
                "neither the builder nor the Kubernetes API answers any more",
                "the network between this machine and the cluster may be interrupted: run this job again; \
                 with `builder: NAME` the builder's cache still has what was built",
            ),
            Unresponsive::Node => (
                "the builder does not answer any more, but the Kubernetes API does",
                "the pod's node may be gone or out of memory (`kubectl get nodes`): run this job again",
            ),
        };
        Self::lost(builder, why, hint)
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Api(error) => error.hint(),
            Self::Rights { .. } => Some(format!(
                "apply this Role and bind it to the identity of this step:\n{}",
                ROLE.trim_end()
            )),
            Self::NotReady {
                hint: None,
                seconds: Some(_),
                ..
            } => Some(
                "a slow pull or a new node may take longer: raise `builder-timeout`".to_owned(),
            ),
            Self::NotReady { hint, .. } => hint.clone(),
            Self::Lost { hint, .. } => Some(hint.clone()),
            Self::OldBuildx { .. } => Some(format!(
                "install {}, or set `replace: true`, which creates the builder anew",
                Workload::needs()
            )),
            Self::Gone { .. } | Self::CleanupList { .. } | Self::Cancelled => None,
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
