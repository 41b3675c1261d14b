//! What the plan names on this machine, looked for before anything is started.
//!
//! In: the plan, the environment. Out: nothing, or what is missing with where we can see. In a
//! container only what the runner mounts is visible, which is the usual reason
//! (<https://docs.github.com/actions/reference/workflows-and-actions/dockerfile-support>).

pub(crate) mod git_context;
mod mounted;

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::plan::{self, ImagePlan, LARGEST_SECRET, LifecyclePolicy, Plan, SecretSource};
use crate::runner::env::Env;
use crate::runner::mounts;
pub(crate) use mounted::{Unseen, check as mounted, written};

/// Things that the plan names are not there.
#[derive(Debug, Error)]
#[error("{}", lines(.0))]
pub(crate) struct CheckError(Vec<Missing>);

/// One that is not there.
#[derive(Debug, Error)]
enum Missing {
    #[error(
        "input `{input}`: `{given}` given, expected {expected}{}",
        mounts::below(roots)
    )]
    Path {
        input: &'static str,
        given: String,
        expected: String,
        roots: Vec<PathBuf>,
        hint: Option<&'static str>,
    },
    #[error(
        "input `{input}`: `{given}` is a link out of the workspace, expected a path that stays in it"
    )]
    Link { input: &'static str, given: String },
    /// Names the id only: the text beside it may be a secret that was put into the wrong input.
    #[error("input `{input}`: {found} for the secret `{id}`, expected {expected}")]
    Secret {
        input: &'static str,
        id: String,
        found: &'static str,
        expected: String,
    },
}

impl CheckError {
    /// What to do about the first that has a remedy.
    pub(crate) fn hint(&self) -> Option<String> {
        self.0.iter().find_map(Missing::hint)
    }
}

impl Missing {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Path { hint, .. } => hint.map(str::to_owned),
            Self::Link { .. } => Some(
                "the code that was checked out may have such a link to files that other steps left on this machine; if the link is yours, give \
                 the path that it leads to"
                    .to_owned(),
            ),
            Self::Secret { input, .. } if *input == "secret-envs" => Some(
                "set it in `env:` of this step; `secrets.NAME` is empty in a run of a fork's pull \
                 request"
                    .to_owned(),
            ),
            Self::Secret { .. } => Some("a path is relative to the working directory".to_owned()),
        }
    }
}

/// Looks for contexts, the Dockerfile, secrets, SSH keys, the lifecycle policy and the folder of the
/// timings file.
///
/// # Errors
/// With all that are missing.
pub(crate) fn files(plan: &Plan, env: &Env) -> Result<(), CheckError> {
    let mut search = Search {
        env,
        missing: Vec::new(),
    };
    for image in &plan.images {
        search.contexts(image);
        search.secrets(image);
        search.ssh(image);
    }
    if let Some(path) = &plan.timings_file {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
            let expected = "a path in a folder that exists";
            search.path("timings-file", path, expected, None);
        }
        search.link("timings-file", path, &path.display().to_string());
    }
    if let Some(LifecyclePolicy::File(path)) = plan
        .create_repository
        .as_ref()
        .map(|new| &new.lifecycle_policy)
        && !is_json(path)
    {
        let hint = "`lifecycle-policy=none` gives no policy, without the attribute ours is given";
        search.path(
            "create-repository",
            path,
            "a lifecycle policy, a file with JSON",
            Some(hint),
        );
    }
    if search.missing.is_empty() {
        Ok(())
    } else {
        Err(CheckError(search.missing))
    }
}

/// Whether there is a file with a JSON object.
fn is_json(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok()
}

/// Whether the Dockerfile is there, perhaps in lower case.
fn is_dockerfile(path: &Path) -> bool {
    path.is_file() || plan::lower_case(path).is_some_and(|path| path.is_file())
}

struct Search<'a> {
    env: &'a Env,
    missing: Vec<Missing>,
}

