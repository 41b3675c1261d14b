//! A builder in a container, removed: container and volume, asked of the Engine itself.
//!
//! `buildx rm` learns the volume from the container, so that one whose container is gone would stay for ever: after a removal
//! that was stopped half-way, or a creation that was (`Rm` in
//! <https://github.com/docker/buildx/blob/461836ba0/driver/docker-container/driver.go>). It takes more than a second, too,
//! where the Engine takes 0.2 s.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions,
};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use crate::facts::Address;

/// What buildx puts before a builder's name for its containers and volumes (`BuilderName` in
/// <https://github.com/docker/buildx/blob/461836ba0/driver/manager.go>).
pub(super) const PREFIX: &str = "buildx_buildkit_";

/// How long a creation that was cut off is waited for: the Engine goes on with it for a moment, and may have made the volume
/// by then.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether more of a builder may come while it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    Over,
    /// buildx was stopped in the middle of it.
    CutOff,
}

/// The builder may still be there.
#[derive(Debug, Error)]
pub(crate) enum RemovalError {
    #[error("the Docker Engine does not answer: {0}")]
    Client(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Engine(#[from] DockerError),
    #[error("it was not gone within {} s", .0.as_secs())]
    Late(Duration),
}

/// Removes what there is of the builder; whether there was anything.
///
/// # Errors
/// When the Engine does not do it, or not in time.
pub(super) async fn remove(
    name: &str,
    address: &Address,
    creation: Creation,
    patience: Duration,
) -> Result<bool, RemovalError> {
    let removed = async {
        let docker = address.client().await.map_err(RemovalError::Client)?;
        // Whole seconds, and later than ours: the client gives up by itself, too.
        let docker = docker.with_timeout(patience * 2);
        remove_all(&docker, name, creation).await
    };
    let in_time = timeout(patience, Box::pin(removed)).await;
    in_time.unwrap_or(Err(RemovalError::Late(patience)))
}

pub(super) async fn remove_all(
    docker: &Docker,
    name: &str,
    creation: Creation,
) -> Result<bool, RemovalError> {
    let name = format!("{PREFIX}{name}");
    let begin = Instant::now();
    let mut found = false;
    loop {
        let containers = containers(docker, &name).await?;
        for container in &containers {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
            let removed = docker.remove_container(container, Some(options.build()));
            may_be_gone(removed.await)?;
        }
        let volumes = volumes(docker, &name).await?;
        for volume in &volumes {
            let removed = docker.remove_volume(volume, None::<RemoveVolumeOptions>);
            may_be_gone(removed.await)?;
        }
        let gone = containers.is_empty() && volumes.is_empty();
        found |= !gone;
        if gone && (creation == Creation::Over || begin.elapsed() > AFTERMATH) {
            return Ok(found);
        }
        if gone || begin.elapsed() > PAUSE {
            sleep(PAUSE).await;
        }
    }
}

/// Names of containers, running or not.
async fn containers(docker: &Docker, name: &str) -> Result<Vec<String>, DockerError> {
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter(name));
    let listed = docker.list_containers(Some(options.build())).await?;
    let names = listed
        .into_iter()
        .flat_map(|container| container.names.unwrap_or_default());
    // The API's names begin with a slash.
    let names = names.map(|name| name.trim_start_matches('/').to_owned());
    Ok(names.filter(|other| other.starts_with(name)).collect())
}

async fn volumes(docker: &Docker, name: &str) -> Result<Vec<String>, DockerError> {
    let options = ListVolumesOptionsBuilder::new().filters(&filter(name));
    let listed = docker.list_volumes(Some(options.build())).await?;
    let names = listed
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(|volume| volume.name);
    Ok(names.filter(|other| other.starts_with(name)).collect())
}

fn filter(name: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("name", vec![name.to_owned()])])
}

/// Somebody else may be removing it, or it is in use for a moment longer: the next look tells.
fn may_be_gone(removed: Result<(), DockerError>) -> Result<(), DockerError> {
    match removed {
        Err(DockerError::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }) => Ok(()),
        other => other,
    }
}
