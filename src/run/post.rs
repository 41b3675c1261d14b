//! What a run leaves for its post step, and the post step itself.
//!
//! A run that ends by itself has cleaned up; this is for one that was killed, or had no time left. State goes through
//! `GITHUB_STATE` and comes back as `STATE_<name>`. Only what has our own name is removed.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::acceleration;
use crate::builder;
use crate::credentials::{FORMER_KUBECONFIG_FILE, KUBECONFIG_FILE};
use crate::facts::Address;
use crate::plan::{Driver, Plan, RunDir};
use crate::runner::env::Env;
use crate::runner::files::{self, FileCommandError};
use crate::runner::folder;

/// Name under which our binary is the post step: the runner starts `post-entrypoint` with the
/// arguments of the main step, so that a subcommand can't tell them apart
/// (<https://github.com/actions/runner/blob/main/src/Runner.Worker/Handlers/ContainerActionHandler.cs>).
pub(crate) const PROGRAM: &str = "fast-ecr-push-post";

const FOLDER: &str = "folder";
const BUILDER: &str = "builder";

/// Saves what the post step has to remove, before it is made.
///
/// # Errors
/// When the runner's file can't be written.
pub(crate) fn save_state(plan: &Plan, dir: &RunDir, env: &Env) -> Result<(), FileCommandError> {
    let Some(path) = env.path("GITHUB_STATE") else {
        return Ok(());
    };
    let folder = dir.path.to_string_lossy();
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

/// Removes the run's folder, or leaves it to the post step if a builder may still exist: its removal failed, or its creation was
/// interrupted. A builder in a cluster has a file of ours, others have buildx's instance file. Only what the post step needs stays,
/// which for a builder in a container is no secret.
pub(crate) fn clean_up(folder: TempDir, plan: &Plan, dir: &RunDir, env: &Env) {
    let instances = dir.path.join("docker/buildx/instances");
    let kubeconfigs = [KUBECONFIG_FILE, FORMER_KUBECONFIG_FILE];
    let mut kubeconfigs = kubeconfigs.iter().map(|name| dir.path.join(name));
    let in_cluster = kubeconfigs.any(|path| builder::is_left_in_cluster(&path));
    let in_engine =
        plan.builder.kubernetes.is_none() && instances.join(&plan.builder.name).exists();
    if env.path("GITHUB_STATE").is_none() || !(in_cluster || in_engine) {
        return;
    }
    let path = folder.keep();
    if in_cluster {
        tracing::info!("the post step will look again for what is left in the cluster");
    } else {
        remove_others(&path, "docker");
        remove_others(&path.join("docker"), "buildx");
    }
}

/// Removes everything in a folder except one entry.
fn remove_others(folder: &Path, stays: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() == stays {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        if let Err(error) = removed {
            tracing::warn!("could not remove `{}`: {error}", path.display());
        }
    }
}

/// Removes what a killed run left, and logs it. Never fails the job.
pub(crate) async fn run(env: &Env, cancel: &CancellationToken) {
    remove_job_caches(env);
    let Some(path) = env
        .path("STATE_folder")
        .filter(|path| folder::is_ours(path))
    else {
        return;
    };
    if !path.is_dir() {
        return;
    }
    acceleration::clean_up_after(path, env).await;
    if let Some(name) = env
        .get("STATE_builder")
        .filter(|name| builder::is_ours(name))
    {
        let kubeconfig = path.join(KUBECONFIG_FILE);
        for kubeconfig in [&kubeconfig, &path.join(FORMER_KUBECONFIG_FILE)] {
            if builder::is_left_in_cluster(kubeconfig) {
                builder::remove_from_cluster(name, kubeconfig, cancel).await;
            }
        }
        if !kubeconfig.is_file() {
            remove_container(name, env).await;
        }
    }
    match fs::remove_dir_all(path) {
        Ok(()) => tracing::info!("removed the credentials of the run that was stopped"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("could not remove `{}`: {error}", path.display()),
    }
}

/// All steps of the job have ended.
fn remove_job_caches(env: &Env) {
    if let Some(folder) = folder::of_job(env)
        && let Err(error) = fs::remove_dir_all(&folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("could not remove `{}`: {error}", folder.display());
    }
}

async fn remove_container(name: &str, env: &Env) {
    let removed = match Address::of(env) {
        Ok(engine) => builder::remove_container(name, &engine)
            .await
            .map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    match removed {
        Ok(true) => tracing::info!("removed the builder `{name}` of the run that was stopped"),
        Ok(false) => {}
        Err(reason) => tracing::warn!("could not remove the builder `{name}`: {reason}"),
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
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("token"), "x").unwrap();
            let path = folder.to_string_lossy().into_owned();
            let env = Env::from([("STATE_folder", &*path)]);
            run(&env, &CancellationToken::new()).await;
            assert_eq!(folder.exists(), stays, "{name}");
        }
    }
}
