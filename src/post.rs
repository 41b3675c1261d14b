//! What a run leaves for its post step, and the post step itself.
//!
//! A run that ends by itself has cleaned up; this is for one that was killed, or had no time left. State goes through
//! `GITHUB_STATE` and comes back as `STATE_<name>`. Only what bears our own name is removed.

use std::io;

use crate::builder::{self, Tool};
use crate::credentials::{Credentials, KUBECONFIG_FILE};
use crate::env::Env;
use crate::facts::Buildx;
use crate::folder;
use crate::github::files::{self, FileCommandError};
use crate::plan::{Driver, Place, Plan};

/// Name under which our binary is the post step: the runner starts `post-entrypoint` with the
/// arguments of the main step, so that a subcommand can't tell them apart
/// (<https://github.com/actions/runner/blob/main/src/Runner.Worker/Handlers/ContainerActionHandler.cs>).
pub(crate) const PROGRAM: &str = "fast-ecr-push-post";

const FOLDER: &str = "folder";
const BUILDER: &str = "builder";

/// Notes what the post step has to remove, before it is made.
///
/// # Errors
/// When the runner's file can't be written.
pub(crate) fn note(plan: &Plan, place: &Place, env: &Env) -> Result<(), FileCommandError> {
    let Some(path) = env.path("GITHUB_STATE") else {
        return Ok(());
    };
    let folder = place.folder.to_string_lossy();
    let mut state = vec![(FOLDER, &*folder)];
    let kept = plan
        .builder
        .kubernetes
        .as_ref()
        .is_some_and(|plan| plan.kept);
    if plan.builder.driver != Driver::Docker && !kept {
        state.push((BUILDER, &plan.builder.name));
    }
    files::append_values(path, state)
}

/// Whether the run's folder has to stay for the post step: buildx still knows the builder, so that its removal failed
/// or took too long. buildx keeps a file for each (`$DOCKER_CONFIG/buildx/instances`).
pub(crate) fn has_to_remove(plan: &Plan, place: &Place, env: &Env) -> bool {
    let instances = place.folder.join("docker/buildx/instances");
    env.path("GITHUB_STATE").is_some() && instances.join(&plan.builder.name).exists()
}

/// Removes what a killed run left. Says what it did; never fails the job.
pub(crate) async fn run(env: &Env) {
    let Some(path) = env
        .path("STATE_folder")
        .filter(|path| folder::is_ours(path))
    else {
        return;
    };
    if !path.is_dir() {
        return;
    }
    if let Some(name) = env
        .get("STATE_builder")
        .filter(|name| builder::is_ours(name))
        && let Some(program) = Buildx::locate(env)
    {
        let tool = Tool {
            program,
            env: Credentials::variables(path, env),
        };
        let kubeconfig = path.join(KUBECONFIG_FILE);
        if kubeconfig.is_file() {
            builder::remove_from_cluster(name, &kubeconfig).await;
        } else {
            builder::remove(name, &tool, builder::PATIENCE).await;
            tracing::info!("removed the builder `{name}` of the run that was stopped");
        }
    }
    match std::fs::remove_dir_all(path) {
        Ok(()) => tracing::info!("removed the credentials of the run that was stopped"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("could not remove `{}`: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn removes_a_runs_folder_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        for (name, stays) in [("fast-ecr-push-x1", false), ("workspace", true)] {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("token"), "x").unwrap();
            let path = folder.to_string_lossy().into_owned();
            run(&Env::from([("STATE_folder", &*path)])).await;
            assert_eq!(folder.exists(), stays, "{name}");
        }
    }
}
