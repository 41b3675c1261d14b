//! Everything that can end a run, how it is shown and with which exit code.
//!
//! Texts say what was attempted; causes follow one by one and are not repeated in the text above
//! them; a hint says what to do next.

use std::error::Error as _;

use thiserror::Error;

use crate::build::BuildError;
use crate::builder::BuilderError;
use crate::check::CheckError;
use crate::credentials::CredentialsError;
use crate::facts::FactsError;
use crate::facts::cluster::ClusterError;
use crate::inputs::InputError;
use crate::plan::{PlanError, list};
use crate::report::ReportError;

/// A run that did not end well.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("{}", list(.0))]
    Inputs(Vec<InputError>),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error("could not make a private folder for this run")]
    Folder(#[source] std::io::Error),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Builder(#[from] BuilderError),
    #[error("{second}, after the cluster could not build: {first}")]
    Fallback {
        first: Box<Error>,
        #[source]
        second: Box<Error>,
    },
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl Error {
    /// 1 the build failed, 2 the inputs are wrong, 3 something around is missing or refuses, 130
    /// cancelled (as a shell reports SIGINT).
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Build(BuildError::Cancelled) => 130,
            Self::Builder(error) if error.is_cancelled() => 130,
            Self::Build(_) => 1,
            Self::Inputs(_)
            | Self::Check(_)
            | Self::Plan(PlanError::Inputs(_))
            | Self::Facts(FactsError::BadFact { .. }) => 2,
            Self::Cluster(error) if error.is_input() => 2,
            Self::Fallback { second, .. } => second.exit_code(),
            Self::Plan(_)
            | Self::Facts(_)
            | Self::Folder(_)
            | Self::Credentials(_)
            | Self::Cluster(_)
            | Self::Builder(_)
            | Self::Report(_) => 3,
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Inputs(_) | Self::Folder(_) | Self::Report(_) => None,
            Self::Check(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Facts(error) => error.hint(),
            Self::Credentials(error) => error.hint(),
            Self::Cluster(error) => error.hint(),
            Self::Builder(error) => error.hint(),
            Self::Fallback { second, .. } => second.hint(),
            Self::Build(error) => error.hint(),
        }
    }

    /// The error, its causes and the hint, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.to_string().lines().map(str::to_owned).collect();
        let mut source = self.source();
        while let Some(cause) = source {
            lines.push(format!("caused by: {cause}"));
            source = cause.source();
        }
        lines.extend(self.hint().map(|hint| format!("hint: {hint}")));
        lines
    }

    /// The failed step's last lines and its place in the Dockerfile.
    pub(crate) fn failure(&self) -> Option<&crate::build::failure::Failure> {
        match self {
            Self::Build(BuildError::Failed { failure, .. }) => Some(failure),
            _ => None,
        }
    }
}
