//! Removes the container and the volume of a docker-container builder through the Engine's API.
//!
//! `buildx rm` finds the volume through the container, so it leaves the volume of a removal or a creation that was interrupted
//! (`Rm` in <https://github.com/docker/buildx/blob/461836ba0/driver/docker-container/driver.go>). It takes more than a second, the
//! Engine 0.2 s.

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

/// buildx's prefix for containers and volumes of a builder (`BuilderName` in
/// <https://github.com/docker/buildx/blob/461836ba0/driver/manager.go>).
pub(super) const PREFIX: &str = "buildx_buildkit_";

/// How long an interrupted creation may go on in the Engine.
const AFTERMATH: Duration = Duration::from_millis(500);

const POLL: Duration = Duration::from_millis(50);

/// The builder's creation by buildx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    Complete,
    /// Its container or volume may appear later.
    Interrupted,
}

#[derive(Debug, Error)]
pub(crate) enum RemovalError {
    #[error("the Docker Engine does not answer: {0}")]
    Client(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Engine(#[from] DockerError),
    #[error("the Docker Engine did not remove it within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// Removes what exists of the builder; whether anything did.
pub(super) async fn remove(
    name: &str,
    address: &Address,
    creation: Creation,
    patience: Duration,
) -> Result<bool, RemovalError> {
    let removal = async {
        let docker = address.client().await.map_err(RemovalError::Client)?;
        // The client's own timeout must not come first: it has whole seconds.
        remove_all(&docker.with_timeout(patience * 2), name, creation).await
    };
    let removed = timeout(patience, Box::pin(removal)).await;
    removed.unwrap_or(Err(RemovalError::Timeout(patience)))
}

pub(super) async fn remove_all(
    docker: &Docker,
    name: &str,
    creation: Creation,
) -> Result<bool, RemovalError> {
    let prefix = format!("{PREFIX}{name}");
    let start = Instant::now();
    let mut found = false;
    loop {
        let mut is_gone = true;
        for (container, _) in containers(docker, &prefix).await? {
            is_gone = false;
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
            let removed = docker.remove_container(&container, Some(options.build()));
            check_later(removed.await)?;
        }
        let options = ListVolumesOptionsBuilder::new().filters(&filter(&prefix));
        let listed = docker.list_volumes(Some(options.build())).await?;
        for volume in listed.volumes.unwrap_or_default() {
            // The filter matches any part of a name.
            if volume.name.starts_with(&prefix) {
                is_gone = false;
                let removed = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>);
                check_later(removed.await)?;
            }
        }
        found |= !is_gone;
        if is_gone && (creation == Creation::Complete || start.elapsed() > AFTERMATH) {
            return Ok(found);
        }
        if is_gone || start.elapsed() > POLL {
            sleep(POLL).await;
        }
    }
}

/// The containers with this prefix, running or not, and when the Engine created them (seconds since 1970).
pub(super) async fn containers(
    docker: &Docker,
    prefix: &str,
) -> Result<Vec<(String, Option<i64>)>, DockerError> {
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter(prefix));
    let listed = docker.list_containers(Some(options.build())).await?;
    let containers = listed.into_iter().flat_map(|container| {
        let names = container.names.unwrap_or_default().into_iter();
        // The API's names begin with a slash.
        names.map(move |name| (name.trim_start_matches('/').to_owned(), container.created))
    });
    Ok(containers
        .filter(|(name, _)| name.starts_with(prefix))
        .collect())
}

fn filter(name: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([("name", vec![name.to_owned()])])
}

/// Ignores that an object is gone already, or in use for a moment longer: the next poll shows which.
fn check_later(removed: Result<(), DockerError>) -> Result<(), DockerError> {
    match removed {
        Err(DockerError::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }) => Ok(()),
        other => other,
    }
}
