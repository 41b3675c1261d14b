//! Files that the plan names, looked for before anything is started.
//!
//! In: the plan. Out: nothing, or what is missing with where we can see. In a container only what
//! the runner mounts is visible, which is the usual reason
//! (<https://docs.github.com/actions/reference/workflows-and-actions/dockerfile-support>).

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::env::Env;
use crate::plan::{self, Plan};

/// Files or folders of the plan are not there.
#[derive(Debug, Error)]
#[error("{}", lines(.0))]
pub(crate) struct CheckError(Vec<Missing>);

/// One that is not there.
#[derive(Debug, Error)]
enum Missing {
    #[error("input `context`: `{}` given, expected a folder{}", path.display(), visible(roots))]
    Context { path: PathBuf, roots: Vec<PathBuf> },
    #[error("input `file`: `{}` given, expected a Dockerfile{}", path.display(), visible(roots))]
    Dockerfile { path: PathBuf, roots: Vec<PathBuf> },
    #[error("input `timings-file`: `{}` given, expected a path in a folder that exists{}", path.display(), visible(roots))]
    TimingsFolder { path: PathBuf, roots: Vec<PathBuf> },
}

impl CheckError {
    /// What to do about the first.
    pub(crate) fn hint(&self) -> Option<String> {
        self.0.iter().find_map(Missing::hint)
    }
}

impl Missing {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Context { .. } => {
                "run actions/checkout before this step, or leave `context` out to build the commit \
                 from Git"
            }
            Self::Dockerfile { .. } => {
                "`file` is relative to the working directory, not to the context"
            }
            Self::TimingsFolder { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Looks for the context, the Dockerfile and the folder of the timings file.
///
/// # Errors
/// With all that are missing.
pub(crate) fn files(plan: &Plan, env: &Env) -> Result<(), CheckError> {
    let mut missing = Vec::new();
    for image in &plan.images {
        if let plan::Context::Folder { path, .. } = &image.context
            && !path.is_dir()
        {
            missing.push(Missing::Context {
                path: path.clone(),
                roots: roots(env),
            });
        } else if let Some(dockerfile) = image.context.dockerfile()
            && !dockerfile.is_file()
        {
            missing.push(Missing::Dockerfile {
                path: dockerfile.to_owned(),
                roots: roots(env),
            });
        }
    }
    if let Some(path) = &plan.timings_file {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
            missing.push(Missing::TimingsFolder {
                path: path.clone(),
                roots: roots(env),
            });
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(CheckError(missing))
    }
}

fn lines(missing: &[Missing]) -> String {
    let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The folders that the runner mounts; none outside of a workflow.
fn roots(env: &Env) -> Vec<PathBuf> {
    ["GITHUB_WORKSPACE", "RUNNER_TEMP", "HOME"]
        .into_iter()
        .filter(|_| env.is_true("GITHUB_ACTIONS"))
        .filter_map(|name| env.path(name))
        .map(Path::to_path_buf)
        .collect()
}

fn visible(roots: &[PathBuf]) -> String {
    let names: Vec<String> = roots
        .iter()
        .map(|root| format!("`{}`", root.display()))
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(
            " below {}, the folders that are visible here",
            names.join(", ")
        )
    }
}
