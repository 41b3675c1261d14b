//! buildx's drivers.

use serde::Serialize;

/// The driver that builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Driver {
    /// The Engine's own BuildKit: nothing to boot.
    Docker,
    /// BuildKit in a container of the Engine.
    DockerContainer,
    /// BuildKit in pods of a cluster.
    Kubernetes,
}

impl Driver {
    /// buildx's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerContainer => "docker-container",
            Self::Kubernetes => "kubernetes",
        }
    }
}
