//! A run's lease on its docker-container builder, and the removal of orphaned builders, whose run was killed.
//!
//! The lease is an open exec of `buildctl dial-stdio` in the builder's container. It ends with our connection to the Engine, which
//! the kernel closes however this process ends. A builder without a running exec is an orphan: its run holds none, and buildx
//! none for a build. Process ids and files cannot show this: a step in a container does not see those of other runners. Ages are
//! compared by the Engine's clock only. A builder that cannot be inspected is kept.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::InspectContainerOptions;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::removal::{Creation, PREFIX, containers, remove_all};
use super::{PATIENCE, is_ours};
use crate::facts::Address;
use crate::plan::BUILDER_PREFIX;

/// Between two attempts to start the exec: the container may not exist yet, or BuildKit not listen.
const RETRY: Duration = Duration::from_millis(250);

/// How much older than this run's builder an orphan is (seconds): a younger one may be about to get its lease.
const MIN_AGE: i64 = 20;

/// Between the two checks of a builder without an exec: BuildKit closes an idle connection after 2 minutes (measured), and its run
/// starts the next within [`RETRY`].
const SECOND_CHECK: Duration = Duration::from_secs(5);

/// Limit for the start of the exec in a builder that is ready, and for the Engine to list it: both take milliseconds.
const EXEC_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of a builder's only node, which buildx appends to its name.
const NODE: &str = "0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    Pending,
    Running,
    Done,
}

/// The lease on a builder. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    task: AbortHandle,
    sweep: watch::Receiver<Sweep>,
}

impl Lease {
    /// Takes the lease as soon as the builder exists, and then removes orphans.
    pub(super) fn take(builder: &str, engine: &Address) -> Self {
        let (progress, sweep) = watch::channel(Sweep::Pending);
        let task = run(container(builder), engine.clone(), progress);
        Self {
            task: tokio::spawn(task).abort_handle(),
            sweep,
        }
    }

