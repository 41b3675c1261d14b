//! The runner's folders that a container action sees, and their names in the container.
//!
//! The runner mounts the workspace, its temporary folder and a home, and translates a value that *begins* with one of them
//! (`TranslateToContainerPath`,
//! <https://github.com/actions/runner/blob/258d6c857db3519913f7deb6004b60172f8043ae/src/Runner.Worker/Container/ContainerInfo.cs#L164>).
//! A path inside a list, `type=local,dest=/home/runner/work/…`, is translated here. A path outside of the mounts is refused before anything
//! starts: files written there are lost with the container.

use std::path::{Component, Path, PathBuf};

use crate::runner::env::Env;

/// Where the runner mounts the workspace (`ContainerActionHandler.cs`).
pub(crate) const WORKSPACE: &str = "/github/workspace";

/// The folders of a container action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// Paths in the container.
    pub roots: Vec<PathBuf>,
    /// Paths outside, longest first, and in the container.
    names: Vec<(String, String)>,
}

impl Mounts {
    /// `None` outside of a container action.
    pub(crate) fn of(env: &Env) -> Option<Self> {
        if !env.is_true("GITHUB_ACTIONS") || env.get("GITHUB_WORKSPACE") != Some(WORKSPACE) {
            return None;
        }
        Some(Self {
            roots: roots(env),
            names: names(env),
        })
    }

    /// Translates the runner's paths anywhere in a list.
    fn translate(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_owned(), |text, (from, to)| replace(&text, from, to))
    }

    /// Whether the path is in a mounted folder. Relative paths are relative to the workspace.
    pub(crate) fn sees(&self, path: &Path) -> bool {
        let path = normal(&Path::new(WORKSPACE).join(path));
        self.roots.iter().any(|root| path.starts_with(root))
    }
}

/// The environment with paths translated in these variables; unchanged outside of a container action. Other variables, such as labels, are
/// not changed.
pub(crate) fn translated(env: Env, variables: impl Iterator<Item = String>) -> Env {
    let Some(mounts) = Mounts::of(&env) else {
        return env;
    };
    let changed: Vec<(String, String)> = variables
        .filter_map(|variable| {
            let value = mounts.translate(env.get(&variable)?);
            Some((variable, value))
        })
        .collect();
    env.with(changed)
}

/// The outside paths of mounted folders. `RUNNER_WORKSPACE` is the parent of the workspace, inside the runner's work folder; a job's container
/// has the work folder at `/__w` (`ContainerOperationProvider.cs`).
fn names(env: &Env) -> Vec<(String, String)> {
    let parent = env.get("RUNNER_WORKSPACE").unwrap_or_default();
    let Some((work, repository)) = parent.trim_end_matches('/').rsplit_once('/') else {
        return Vec::new();
    };
    let names = [work, "/__w"].into_iter().flat_map(|work| {
        [
            (format!("{work}/{repository}/{repository}"), Some(WORKSPACE)),
            (format!("{work}/_temp/_github_home"), env.get("HOME")),
            (format!("{work}/_temp"), env.get("RUNNER_TEMP")),
        ]
    });
    let known = names.filter_map(|(outside, inside)| Some((outside, inside?.to_owned())));
    known.collect()
}

/// Replaces a path that is whole or the beginning of a longer one.
fn replace(text: &str, from: &str, to: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut pieces = text.split(from);
    replaced.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let begins = replaced.is_empty()
            || replaced.ends_with("://")
            || replaced.ends_with(|last| "=,\"' \t\r\n".contains(last));
        let ends = piece.is_empty() || piece.starts_with(|next| "/,\"' \t\r\n".contains(next));
        replaced.push_str(if begins && ends { to } else { from });
        replaced.push_str(piece);
    }
    replaced
}

/// The path without `.` and `..`, which could lead out of a folder.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// The runner's folders for a step: all that a container action sees. None outside of a workflow.
pub(crate) fn roots(env: &Env) -> Vec<PathBuf> {
    ["GITHUB_WORKSPACE", "RUNNER_TEMP", "HOME"]
        .into_iter()
        .filter(|_| env.is_true("GITHUB_ACTIONS"))
        .filter_map(|name| env.path(name))
        .map(Path::to_owned)
        .collect()
}

/// Where a path has to be, as the end of an error message; empty without roots.
pub(crate) fn below(roots: &[PathBuf]) -> String {
    if roots.is_empty() {
        return String::new();
    }
    let names = roots.iter().map(|root| format!("`{}`", root.display()));
    let names: Vec<String> = names.collect();
    format!(" below one of the visible folders {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::from([
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_WORKSPACE", WORKSPACE),
            ("RUNNER_TEMP", "/github/runner_temp"),
            ("HOME", "/github/home"),
            ("RUNNER_WORKSPACE", "/home/runner/work/app"),
        ])
    }

    #[test]
    fn the_runners_paths_get_their_names_here_wherever_they_stand() {
        let cases = [
            ("alone", "/home/runner/work/app/app", "/github/workspace"),
            (
                "in a list",
                "type=local,dest=/home/runner/work/_temp/cache,mode=max\nuser/app:cache",
                "type=local,dest=/github/runner_temp/cache,mode=max\nuser/app:cache",
            ),
            (
                "quoted",
                "\"dest=/home/runner/work/app/app/a,b\"",
                "\"dest=/github/workspace/a,b\"",
            ),
            (
                "with a scheme",
                "base=oci-layout:///home/runner/work/_temp/x",
                "base=oci-layout:///github/runner_temp/x",
            ),
            (
                "in a job's container",
                "id=/__w/app/app/key",
                "id=/github/workspace/key",
            ),
            (
                "the home",
                "id=/home/runner/work/_temp/_github_home/.npmrc",
                "id=/github/home/.npmrc",
            ),
            (
                "a longer name",
                "/home/runner/work/app/app2",
                "/home/runner/work/app/app2",
            ),
            (
                "the end of another",
                "/mnt/home/runner/work/_temp",
                "/mnt/home/runner/work/_temp",
            ),
            ("none of them", "/tmp/cache", "/tmp/cache"),
        ];
        let mounts = Mounts::of(&env()).unwrap();
        for (name, given, expected) in cases {
            assert_eq!(mounts.translate(given), expected, "{name}");
        }
    }

    #[test]
    fn only_the_given_variables_are_translated() {
        let text = "/home/runner/work/_temp/a".to_owned();
        let given = ["INPUT_CACHE-TO", "INPUT_LABELS"].map(|name| (name.to_owned(), text.clone()));
        let translated = translated(env().with(given), ["INPUT_CACHE-TO".to_owned()].into_iter());
        assert_eq!(
            translated.get("INPUT_CACHE-TO"),
            Some("/github/runner_temp/a")
        );
        assert_eq!(translated.get("INPUT_LABELS"), Some(&*text));
    }

    #[test]
    fn nothing_is_translated_where_paths_are_the_same() {
        let given = env().with([(
            "GITHUB_WORKSPACE".to_owned(),
            "/home/runner/work/app/app".to_owned(),
        )]);
        assert_eq!(Mounts::of(&given), None);
    }

    #[test]
    fn a_path_outside_is_not_seen_however_it_is_written() {
        let mounts = Mounts::of(&env()).unwrap();
        for (path, seen) in [
            ("out", true),
            ("./a/../b", true),
            ("/github/runner_temp/x", true),
            ("/tmp/x", false),
            ("../x", false),
            ("/github/workspace/../../etc", false),
            ("/github/workspace2", false),
        ] {
            assert_eq!(mounts.sees(Path::new(path)), seen, "{path}");
        }
    }
}
