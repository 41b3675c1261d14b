//! The run's private folder, removed at its end.
//!
//! It is in the runner's temporary folder, so that the post step finds it after a kill.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::runner::env::Env;

const PREFIX: &str = "fast-ecr-push-";

pub(crate) fn create(env: &Env) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent(env))
}

/// The folder's name in a plan that is only printed.
pub(crate) fn example(env: &Env) -> PathBuf {
    parent(env).join(format!("{PREFIX}ID"))
}

/// Whether the path is a run's folder, so that it may be removed.
pub(crate) fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    path.is_absolute()
        && !path.components().any(|part| part.as_os_str() == "..")
        && name.is_some_and(|name| name.starts_with(PREFIX))
}

/// The folder for what later steps of the same job may use. The runner empties the folder around it when a job begins and when it ends.
pub(crate) fn of_job(env: &Env) -> Option<PathBuf> {
    let parent = env.path("RUNNER_TEMP").filter(|path| path.is_dir())?;
    env.is_true("GITHUB_ACTIONS")
        .then(|| parent.join(format!("{PREFIX}job")))
}

fn parent(env: &Env) -> PathBuf {
    env.path("RUNNER_TEMP")
        .filter(|path| path.is_dir())
        .map_or_else(std::env::temp_dir, Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_gone_at_the_end() {
        let runner = tempfile::tempdir().unwrap();
        let path = runner.path().to_string_lossy().into_owned();
        let folder = create(&Env::from([("RUNNER_TEMP", &*path)])).unwrap();
        let path = folder.path().to_owned();
        assert!(path.starts_with(runner.path()) && is_ours(&path));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_climbs_is_not_ours() {
        assert!(is_ours(Path::new("/tmp/fast-ecr-push-a")));
        assert!(!is_ours(Path::new("/tmp/../etc/fast-ecr-push-a")));
        assert!(!is_ours(Path::new("fast-ecr-push-a")));
        assert!(!is_ours(Path::new("/")));
    }
}
