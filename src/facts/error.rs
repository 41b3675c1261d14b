//! Why a fact is unknown.

use semver::Version;
use thiserror::Error;

use crate::process::ProcessError;

/// The oldest supported buildx (January 2024): we rely on its options and metadata.
pub(crate) const OLDEST_BUILDX: Version = Version::new(0, 13, 0);

/// A fact could not be found, or a given one is invalid.
#[derive(Debug, Error)]
pub(crate) enum FactsError {
    #[error(
        "could not find buildx: there is no `buildx` or `docker-buildx` in PATH or Docker's plugin folders"
    )]
    NoBuildx,
    #[error("could not get buildx's version")]
    BuildxVersion(#[source] ProcessError),
    #[error("could not parse buildx's version from `{0}`")]
    UnknownVersion(String),
    #[error("fact `{given}`: expected {expected}")]
    BadFact { given: String, expected: String },
}

impl FactsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoBuildx => Some(
                "install Docker Buildx: https://docs.docker.com/build/install-buildx/".to_owned(),
            ),
            Self::UnknownVersion(_) => Some(format!(
                "install Docker Buildx {OLDEST_BUILDX} or newer; `docker buildx version` prints the version"
            )),
            Self::BuildxVersion(_) | Self::BadFact { .. } => None,
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::BuildxVersion(ProcessError::Cancelled { .. }))
    }
}
