//! Why there are no credentials.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::aws::SessionError;
use crate::aws::ecr::EcrError;
use crate::runner::private::PrivateError;

#[derive(Debug, Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("could not link the credential helper as `{}`", path.display())]
    Link {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not read the Docker configuration `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not parse the Docker configuration `{}`", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Ecr(#[from] EcrError),
    #[error(transparent)]
    Aws(#[from] SessionError),
}

impl CredentialsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Ecr(error) => error.hint(),
            Self::Aws(error) => error.hint(),
            Self::Parse { .. } => {
                Some("it must be JSON; `docker login` writes a new one".to_owned())
            }
            Self::Private(_) | Self::Link { .. } | Self::Read { .. } => None,
        }
    }
}
