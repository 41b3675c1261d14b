//! Failed calls to the API server.
//!
//! An [`ApiError`] quotes the server's reason: its Status has a text for people
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>).

use thiserror::Error;

use crate::aws::error_chain;

#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error("could not read the kubeconfig of this run")]
    Kubeconfig(#[source] Box<kube::config::KubeconfigError>),
    #[error("could not set up a connection to {server}: {reason}")]
    Setup { server: String, reason: String },
    #[error("could not get credentials for {server}: {reason}")]
    Credentials { server: String, reason: String },
    #[error("could not get credentials for {server}: the command `{command}` {reason}")]
    Command {
        server: String,
        command: String,
        reason: String,
    },
    #[error("could not reach the Kubernetes API at {server}: {reason}")]
    Unreachable {
        server: String,
        reason: String,
        restriction: Option<String>,
    },
    #[error("the Kubernetes API at {server} refuses the credentials (401)")]
    Unauthorized { server: String },
    #[error("may not {call}: {reason}")]
    Forbidden { call: String, reason: String },
    #[error("could not {call}: {reason} ({code})")]
    Refused {
        call: String,
        code: u16,
        reason: String,
    },
}

impl ApiError {
    pub(super) fn setup(server: &str, error: &kube::Error) -> Self {
        let server = server.to_owned();
        match error {
            kube::Error::Auth(cause) => Self::Credentials {
                server,
                reason: error_chain(cause),
            },
            other => Self::Setup {
                server,
                reason: error_chain(other),
            },
        }
    }

    pub(super) fn refused(server: &str, call: String, status: &kube::core::Status) -> Self {
        let reason = status.message.clone();
        match status.code {
            401 => Self::Unauthorized {
                server: server.to_owned(),
            },
            // Quotas and admission hooks answer 403, too.
            403 if !reason.contains("exceeded quota")
                && !reason.contains("PodSecurity")
                && reason.contains(" cannot ") =>
            {
                Self::Forbidden { call, reason }
            }
            code => Self::Refused { call, code, reason },
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Kubeconfig(_) | Self::Setup { .. } => return None,
            Self::Credentials { .. } => {
                "are there AWS credentials that may use this cluster? Run \
                 aws-actions/configure-aws-credentials before this step"
            }
            Self::Command { .. } => {
                "the kubeconfig runs it: does it work on this machine, without a terminal and without questions?"
            }
            Self::Unreachable {
                restriction: Some(restriction),
                ..
            } => return Some(restriction.clone()),
            Self::Unreachable { .. } => {
                "is the address right, and is the API open to this machine? An EKS cluster may limit \
                 it to its VPC or to address ranges (`publicAccessCidrs`)"
            }
            Self::Unauthorized { .. } => {
                "does the cluster know this identity? On EKS: `aws eks create-access-entry \
                 --principal-arn ROLE`, with this step's role"
            }
            Self::Forbidden { .. } => {
                "bind the Role of examples/eks/role.yaml to the identity in this namespace with a RoleBinding"
            }
            Self::Refused {
                code: 404, reason, ..
            } if reason.starts_with("namespaces ") => {
                "create the namespace (`kubectl create namespace NAME`), or set the input `namespace`"
            }
            Self::Refused { reason, .. } if reason.contains("PodSecurity") => {
                "BuildKit needs a privileged pod: label the namespace \
                 `pod-security.kubernetes.io/enforce=privileged`, or try `driver-opts: rootless=true`"
            }
            Self::Refused { reason, .. } if reason.contains("exceeded quota") => QUOTA_HINT,
            Self::Refused { code: 403, .. } => {
                "an admission policy of the cluster refuses it: ask the cluster's operators"
            }
            Self::Refused { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the same call may succeed a moment later: there was no answer, or the server has a problem.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => *code >= 500 || *code == 429,
            _ => false,
        }
    }

    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

pub(super) const QUOTA_HINT: &str =
    "lower `requests` and `limits` in `driver-opts`, or raise the namespace's ResourceQuota";
