//! That a builder in a container belongs to a run that lives, and what is done about those of runs that are gone.
//!
//! A run that is killed with all that belongs to it, without a post step, leaves its builder's container and volume. Neither
//! process ids nor files tell the next run so: a step in a container sees only its own, and another runner on the machine has
//! folders of its own. So the Engine is asked, which all have in common: a run holds a command in its builder for as long as
//! it lives, as buildx does while it builds, `buildctl dial-stdio`, which ends with its standard input. That is a connection
//! of our process, which the kernel closes however the process ends. A builder in which no command runs is nobody's. No clock
//! is compared but the Engine's with itself, and one that can't be judged stays.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::removal::{Creation, PREFIX, remove_all};
use super::{PATIENCE, is_ours};
use crate::facts::Address;
use crate::plan::BUILDER_PREFIX;

/// Between two tries to hold the command: the container may not be there yet, or BuildKit not listen.
const PAUSE: Duration = Duration::from_millis(250);

/// How much older than this run's own another container is that is judged (seconds): its run may be about to hold its command.
const YOUNGEST: i64 = 20;

/// Between two looks at a builder that seems to be nobody's: BuildKit closes connections that say nothing (measured: after 2
/// minutes), and its run needs [`PAUSE`] and the start of a command for the next.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// How long a builder that is ready may need for a command, and the Engine to list it: both take milliseconds. An Engine that
/// never does either is not waited for any longer, and then nothing is removed.
const HOLDS_WITHIN: Duration = Duration::from_secs(5);

/// What buildx calls the only node of a builder: the builder's name and its number.
const NODE: &str = "0";

/// How far the look at other builders has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// No command is held yet.
    NotYet,
    Begun,
    Over,
}

/// The command that a run holds, and the Engine that it runs on.
#[derive(Debug, Clone)]
struct Held {
    docker: Docker,
    command: String,
}

/// The command that this run holds in its builder; it ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Life {
    tasks: [AbortHandle; 2],
    look: watch::Receiver<Look>,
}

impl Life {
    /// Holds a command in the builder as soon as there is one, and then looks for others that nobody holds one in.
    pub(super) fn hold(name: &str, address: &Address) -> Self {
        let own = format!("{PREFIX}{name}{NODE}");
        let held = watch::Sender::new(None);
        let tell = watch::Sender::new(Look::NotYet);
        let look = tell.subscribe();
        let is_held = held.subscribe();
        let holding = hold(own.clone(), address.clone(), held);
        let looking = look_around(own, is_held, tell);
        Self {
            tasks: [tokio::spawn(holding), tokio::spawn(looking)].map(|task| task.abort_handle()),
            look,
        }
    }

