//! The build context: a folder here, or an address that BuildKit fetches by itself.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::github::workflow::WorkflowRun;
use crate::inputs::Inputs;

/// Where the build's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Context {
    /// A folder on this machine, and its Dockerfile.
    Folder { path: PathBuf, dockerfile: PathBuf },
    /// The commit of this workflow run, fetched from GitHub.
    ThisCommit { url: String },
    /// Anything else that BuildKit fetches: Git, HTTP, an image.
    Remote { url: String },
}

/// What buildx takes for something else than a folder: `IsURL`, `IsGitURL` and the schemes of
/// named contexts (<https://github.com/docker/buildx/blob/461836ba0/build/opt.go>, `loadInputs`).
const REMOTE_PREFIXES: &[&str] = &[
    "http://",
    "https://",
    "git://",
    "ssh://",
    "git@",
    "github.com/",
    "docker-image://",
    "oci-layout://",
];

impl Context {
    /// The context that was asked for. Without a word it is docker/build-push-action's default,
    /// the commit of this run; outside of a workflow the current folder. A context may begin with
    /// `{{defaultContext}}`, as there.
    pub(super) fn choose(inputs: &Inputs, run: Option<&WorkflowRun>) -> Self {
        let default = run.map(WorkflowRun::git_context);
        let given = inputs.context.as_deref();
        let text = match (given, &default) {
            (Some(given), Some(default)) => given
                .replace("{{defaultContext}}", default)
                .replace("{{ defaultContext }}", default),
            (Some(given), None) => given.to_owned(),
            (None, Some(default)) => default.clone(),
            (None, None) => ".".to_owned(),
        };
        if default.is_some_and(|default| text.starts_with(&default)) {
            Self::ThisCommit { url: text }
        } else if REMOTE_PREFIXES
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            Self::Remote { url: text }
        } else {
            let path = PathBuf::from(&text);
            let dockerfile = inputs
                .file
                .as_ref()
                .map_or_else(|| path.join("Dockerfile"), PathBuf::from);
            Self::Folder { path, dockerfile }
        }
    }

    /// Whether it is the default context, which the run's token may read.
    pub(super) fn is_this_commit(&self) -> bool {
        matches!(self, Self::ThisCommit { .. })
    }

    /// The context as buildx is given it.
    pub(crate) fn argument(&self) -> String {
        match self {
            Self::Folder { path, .. } => path.to_string_lossy().into_owned(),
            Self::ThisCommit { url } | Self::Remote { url } => url.clone(),
        }
    }

    /// The Dockerfile, when it is a file on this machine.
    pub(crate) fn dockerfile(&self) -> Option<&Path> {
        match self {
            Self::Folder { dockerfile, .. } => Some(dockerfile),
            Self::ThisCommit { .. } | Self::Remote { .. } => None,
        }
    }
}
