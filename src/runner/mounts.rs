//! What a container action sees of its runner: which folders, and under which names.
//!
//! The runner mounts the workspace, its temporary folder and a home, and translates a value that *begins* with one of
//! them (`TranslateToContainerPath` in `ContainerInfo.cs`,
//! <https://github.com/actions/runner/blob/258d6c857db3519913f7deb6004b60172f8043ae/src/Runner.Worker/Container/ContainerInfo.cs#L164>).
//! A path inside of a list, `type=local,dest=/home/runner/work/…`, arrives as the runner's own: it is translated here.
//! A path that is mounted nowhere is refused before anything starts: what is written there is gone with the container.

use std::path::{Component, Path, PathBuf};

use crate::runner::env::Env;

/// Where the runner mounts the workspace (`ContainerActionHandler.cs`).
const WORKSPACE: &str = "/github/workspace";

/// The folders of a container action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// As they are called here.
    pub roots: Vec<PathBuf>,
    /// The runner's names of folders, longest first, and ours.
    names: Vec<(String, String)>,
}

impl Mounts {
    /// The mounts of a container that the runner started; `None` anywhere else.
    pub(crate) fn of(env: &Env) -> Option<Self> {
        if !env.is_true("GITHUB_ACTIONS") || env.get("GITHUB_WORKSPACE") != Some(WORKSPACE) {
            return None;
        }
        Some(Self {
            roots: roots(env),
            names: names(env),
        })
    }

    /// The text with the runner's paths as they are called here, wherever in a list they stand.
    fn translate(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_owned(), |text, (from, to)| replace(&text, from, to))
    }

    /// Whether the path is in a mounted folder. Relative paths are those of the workspace.
    pub(crate) fn sees(&self, path: &Path) -> bool {
        let path = normal(&Path::new(WORKSPACE).join(path));
        self.roots.iter().any(|root| path.starts_with(root))
    }
}

/// The environment with paths translated in these variables; as it was outside of a container action. The other
/// variables, a label for example, are not ours to change.
pub(crate) fn translated(env: Env, variables: impl Iterator<Item = String>) -> Env {
    let Some(mounts) = Mounts::of(&env) else {
        return env;
    };
    let changed: Vec<(String, String)> = variables
        .filter_map(|variable| Some((mounts.translate(env.get(&variable)?), variable)))
        .map(|(value, variable)| (variable, value))
        .collect();
    env.with(changed)
}

/// The names of mounted folders outside. The runner tells one path of its own, `RUNNER_WORKSPACE`, which is the folder
/// around the workspace, in its work folder; a job's container has the work folder at `/__w`
/// (`ContainerOperationProvider.cs`).
fn names(env: &Env) -> Vec<(String, String)> {
    let around = env.get("RUNNER_WORKSPACE").unwrap_or_default();
    let Some((work, repository)) = around.trim_end_matches('/').rsplit_once('/') else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for work in [work, "/__w"] {
        let workspace = format!("{work}/{repository}/{repository}");
        names.push((workspace, Some(WORKSPACE)));
        names.push((format!("{work}/_temp/_github_home"), env.get("HOME")));
        names.push((format!("{work}/_temp"), env.get("RUNNER_TEMP")));
    }
    names
        .into_iter()
        .filter_map(|(outside, here)| Some((outside, here?.to_owned())))
        .collect()
}

/// Replaces a path where it stands as a whole or as the beginning of a longer one.
fn replace(text: &str, from: &str, to: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut pieces = text.split(from);
    replaced.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let begins = replaced
            .chars()
            .next_back()
            .is_none_or(|last| "=,\"' \t\r\n".contains(last) || replaced.ends_with("://"));
        let ends = piece
            .chars()
            .next()
            .is_none_or(|next| "/,\"' \t\r\n".contains(next));
        replaced.push_str(if begins && ends { to } else { from });
        replaced.push_str(piece);
    }
    replaced
}

/// The path without `.` and `..`, which must not lead out of a folder unseen.
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

/// The folders that the runner has for a step, which are all that a container action sees of it; none outside of a workflow.
pub(crate) fn roots(env: &Env) -> Vec<PathBuf> {
    ["GITHUB_WORKSPACE", "RUNNER_TEMP", "HOME"]
        .into_iter()
        .filter(|_| env.is_true("GITHUB_ACTIONS"))
        .filter_map(|name| env.path(name))
        .map(Path::to_owned)
        .collect()
}

/// Where a path has to be, behind what is expected; nothing where there are no roots.
pub(crate) fn below(roots: &[PathBuf]) -> String {
    if roots.is_empty() {
        return String::new();
    }
    let names: Vec<String> = roots
        .iter()
        .map(|root| format!("`{}`", root.display()))
        .collect();
    format!(
        " below {}, the folders that are visible here",
        names.join(", ")
    )
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