    /// Waits until builders that nobody holds are removed, at the end of a run whose builder was ready.
    pub(super) async fn has_looked(&self) {
        let mut look = self.look.clone();
        let _ = timeout(HOLDS_WITHIN, look.wait_for(|look| *look != Look::NotYet)).await;
        if *look.borrow() == Look::Begun {
            // Too late is no harm: the next run looks again.
            let _ = timeout(PATIENCE, look.wait_for(|look| *look == Look::Over)).await;
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn hold(container: String, address: Address, held: watch::Sender<Option<Held>>) {
    let docker = loop {
        match address.client().await {
            Ok(docker) => break docker.with_timeout(PATIENCE),
            Err(error) => tracing::debug!("{error}"),
        }
        sleep(PAUSE).await;
    };
    loop {
        if let Ok((command, StartExecResults::Attached { mut output, input })) =
            start(&docker, &container).await
        {
            let docker = docker.clone();
            held.send_replace(Some(Held { docker, command }));
            while output.next().await.is_some() {}
            drop(input);
            held.send_replace(None);
        }
        sleep(PAUSE).await;
    }
}

async fn start(
    docker: &Docker,
    container: &str,
) -> Result<(String, StartExecResults), DockerError> {
    let command = ["buildctl", "dial-stdio"];
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        cmd: Some(command.map(str::to_owned).to_vec()),
        ..ExecConfig::default()
    };
    let id = docker.create_exec(container, config).await?.id;
    let started = docker.start_exec(&id, None::<StartExecOptions>).await?;
    Ok((id, started))
}

/// Removes builders whose run is gone. Says so; never fails this run.
async fn look_around(
    own: String,
    mut held: watch::Receiver<Option<Held>>,
    tell: watch::Sender<Look>,
) {
    if held.wait_for(Option::is_some).await.is_err() {
        return;
    }
    tell.send_replace(Look::Begun);
    if let Err(error) = remove_dead(&own, &mut held).await {
        tracing::debug!("could not look for builders of runs that are gone: {error}");
    }
    tell.send_replace(Look::Over);
}

async fn remove_dead(
    own: &str,
    held: &mut watch::Receiver<Option<Held>>,
) -> Result<(), DockerError> {
    let Some(Held { docker, .. }) = held.borrow().clone() else {
        return Ok(());
    };
    let mut dead = older(&list(&docker).await?, own);
    for look in 0..2 {
        if dead.is_empty() {
            return Ok(());
        }
        if look > 0 {
            sleep(SECOND_LOOK).await;
        }
        // An Engine that does not list this run's command says nothing about other runs' either.
        if timeout(HOLDS_WITHIN, is_listed(own, held)).await.is_err() {
            tracing::debug!("the Engine does not list the command that runs in `{own}`");
            return Ok(());
        }
        let mut still = Vec::new();
        for name in dead {
            // One that can't be asked about is not judged.
            let commands = running(&docker, &container(&name)).await;
            if commands.is_ok_and(|commands| commands.is_empty()) {
                still.push(name);
            }
        }
        dead = still;
    }
    for name in dead {
        match remove_all(&docker, &name, Creation::Over).await {
            Ok(true) => tracing::info!("removed the builder `{name}` of a run that is gone"),
            Ok(false) => {}
            Err(error) => tracing::debug!("could not remove the builder `{name}`: {error}"),
        }
    }
    Ok(())
}

/// Waits until the Engine lists the command that this run holds. It may just have ended, and the next one not have begun.
async fn is_listed(own: &str, held: &mut watch::Receiver<Option<Held>>) {
    loop {
        let now = held.borrow_and_update().clone();
        if let Some(Held { docker, command }) = now
            && let Ok(commands) = running(&docker, own).await
            && commands.contains(&command)
        {
            return;
        }
        let _ = timeout(PAUSE, held.changed()).await;
    }
}

fn container(builder: &str) -> String {
    format!("{PREFIX}{builder}{NODE}")
}

/// Names of containers of runs, and when the Engine created them (seconds since 1970).
async fn list(docker: &Docker) -> Result<Vec<(String, i64)>, DockerError> {
    let filter = HashMap::from([("name", vec![format!("{PREFIX}{BUILDER_PREFIX}")])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter);
    let listed = docker.list_containers(Some(options.build())).await?;
    let containers = listed.into_iter().filter_map(|container| {
        let name = container.names?.into_iter().next()?;
        Some((name.trim_start_matches('/').to_owned(), container.created?))
    });
    Ok(containers.collect())
}

/// Names of the runs' builders that are old enough to be judged; none where this run's own is not among the containers.
fn older(containers: &[(String, i64)], own: &str) -> Vec<String> {
    let Some((_, begin)) = containers.iter().find(|(name, _)| name == own) else {
        return Vec::new();
    };
    let old = containers
        .iter()
        .filter(|(name, created)| name != own && begin.saturating_sub(*created) >= YOUNGEST);
    old.filter_map(|(name, _)| name.strip_prefix(PREFIX)?.strip_suffix(NODE))
        .filter(|name| is_ours(name))
        .map(str::to_owned)
        .collect()
}

/// The commands that run in a container beside its own.
async fn running(docker: &Docker, container: &str) -> Result<Vec<String>, DockerError> {
    let found = docker.inspect_container(container, None::<InspectContainerOptions>);
    let mut running = Vec::new();
    for id in found.await?.exec_ids.unwrap_or_default() {
        match docker.inspect_exec(&id).await {
            Ok(command) if command.running == Some(false) => {}
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
    fn only_older_builders_of_runs_are_judged() {
        let named = |name: &str, created| (format!("buildx_buildkit_{name}"), created);
        let own = "buildx_buildkit_fast-ecr-push-own0";
        let containers = [
            named("fast-ecr-push-own0", 1000),
            named("fast-ecr-push-old0", 980),
            named("fast-ecr-push-young0", 981),
            named("fast-ecr-push-later0", 1100),
            named("fast-ecr-push-a-team0", 10),
            named("fast-ecr-push-node1", 10),
            named("team0", 10),
        ];
        assert_eq!(older(&containers, own), ["fast-ecr-push-old"]);
        assert!(older(&containers[1..], own).is_empty());
    }
}
