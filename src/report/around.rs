//! What the report knows beside the build: the machine, and the context's folder where it is large.
//!
//! In: environment, plan, timings. Out: [`Around`]. The only part of the report that looks at the file system, and it reads no file but
//! `.dockerignore`.

use std::fs;
use std::path::Path;

use super::advice::LARGE_CONTEXT;
use super::runner;
use crate::plan::{Context, Plan};
use crate::runner::env::Env;
use crate::timings::BuildTimings;
use crate::timings::Earlier;
use crate::timings::schema::Runner;

/// Files and folders that are looked at, at most.
const MOST_ENTRIES: usize = 200_000;

/// Facts around a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Around {
    pub runner: Runner,
    /// Entries of the context's folder, the largest first; empty unless the context is large.
    pub context: Vec<Entry>,
    /// How long earlier runs took.
    pub before: Option<Earlier>,
    /// What a look at the registries found.
    pub registries: Registries,
}

/// What a look at the registries found, beside what would have stopped the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registries {
    /// Repositories that were made for this run, as `registry/repository`.
    pub created: Vec<String>,
    /// Repositories that this run pushes to and that have no lifecycle policy, as `registry/repository`. None of a repository whose policy may
    /// not be read.
    pub without_lifecycle_policy: Vec<String>,
    /// In words, each on one line; already in the log.
    pub warnings: Vec<String>,
}

/// A file or folder at the top of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name; a folder's ends with a slash.
    pub name: String,
    /// Size of all its files (bytes).
    pub bytes: u64,
}

impl Around {
    /// What takes no time to know.
    pub(crate) fn at_hand(env: &Env) -> Self {
        Self {
            runner: runner::look(env),
            ..Self::default()
        }
    }

    /// Looks around.
    pub(crate) fn look(
        plan: &Plan,
        timings: &BuildTimings,
        before: Option<Earlier>,
        env: &Env,
    ) -> Self {
        let context = match plan.images.first().map(|image| &image.context) {
            Some(Context::Folder { path, .. }) if timings.context_bytes() >= LARGE_CONTEXT => {
                largest(path)
            }
            _ => Vec::new(),
        };
        Self {
            runner: runner::look(env),
            context,
            before,
            registries: Registries::default(),
        }
    }
}

/// The entries of a folder by size. What `.dockerignore` names outright is left out; patterns are not followed.
fn largest(folder: &Path) -> Vec<Entry> {
    let ignored = fs::read_to_string(folder.join(".dockerignore")).unwrap_or_default();
    let ignored: Vec<&str> = ignored
        .lines()
        .map(|line| line.trim().trim_start_matches("**/").trim_matches('/'))
        .collect();
    let mut left = MOST_ENTRIES;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<Entry> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ignored.contains(&name.as_str()) {
                return None;
            }
            let bytes = size(&entry.path(), &mut left);
            let slash = if entry.path().is_dir() { "/" } else { "" };
            Some(Entry {
                name: format!("{name}{slash}"),
                bytes,
            })
        })
        .collect();
    found.sort_by(|one, other| (other.bytes, &one.name).cmp(&(one.bytes, &other.name)));
    found
}

/// Size of a file, or of all files in a folder; links are not followed.
fn size(path: &Path, left: &mut usize) -> u64 {
    let mut bytes = 0u64;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Some(rest) = left.checked_sub(1) else {
            break;
        };
        *left = rest;
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        if found.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(entries.take(*left).map(|entry| entry.path()));
        } else if found.is_file() {
            bytes = bytes.saturating_add(found.len());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_largest_that_are_not_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (path, bytes) in [
            ("data/a/b", 300),
            ("data/c", 100),
            (".git/x", 900),
            ("app.py", 50),
            (".dockerignore", 0),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; bytes]).unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("data/loop")).unwrap();
        fs::write(root.join(".dockerignore"), "# no history\n.git/\n").unwrap();
        let named: Vec<(String, u64)> = largest(root)
            .into_iter()
            .map(|entry| (entry.name, entry.bytes))
            .take(2)
            .collect();
        assert_eq!(
            named,
            [("data/".to_owned(), 400), ("app.py".to_owned(), 50)]
        );
    }

    #[test]
    fn a_folder_that_is_gone_has_no_entries() {
        assert_eq!(largest(Path::new("/no/such/folder")), []);
    }

    #[test]
    fn the_walk_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..10 {
            fs::write(folder.path().join(index.to_string()), "x").unwrap();
        }
        assert_eq!(size(folder.path(), &mut 4), 3);
    }
}