    /// Waits until orphans are removed, at the end of a run whose builder was ready. What is left is for the next run.
    pub(super) async fn swept(&self) {
        let mut sweep = self.sweep.clone();
        let begun = sweep.wait_for(|sweep| *sweep != Sweep::Pending);
        if timeout(EXEC_TIMEOUT, begun).await.is_ok() {
            let _ = timeout(PATIENCE, sweep.wait_for(|sweep| *sweep == Sweep::Done)).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(own: String, engine: Address, progress: watch::Sender<Sweep>) {
    let docker = loop {
        match engine.client().await {
            Ok(docker) => break docker.with_timeout(PATIENCE),
            Err(error) => tracing::debug!("{error}"),
        }
        sleep(RETRY).await;
    };
    let (current, mut exec) = watch::channel(None);
    let sweep = async {
        if exec.wait_for(Option::is_some).await.is_ok() {
            progress.send_replace(Sweep::Running);
            if let Err(error) = remove_orphans(&docker, &own, &mut exec).await {
                tracing::debug!("could not search for orphaned builders: {error}");
            }
            progress.send_replace(Sweep::Done);
        }
    };
    tokio::join!(hold(&docker, &own, current), sweep);
}

/// Keeps an exec open, and publishes its id.
async fn hold(docker: &Docker, container: &str, current: watch::Sender<Option<String>>) {
    loop {
        if let Ok((id, StartExecResults::Attached { mut output, input })) =
            start(docker, container).await
        {
            current.send_replace(Some(id));
            while output.next().await.is_some() {}
            drop(input);
            current.send_replace(None);
        }
        sleep(RETRY).await;
    }
}

async fn start(
    docker: &Docker,
    container: &str,
) -> Result<(String, StartExecResults), DockerError> {
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        cmd: Some(["buildctl", "dial-stdio"].map(str::to_owned).to_vec()),
        ..ExecConfig::default()
    };
    let id = docker.create_exec(container, config).await?.id;
    let started = docker.start_exec(&id, None::<StartExecOptions>).await?;
    Ok((id, started))
}

/// Removes orphans. A failed removal is logged.
async fn remove_orphans(
    docker: &Docker,
    own: &str,
    exec: &mut watch::Receiver<Option<String>>,
) -> Result<(), DockerError> {
    let containers = containers(docker, &format!("{PREFIX}{BUILDER_PREFIX}")).await?;
    let mut orphans = candidates(&containers, own);
    for pause in [Duration::ZERO, SECOND_CHECK] {
        if orphans.is_empty() {
            return Ok(());
        }
        sleep(pause).await;
        // An Engine that does not list our own exec may not list those of other runs either.
        if timeout(EXEC_TIMEOUT, is_listed(docker, own, exec))
            .await
            .is_err()
        {
            tracing::debug!("the Engine does not list the exec in `{own}`");
            return Ok(());
        }
        let mut idle = Vec::new();
        for name in orphans {
            let execs = running_execs(docker, &container(&name)).await;
            if execs.is_ok_and(|execs| execs.is_empty()) {
                idle.push(name);
            }
        }
        orphans = idle;
    }
    for name in orphans {
        match remove_all(docker, &name, Creation::Complete).await {
            Ok(true) => tracing::info!("removed the orphaned builder `{name}`"),
            Ok(false) => {}
            Err(error) => tracing::debug!("could not remove the builder `{name}`: {error}"),
        }
    }
    Ok(())
}

/// Waits until the Engine lists our exec, which may be replaced by a new one meanwhile.
async fn is_listed(docker: &Docker, own: &str, exec: &mut watch::Receiver<Option<String>>) {
    loop {
        let id = exec.borrow_and_update().clone();
        if let Some(id) = id
            && let Ok(execs) = running_execs(docker, own).await
            && execs.contains(&id)
        {
            return;
        }
        let _ = timeout(RETRY, exec.changed()).await;
    }
}

pub(super) fn container(builder: &str) -> String {
    format!("{PREFIX}{builder}{NODE}")
}

/// The builders of other runs that are old enough to be orphans; none if our own container is not listed.
fn candidates(containers: &[(String, Option<i64>)], own: &str) -> Vec<String> {
    let Some((_, Some(start))) = containers.iter().find(|(name, _)| name == own) else {
        return Vec::new();
    };
    let is_old = |created: i64| start.saturating_sub(created) >= MIN_AGE;
    containers
        .iter()
        .filter(|(name, created)| name != own && created.is_some_and(is_old))
        .filter_map(|(name, _)| name.strip_prefix(PREFIX)?.strip_suffix(NODE))
        .filter(|name| is_ours(name))
        .map(str::to_owned)
        .collect()
}

async fn running_execs(docker: &Docker, container: &str) -> Result<Vec<String>, DockerError> {
    let found = docker.inspect_container(container, None::<InspectContainerOptions>);
    let mut running = Vec::new();
    for id in found.await?.exec_ids.unwrap_or_default() {
        match docker.inspect_exec(&id).await {
            Ok(exec) if exec.running == Some(false) => {}
            // It has just ended.
            Err(DockerError::DockerResponseServerError {
                status_code: 404, ..
            }) => {}
            Ok(_) => running.push(id),
            Err(error) => return Err(error),
        }
    }
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_builders_of_runs_are_candidates() {
        let named = |name: &str, created| (format!("buildx_buildkit_{name}"), Some(created));
        let own = "buildx_buildkit_fast-ecr-push-own0";
        let containers = [
            named("fast-ecr-push-own0", 1000),
            named("fast-ecr-push-old0", 980),
            named("fast-ecr-push-young0", 981),
            named("fast-ecr-push-later0", 1100),
            named("fast-ecr-push-a-team0", 10),
            named("fast-ecr-push-node1", 10),
            named("team0", 10),
            ("buildx_buildkit_fast-ecr-push-unknown0".to_owned(), None),
        ];
        assert_eq!(candidates(&containers, own), ["fast-ecr-push-old"]);
        assert!(candidates(&containers[1..], own).is_empty());
    }
}
