//! Why a kubeconfig can't be used, in words and with what to do. Of its text only names are told.

use std::path::PathBuf;

use thiserror::Error;

/// A kubeconfig can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum KubeconfigError {
    #[error("the kubeconfig is longer than 1 MiB")]
    Long,
    #[error("the kubeconfig is neither YAML nor base64")]
    Encoding,
    #[error("the kubeconfig can't be read as YAML{}", at(.0))]
    Yaml(Option<(u64, u64)>),
    #[error("`{}`: {source}", path.display())]
    Within { path: PathBuf, source: Box<Self> },
    #[error("the kubeconfig is of another kind or API version than the one before it")]
    Kind,
    #[error("the kubeconfig has no current context")]
    NoCurrentContext { known: Vec<String> },
    #[error("the kubeconfig has no context `{name}`")]
    NoContext { name: String, known: Vec<String> },
    #[error("the kubeconfig's context `{context}` names the {kind} `{name}`, which is not in it")]
    Missing {
        context: String,
        kind: &'static str,
        name: String,
    },
    #[error("the kubeconfig's cluster has no usable address: `{server}`")]
    Server { server: String },
    #[error("the kubeconfig names a file as `{field}`")]
    File { field: &'static str },
    #[error("the kubeconfig names the file `{}` as `{field}`, which is not there", path.display())]
    NoFile { field: &'static str, path: PathBuf },
    #[error("the kubeconfig runs the command `{command}` for its credentials")]
    Exec { command: String },
    #[error("the kubeconfig runs `{program}` with `{argument}`, which can't be done without it")]
    AwsArgument { program: String, argument: String },
    #[error("the kubeconfig uses the auth provider `{name}`, which Kubernetes has dropped")]
    AuthProvider { name: String },
    #[error("the kubeconfig's `certificate-authority-data` is not base64")]
    Authority,
}

fn at(place: &Option<(u64, u64)>) -> String {
    place.map_or(String::new(), |(line, column)| {
        format!(" (line {line}, column {column})")
    })
}

impl KubeconfigError {
    pub(crate) fn hint(&self) -> String {
        let contexts = |known: &[String]| match known {
            [] => "it has no contexts at all: is it the whole file?".to_owned(),
            known => format!(
                "set the input `kube-context` to one of: {}",
                known.join(", ")
            ),
        };
        match self {
            Self::Within { source, .. } => source.hint(),
            Self::Kind => "leave it out of KUBECONFIG".to_owned(),
            Self::Long | Self::Encoding | Self::Yaml(_) | Self::Missing { .. } => {
                "store the output of `kubectl config view --raw --flatten --minify` as the secret, \
                 plain or through `base64`"
                    .to_owned()
            }
            Self::NoCurrentContext { known } | Self::NoContext { known, .. } => contexts(known),
            Self::Server { .. } => {
                "`server` has to be an `https://` URL: over `http://` buildx sends no credentials"
                    .to_owned()
            }
            Self::File { .. } => {
                "files don't travel with a secret: `kubectl config view --raw --flatten --minify` \
                 puts their content into it"
                    .to_owned()
            }
            Self::NoFile { .. } => "is the kubeconfig up to date?".to_owned(),
            Self::Exec { .. } => {
                "for Amazon EKS use `eks-cluster`, or a kubeconfig of `aws eks update-kubeconfig`; \
                 set `allow-exec: true` if the command is in PATH and may be run"
                    .to_owned()
            }
            Self::AwsArgument { .. } => {
                "give `eks-cluster` instead of a kubeconfig, or leave the argument out".to_owned()
            }
            Self::AuthProvider { .. } => "write the kubeconfig anew with today's tools".to_owned(),
            Self::Authority => "was it cut or wrapped when it was copied?".to_owned(),
        }
    }
}
