//! Why a kubeconfig is unusable, and what to do. Messages quote only names from it.

use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum KubeconfigError {
    #[error("the kubeconfig is longer than 1 MiB")]
    Long,
    #[error("the kubeconfig is neither YAML nor base64")]
    Encoding,
    #[error("the kubeconfig is not valid YAML{}", at(.0))]
    Yaml(Option<(u64, u64)>),
    #[error("`{}`: {source}", path.display())]
    Within { path: PathBuf, source: Box<Self> },
    #[error("its kind or API version differs from that of the kubeconfig before it")]
    Kind,
    #[error("the kubeconfig has no current context")]
    NoCurrentContext { known: Vec<String> },
    #[error("the kubeconfig has no context `{name}`")]
    NoContext { name: String, known: Vec<String> },
    #[error("the kubeconfig's context `{context}` names the {kind} `{name}`, which does not exist")]
    Missing {
        context: String,
        kind: &'static str,
        name: String,
    },
    #[error("the kubeconfig's `server` is `{server}`, not an `https://` URL")]
    Server { server: String },
    #[error("the kubeconfig names a file as `{field}`")]
    File { field: &'static str },
    #[error("the kubeconfig names the file `{}` as `{field}`, which does not exist", path.display())]
    NoFile { field: &'static str, path: PathBuf },
    #[error("the kubeconfig runs the command `{command}` for its credentials")]
    Exec { command: String },
    #[error("the kubeconfig runs `{program}` with `{argument}`, which is not supported")]
    AwsArgument { program: String, argument: String },
    #[error("the kubeconfig uses the auth provider `{name}`, which Kubernetes has removed")]
    AuthProvider { name: String },
    #[error("the kubeconfig's `certificate-authority-data` is not base64")]
    Authority,
}

fn at(place: &Option<(u64, u64)>) -> String {
    let place = place.map(|(line, column)| format!(" (line {line}, column {column})"));
    place.unwrap_or_default()
}

impl KubeconfigError {
    pub(crate) fn hint(&self) -> String {
        let contexts = |known: &[String]| match known {
            [] => "it has no contexts: check that it is the whole file".to_owned(),
            known => format!(
                "set the input `kube-context` to one of: {}",
                known.join(", ")
            ),
        };
        let hint = match self {
            Self::Within { source, .. } => return source.hint(),
            Self::NoCurrentContext { known } | Self::NoContext { known, .. } => {
                return contexts(known);
            }
            Self::Kind => "remove it from KUBECONFIG",
            Self::Long | Self::Encoding | Self::Yaml(_) | Self::Missing { .. } => {
                "store the output of `kubectl config view --raw --flatten --minify` as the secret, \
                 plain or in base64"
            }
            Self::Server { .. } => {
                "use an `https://` URL: over `http://` buildx sends no credentials"
            }
            Self::File { .. } => {
                "a secret cannot contain files: `kubectl config view --raw --flatten --minify` prints \
                 a kubeconfig with their content"
            }
            Self::NoFile { .. } => "check that the kubeconfig is up to date",
            Self::Exec { .. } => {
                "for Amazon EKS use `eks-cluster`, or a kubeconfig of `aws eks update-kubeconfig`. For \
                 another command that is in PATH set `allow-exec: true`"
            }
            Self::AwsArgument { .. } => {
                "use `eks-cluster` instead of a kubeconfig, or remove the argument"
            }
            Self::AuthProvider { .. } => "create the kubeconfig with a current version of its tool",
            Self::Authority => "copy it again: it may be cut off or wrapped",
        };
        hint.to_owned()
    }
}
