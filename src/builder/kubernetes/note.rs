//! What there may be of a run in the cluster, noted beside its kubeconfig.
//!
//! In: names of nodes, before they are made. Out: a file with a name in each line, until they are
//! known to be gone. By it the post step knows that there is something to remove, and what: also
//! where the run was killed, or the API did not answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::KubernetesError;

/// The nodes of one run that there may be.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    names: Vec<String>,
}

impl Note {
    /// A note with nothing on it, which is no file yet.
    pub(super) fn beside(kubeconfig: &Path) -> Self {
        Self {
            path: path(kubeconfig),
            names: Vec::new(),
        }
    }

    /// The note that a run left, as far as it speaks of its builder: nodes bear its name, and their
    /// architecture.
    pub(super) fn left(kubeconfig: &Path, builder: &str) -> Self {
        let path = path(kubeconfig);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let is_node = |name: &&str| {
            let rest = name.strip_prefix(builder);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let names = text.lines().filter(is_node).map(str::to_owned).collect();
        Self { path, names }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds a node that is about to be made.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn add(&mut self, name: &str) -> Result<(), KubernetesError> {
        self.names.push(name.to_owned());
        self.write()
    }

    /// Takes a node off that was not made after all.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn strike(&mut self, name: &str) -> Result<(), KubernetesError> {
        self.names.retain(|other| other != name);
        if self.names.is_empty() {
            self.clear();
            return Ok(());
        }
        self.write()
    }

    fn write(&self) -> Result<(), KubernetesError> {
        fs::write(&self.path, self.names.join("\n")).map_err(|source| KubernetesError::Note {
            path: self.path.clone(),
            source,
        })
    }

    /// Everything on it is gone.
    pub(super) fn clear(&self) {
        match fs::remove_file(&self.path) {
            // Otherwise the post step looks for nothing, once.
            Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::debug!("{error}"),
            _ => {}
        }
    }
}

/// Whether something of the run with this kubeconfig may be in the cluster.
pub(crate) fn is_left(kubeconfig: &Path) -> bool {
    path(kubeconfig).is_file()
}

/// Puts a kubeconfig elsewhere, as long as something may be left in its cluster; else it goes.
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
    fn a_note_stays_until_everything_on_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let mut note = Note::beside(&kubeconfig);
        assert!(!is_left(&kubeconfig));
        note.add("b-amd64").unwrap();
        note.add("b-arm64").unwrap();
        assert!(is_left(&kubeconfig));
        assert_eq!(Note::left(&kubeconfig, "b").names(), note.names());
        note.strike("b-arm64").unwrap();
        assert_eq!(Note::left(&kubeconfig, "b").names(), ["b-amd64"]);
        note.strike("b-amd64").unwrap();
        assert!(!is_left(&kubeconfig));
        note.add("b-amd64").unwrap();
        note.clear();
        assert!(!is_left(&kubeconfig));
    }

    #[test]
    fn names_of_other_builders_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(path(&kubeconfig), "b\nb-amd64\nbb\nproduction\n\n").unwrap();
        assert_eq!(Note::left(&kubeconfig, "b").names(), ["b", "b-amd64"]);
    }
}
