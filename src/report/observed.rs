//! What the report knows apart from the build: the machine, earlier runs, the registries, and the entries of a large context.

use std::fs;
use std::path::Path;

use super::runner;
use crate::plan::Context;
use crate::runner::env::Env;
use crate::timings::schema::Runner;
use crate::timings::{BuildTimings, Earlier};

/// Contexts from this size on get advice (bytes).
pub(super) const LARGE_CONTEXT: u64 = 200_000_000;

/// Files and folders of the context that are measured.
const MOST_ENTRIES: usize = 200_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub runner: Runner,
    pub earlier: Option<Earlier>,
    pub registries: Registries,
}

/// Results of the preflight checks that did not stop the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registries {
    /// Repositories created for this run, as `registry/repository`.
    pub created: Vec<String>,
    /// Repositories that this run pushes to and that have no lifecycle policy, as `registry/repository`. A repository whose policy could not
    /// be read is left out.
    pub without_lifecycle_policy: Vec<String>,
    /// One line each; already logged.
    pub warnings: Vec<String>,
}

/// A file or folder at the top of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// A folder's name ends with a slash.
    pub name: String,
    /// Size of all its files (bytes).
    pub bytes: u64,
}

impl Observed {
    pub(crate) fn new(earlier: Option<Earlier>, registries: Registries, env: &Env) -> Self {
        Self {
            runner: runner::read(env),
            earlier,
            registries,
        }
    }
}

/// The entries of a large context's folder, the largest first; empty for other contexts.
pub(crate) fn largest_entries(context: &Context, timings: &BuildTimings) -> Vec<Entry> {
    match context {
        Context::Folder { path, .. } if timings.context_bytes() >= LARGE_CONTEXT => largest(path),
        _ => Vec::new(),
    }
}

/// The entries of a folder by size, without those that `.dockerignore` lists by name; its patterns are not evaluated.
fn largest(folder: &Path) -> Vec<Entry> {
    let ignored = fs::read_to_string(folder.join(".dockerignore")).unwrap_or_default();
    let ignored = ignored
        .lines()
        .map(|line| line.trim().trim_start_matches("**/").trim_matches('/'));
    let ignored: Vec<&str> = ignored.collect();
    let mut left = MOST_ENTRIES;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<Entry> = entries
        .filter_map(|entry| {
            let mut name = entry.file_name().to_string_lossy().into_owned();
            if ignored.contains(&name.as_str()) {
                return None;
            }
            if entry.path().is_dir() {
                name.push('/');
            }
            let bytes = size(&entry.path(), &mut left);
            Some(Entry { name, bytes })
        })
        .collect();
    found.sort_by(|one, other| (other.bytes, &one.name).cmp(&(one.bytes, &other.name)));
    found
}

/// Size of a file, or of all files in a folder; links are not followed.
fn size(path: &Path, left: &mut usize) -> u64 {
    let mut bytes = 0u64;
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let Some(rest) = left.checked_sub(1) else {
            break;
        };
        *left = rest;
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                pending.extend(entries.take(*left).map(|entry| entry.path()));
            }
            Ok(found) if found.is_file() => bytes = bytes.saturating_add(found.len()),
            _ => {}
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
