//! Finds the push engine's build step: static binaries `fast-ecr-push-step-ARCHITECTURE`, named as Docker names architectures.
//!
//! The action's image has them. Elsewhere a variable names their folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::runner::env::Env;

/// Where the action's image has them.
const FOLDER: &str = "/usr/local/libexec/fast-ecr-push";

/// Names another folder.
const VARIABLE: &str = "FAST_ECR_PUSH_STEP";

const PREFIX: &str = "fast-ecr-push-step-";

/// The build step, for at least one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub folder: PathBuf,
    /// In Docker's words: `amd64`.
    pub architectures: BTreeSet<String>,
}

/// What is there.
pub(super) fn find(env: &Env) -> Option<Step> {
    let folder = folder(env);
    let files = fs::read_dir(&folder).ok()?.flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let architectures: BTreeSet<String> = names
        .filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned()))
        .collect();
    (!architectures.is_empty()).then_some(Step {
        folder,
        architectures,
    })
}

/// A step that was not looked for.
pub(super) fn given(architectures: &BTreeSet<String>, env: &Env) -> Option<Step> {
    (!architectures.is_empty()).then(|| Step {
        folder: folder(env),
        architectures: architectures.clone(),
    })
}

fn folder(env: &Env) -> PathBuf {
    let folder = env.path(VARIABLE).unwrap_or_else(|| Path::new(FOLDER));
    folder.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_the_step_for_the_architectures_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_string_lossy().into_owned();
        let env = Env::from([(VARIABLE, &*path)]);
        assert_eq!(find(&env), None);
        for name in ["amd64", "arm64"] {
            fs::write(folder.path().join(format!("{PREFIX}{name}")), "").unwrap();
        }
        fs::write(folder.path().join("README"), "").unwrap();
        let found = find(&env).unwrap();
        assert_eq!(found.folder, folder.path());
        let expected = ["amd64", "arm64"].map(str::to_owned);
        assert_eq!(found.architectures, expected.into());
    }
}
