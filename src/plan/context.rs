//! The build context: a folder here, or an address that BuildKit fetches by itself.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Diagnostics;
use crate::inputs::Inputs;
use crate::runner::workflow::WorkflowRun;

/// Where the build's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Context {
    /// A folder on this machine, and its Dockerfile, there or at an address.
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
    /// The context that was asked for; by default as in docker/build-push-action the commit of this run, outside of a workflow the
    /// current folder. A context may begin with `{{defaultContext}}`, as there.
    pub(super) fn choose(
        inputs: &Inputs,
        run: Option<&WorkflowRun>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let default = run.map(WorkflowRun::git_context);
        let given = inputs.context.as_deref();
        let text = match (given, &default) {
            (Some(given), _) => expand("context", given, default.as_deref(), diagnostics),
            (None, Some(default)) => default.clone(),
            (None, None) => ".".to_owned(),
        };
        if default.is_some_and(|default| text.starts_with(&default)) {
            Self::ThisCommit { url: text }
        } else if is_remote(&text) {
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

    /// The Dockerfile's path in the repository of this workflow run.
    pub(crate) fn dockerfile_in_repository(&self, file: Option<&str>) -> Option<PathBuf> {
        let Self::ThisCommit { url } = self else {
            return None;
        };
        if file.is_some_and(is_http) {
            return None;
        }
        let (_, fragment) = url.split_once('#').unwrap_or_default();
        let (_, folder) = fragment.split_once(':').unwrap_or_default();
        Some(Path::new(folder).join(file.unwrap_or("Dockerfile")))
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
            Self::Folder { dockerfile, .. } => {
                let is_fetched = dockerfile.to_str().is_some_and(is_http);
                (!is_fetched).then_some(dockerfile.as_path())
            }
            Self::ThisCommit { .. } | Self::Remote { .. } => None,
        }
    }
}

/// What buildx takes where there is no such Dockerfile: one in lower case
/// (<https://github.com/docker/buildx/blob/461836ba0/build/opt.go>, `handleLowercaseDockerfile`).
pub(crate) fn lower_case(dockerfile: &Path) -> Option<PathBuf> {
    dockerfile
        .ends_with("Dockerfile")
        .then(|| dockerfile.with_file_name("dockerfile"))
}

/// A further context under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NamedContext {
    pub name: String,
    pub value: String,
}

impl NamedContext {
    /// The contexts of `build-contexts`.
    pub(super) fn choose(
        inputs: &Inputs,
        run: Option<&WorkflowRun>,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Self> {
        let default = run.map(WorkflowRun::git_context);
        let contexts = inputs.build_contexts.iter();
        contexts
            .map(|context| Self {
                name: context.name.clone(),
                value: expand(
                    "build-contexts",
                    &context.value,
                    default.as_deref(),
                    diagnostics,
                ),
            })
            .collect()
    }

    /// The folder or file on this machine, when it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        let elsewhere = is_remote(&self.value)
            || ["target:", "input:"]
                .iter()
                .any(|prefix| self.value.starts_with(prefix));
        (!elsewhere).then(|| Path::new(&self.value))
    }
}

/// Whether buildx fetches the Dockerfile (`IsHTTPURL` in its `util/urlutil`).
fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn is_remote(text: &str) -> bool {
    REMOTE_PREFIXES
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

/// Replaces `{{defaultContext}}`, in two or three braces, with or without blanks, as handlebars reads it.
fn expand(
    input: &'static str,
    text: &str,
    default: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, behind)) = after.split_once("}}") else {
            break;
        };
        let (inside, behind) = match (inside.strip_prefix('{'), behind.strip_prefix('}')) {
            (Some(inside), Some(behind)) => (inside, behind),
            _ => (inside, behind),
        };
        let value = default.filter(|_| inside.trim() == "defaultContext");
        let Some(value) = value else {
            diagnostics.wrong(
                input,
                text,
                "no expression but `{{defaultContext}}`, which a workflow run has",
            );
            return text.to_owned();
        };
        expanded.push_str(before);
        expanded.push_str(value);
        rest = behind;
    }
    expanded.push_str(rest);
    expanded
}