impl Search<'_> {
    fn contexts(&mut self, image: &ImagePlan) {
        if let plan::Context::Folder { path, .. } = &image.context {
            self.link("context", path, &path.display().to_string());
        }
        if let Some(path) = image.context.dockerfile() {
            self.link("file", path, &path.display().to_string());
        }
        for context in &image.build_contexts {
            if let Some(path) = context.path() {
                self.link("build-contexts", path, &context.name);
            }
        }
        if let plan::Context::Folder { path, .. } = &image.context
            && !path.is_dir()
        {
            let hint = "run actions/checkout before this step, or leave `context` out to build the \
                        commit from Git";
            self.path("context", path, "a folder", Some(hint));
        } else if let Some(dockerfile) = image.context.dockerfile()
            && !is_dockerfile(dockerfile)
        {
            let hint = "`file` is relative to the working directory, not to the context";
            self.path("file", dockerfile, "a Dockerfile", Some(hint));
        }
        for context in &image.build_contexts {
            if let Some(path) = context.path().filter(|path| !path.exists()) {
                let hint = "a path is relative to the working directory; an image is written \
                            `docker-image://name`";
                self.path("build-contexts", path, "a folder", Some(hint));
            }
        }
    }

    fn secrets(&mut self, image: &ImagePlan) {
        for secret in &image.secrets {
            let (input, found, expected) = match &secret.source {
                SecretSource::Variable(name) if self.env.get(name).is_none() => (
                    "secret-envs",
                    "no value",
                    "a variable that is set and not empty".to_owned(),
                ),
                SecretSource::File(path) => match std::fs::metadata(path) {
                    Ok(file) if file.is_file() && file.len() > LARGEST_SECRET as u64 => (
                        "secret-files",
                        "too large a file",
                        "at most 500 KiB, as BuildKit takes them".to_owned(),
                    ),
                    Ok(file) if file.is_file() => {
                        self.link("secret-files", path, &secret.id);
                        continue;
                    }
                    _ => (
                        "secret-files",
                        "no file",
                        format!(
                            "the path of a file{}",
                            mounts::below(&mounts::roots(self.env))
                        ),
                    ),
                },
                _ => continue,
            };
            self.missing.push(Missing::Secret {
                input,
                id: secret.id.clone(),
                found,
                expected,
            });
        }
    }

    /// buildx takes a socket, keys, or the agent of the environment
    /// (<https://docs.docker.com/reference/cli/docker/buildx/build/#ssh>).
    fn ssh(&mut self, image: &ImagePlan) {
        for item in &image.ssh {
            let mut paths = item.paths().map(Path::new).peekable();
            if paths.peek().is_none() {
                let agent = self.env.path("SSH_AUTH_SOCK");
                if !agent.is_some_and(Path::exists) {
                    let hint = "a container action does not see the runner's agent: write a key \
                                into a file below a visible folder and name it, as `default=path`";
                    let expected = "an SSH agent at SSH_AUTH_SOCK, or the path of a socket or key";
                    let given = item.to_string();
                    self.path("ssh", Path::new(&given), expected, Some(hint));
                }
            }
            for path in paths.filter(|path| !path.exists()) {
                self.path("ssh", path, "the path of a socket or key", None);
            }
        }
    }

    /// Refuses a path in the workspace that is elsewhere because of a link.
    fn link(&mut self, input: &'static str, path: &Path, given: &str) {
        let workspace = self.env.path("GITHUB_WORKSPACE");
        if workspace.is_some_and(|workspace| is_link_out(path, workspace)) {
            self.missing.push(Missing::Link {
                input,
                given: given.to_owned(),
            });
        }
    }

    fn path(
        &mut self,
        input: &'static str,
        given: &Path,
        expected: &str,
        hint: Option<&'static str>,
    ) {
        self.missing.push(Missing::Path {
            input,
            given: given.display().to_string(),
            expected: expected.to_owned(),
            roots: mounts::roots(self.env),
            hint,
        });
    }
}

/// Not if the path itself names another folder: then it was not the checkout that chose it.
fn is_link_out(path: &Path, workspace: &Path) -> bool {
    let mut named = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_default().components() {
        if part == Component::ParentDir {
            named.pop();
        } else {
            named.push(part);
        }
    }
    let real = |path: &Path| path.canonicalize().ok();
    let (Some(found), Some(root)) = (real(path), real(workspace)) else {
        return false;
    };
    (named.starts_with(workspace) || named.starts_with(&root)) && !found.starts_with(root)
}

fn lines(missing: &[Missing]) -> String {
    let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
