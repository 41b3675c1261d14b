//! The nodes of a run that may exist in the cluster, in a file next to its kubeconfig.
//!
//! In: names of nodes, before they are created. Out: a file with one name per line, until they are known to be gone. With it the post step
//! knows what to remove after a kill, or after the API did not answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::KubernetesError;

/// The nodes of one run that may exist.
#[derive(Debug)]
pub(super) struct CleanupList {
    path: PathBuf,
    names: Vec<String>,
}

impl CleanupList {
    /// An empty list, without a file.
    pub(super) fn new(kubeconfig: &Path) -> Self {
        Self {
            path: path(kubeconfig),
            names: Vec::new(),
        }
    }

    /// The list that a run left, restricted to its builder: a node's name is the builder's, or that with a suffix.
    pub(super) fn read(kubeconfig: &Path, builder: &str) -> Self {
        let path = path(kubeconfig);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let is_node = |name: &&str| {
            let suffix = name.strip_prefix(builder);
            suffix.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('-'))
        };
        let names = text.lines().filter(is_node).map(str::to_owned).collect();
        Self { path, names }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds a node before it is created.
    pub(super) fn add(&mut self, name: &str) -> Result<(), KubernetesError> {
        self.names.push(name.to_owned());
        self.write()
    }

    /// Removes a node that was not created.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), KubernetesError> {
        self.names.retain(|other| other != name);
        if self.names.is_empty() {
            self.clear();
            return Ok(());
        }
        self.write()
    }

    fn write(&self) -> Result<(), KubernetesError> {
        fs::write(&self.path, self.names.join("\n")).map_err(|source| {
            KubernetesError::CleanupList {
                path: self.path.clone(),
                source,
            }
        })
    }

    /// Deletes the file. If that fails, the post step looks for nodes that are gone.
    pub(super) fn clear(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::debug!("{error}"),
            _ => {}
        }
    }
}

/// Whether nodes of the run with this kubeconfig may exist.
pub(crate) fn is_left(kubeconfig: &Path) -> bool {
    path(kubeconfig).is_file()
}

/// Moves a kubeconfig and its list if nodes may exist in its cluster, or else deletes it.
pub(crate) fn set_aside(kubeconfig: &Path, elsewhere: &Path) {
    let moved = if is_left(kubeconfig) {
        fs::rename(kubeconfig, elsewhere)
            .and_then(|()| fs::rename(path(kubeconfig), path(elsewhere)))
    } else {
        fs::remove_file(kubeconfig)
    };
    if let Err(error) = moved {
        tracing::debug!("`{}`: {error}", kubeconfig.display());
    }
}

fn path(kubeconfig: &Path) -> PathBuf {
    kubeconfig.with_extension("made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_stays_until_all_its_nodes_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let mut list = CleanupList::new(&kubeconfig);
        assert!(!is_left(&kubeconfig));
        list.add("b-amd64").unwrap();
        list.add("b-arm64").unwrap();
        assert!(is_left(&kubeconfig));
        assert_eq!(CleanupList::read(&kubeconfig, "b").names(), list.names());
        list.remove("b-arm64").unwrap();
        assert_eq!(CleanupList::read(&kubeconfig, "b").names(), ["b-amd64"]);
        list.remove("b-amd64").unwrap();
        assert!(!is_left(&kubeconfig));
        list.add("b-amd64").unwrap();
        list.clear();
        assert!(!is_left(&kubeconfig));
    }

    #[test]
    fn names_of_other_builders_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(path(&kubeconfig), "b\nb-amd64\nbb\nproduction\n\n").unwrap();
        assert_eq!(
            CleanupList::read(&kubeconfig, "b").names(),
            ["b", "b-amd64"]
        );
    }
}
