//! Everything that can end a run, how it is shown and with which exit code.
//!
//! Texts say what was attempted; causes follow one by one and are not repeated in the text above
//! them; a hint says what to do next.

use std::error::Error as _;
use std::io;

use thiserror::Error;

use crate::builder::BuilderError;
use crate::buildx::catalogue::FULL_DISK;
use crate::buildx::failure::Failure;
use crate::buildx::metadata::Metadata;
use crate::buildx::{BuildError, Reason};
use crate::credentials::CredentialsError;
use crate::facts::FactsError;
use crate::facts::cluster::ClusterError;
use crate::inputs::InputError;
use crate::network::certificates::CertificatesError;
use crate::plan::{PlanError, list};
use crate::registry::preflight::PreflightError;
use crate::report::{self, FailureKind};
use crate::run::check::{CheckError, Unseen};

/// A run that did not end well.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("{}", list(.0))]
    Inputs(Vec<InputError>),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Unseen(#[from] Unseen),
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    #[error(transparent)]
    Builder(#[from] BuilderError),
    /// Its causes are those of both, see [`Error::lines`].
    #[error("{second}, after the cluster could not build: {first}")]
    Fallback {
        first: Box<Error>,
        second: Box<Error>,
    },
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the push engine could not push the image")]
    Acceleration(#[source] Reason),
    #[error("the run was cancelled")]
    Cancelled,
    /// What has no hint of its own: files that cannot be written.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
    /// An error that GitHub's care for secrets explains.
    #[error(transparent)]
    WithoutSecrets(#[from] WithoutSecrets),
}

/// What helps where the push engine does not.
const WITHOUT_ENGINE: &str =
    "with `accelerate: auto` BuildKit pushes where the push engine can't; `accelerate: off` always";

/// A refusal in a run that GitHub gives no secrets, and why it has none.
#[derive(Debug, Error)]
#[error("{error}")]
pub(crate) struct WithoutSecrets {
    error: Box<Error>,
    reason: String,
}

impl Error {
    /// 1 the build failed (a `call`: buildx's own code), 2 the inputs are wrong, 3 something around is missing or refuses, 130
    /// cancelled (as a shell reports SIGINT).
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            _ if self.is_cancelled() => 130,
            Self::Build(BuildError::Checks { status, .. }) => status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(1),
            Self::WithoutSecrets(refused) => refused.error.exit_code(),
            Self::Build(_) | Self::Acceleration(_) => 1,
            Self::Inputs(_)
            | Self::Check(_)
            | Self::Unseen(_)
            | Self::Certificates(_)
            | Self::Plan(PlanError::Inputs(_))
            | Self::Facts(FactsError::BadFact { .. }) => 2,
            Self::Cluster(error) if error.is_input() => 2,
            Self::Fallback { second, .. } => second.exit_code(),
            Self::Plan(_)
            | Self::Facts(_)
            | Self::Credentials(_)
            | Self::Cluster(_)
            | Self::Preflight(_)
            | Self::Builder(_)
            | Self::Other(_)
            | Self::Cancelled => 3,
        }
    }

    /// The error, explained by a reason why the run has no secrets, if it is about rights.
    pub(crate) fn explained(self, without_secrets: impl FnOnce() -> Option<String>) -> Self {
        match self.is_about_rights().then(without_secrets).flatten() {
            Some(reason) => Self::WithoutSecrets(WithoutSecrets {
                error: Box::new(self),
                reason,
            }),
            None => self,
        }
    }

    fn is_about_rights(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Cluster(ClusterError::Session { .. }) => true,
            Self::Preflight(error) => error.is_refusal(),
            Self::Build(_) => self.failure().is_some_and(Failure::is_denied),
            Self::Fallback { second, .. } => second.is_about_rights(),
            _ => false,
        }
    }

    /// Whether the run ended because it was told to.
    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled | Self::Build(BuildError::Cancelled) => true,
            Self::Builder(error) => error.is_cancelled(),
            Self::Facts(error) => error.is_cancelled(),
            Self::Fallback { second, .. } => second.is_cancelled(),
            _ => false,
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        self.own_hint()
            .or_else(|| self.is_full_disk().then(|| FULL_DISK.to_owned()))
    }

    /// Whether a file could not be written for lack of space.
    fn is_full_disk(&self) -> bool {
        let causes = std::iter::successors(self.source(), |&cause| cause.source());
        causes
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| {
                matches!(
                    cause.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
            })
    }

    fn own_hint(&self) -> Option<String> {
        match self {
            Self::Inputs(_) | Self::Other(_) | Self::Cancelled => None,
            Self::Check(error) => error.hint(),
            Self::Unseen(error) => Some(error.hint()),
            Self::Certificates(error) => error.hint(),
            Self::WithoutSecrets(refused) => Some(refused.reason.clone()),
            Self::Plan(error) => error.hint(),
            Self::Facts(error) => error.hint(),
            Self::Credentials(error) => error.hint(),
            Self::Cluster(error) => error.hint(),
            Self::Preflight(error) => error.hint(),
            Self::Builder(error) => error.hint(),
            Self::Fallback { second, .. } => second.hint(),
            Self::Build(error) => error.hint(),
            Self::Acceleration(reason) => Some(
                reason
                    .hint
                    .clone()
                    .unwrap_or_else(|| WITHOUT_ENGINE.to_owned()),
            ),
        }
    }

    /// The error, its causes and the hint, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.to_string().lines().map(str::to_owned).collect();
        lines.extend(self.causes());
        lines.extend(self.hint().map(|hint| format!("hint: {hint}")));
        lines
    }

    fn causes(&self) -> Vec<String> {
        let mut source = match self {
            Self::WithoutSecrets(refused) => return refused.error.causes(),
            Self::Fallback { first, second } => {
                let in_the_cluster = first.causes().into_iter();
                let in_the_cluster = in_the_cluster.map(|cause| format!("in the cluster {cause}"));
                return second.causes().into_iter().chain(in_the_cluster).collect();
            }
            _ => self.source(),
        };
        let mut causes = Vec::new();
        while let Some(cause) = source {
            causes.push(format!("caused by: {cause}"));
            source = cause.source();
        }
        causes
    }

    /// The error for the report.
    pub(crate) fn for_report(&self) -> report::Failure {
        let kind = match self {
            _ if self.is_cancelled() => FailureKind::Cancelled,
            Self::Build(BuildError::Checks { .. }) => FailureKind::Checks,
            Self::Build(_) | Self::Acceleration(_) | Self::WithoutSecrets(_) => FailureKind::Build,
            _ => FailureKind::Other,
        };
        let failure = self.failure();
        report::Failure {
            kind,
            lines: self.lines(),
            tail: failure
                .map(|failure| failure.tail.clone())
                .unwrap_or_default(),
            metadata: self.metadata().cloned(),
        }
    }

    /// buildx's metadata of a build that failed.
    fn metadata(&self) -> Option<&Metadata> {
        match self {
            Self::Build(BuildError::Checks { metadata, .. }) => Some(metadata),
            Self::Fallback { second, .. } => second.metadata(),
            _ => None,
        }
    }

    /// The failed step's last lines and its place in the Dockerfile.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Build(BuildError::Failed { failure, .. }) => Some(failure),
            Self::WithoutSecrets(refused) => refused.error.failure(),
            Self::Fallback { second, .. } => second.failure(),
            _ => None,
        }
    }

    /// The same, to be completed.
    pub(crate) fn failure_mut(&mut self) -> Option<&mut Failure> {
        match self {
            Self::Build(BuildError::Failed { failure, .. }) => Some(failure),
            Self::WithoutSecrets(refused) => refused.error.failure_mut(),
            Self::Fallback { second, .. } => second.failure_mut(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use anyhow::anyhow;

    use super::*;

    fn after_the_cluster(second: Error) -> Error {
        Error::Fallback {
            first: Box::new(Error::Other(
                anyhow!("no route").context("could not connect"),
            )),
            second: Box::new(second),
        }
    }

    #[test]
    fn a_failed_fall_back_is_told_as_the_build_that_it_was() {
        let failure = Failure {
            message: "did not complete successfully".to_owned(),
            tail: vec!["the last line".to_owned()],
            ..Failure::default()
        };
        let error = after_the_cluster(Error::Build(BuildError::Failed {
            failure: Box::new(failure.clone()),
            status: ExitStatus::from_raw(256),
        }));
        assert_eq!(error.failure(), Some(&failure));
        assert_eq!(error.exit_code(), 1);
        let text = error.lines().join("\n");
        assert_eq!(text.matches("did not complete").count(), 1, "{text}");
        assert!(
            text.contains("in the cluster caused by: no route"),
            "{text}"
        );
    }

    #[test]
    fn a_cancelled_fall_back_is_cancelled() {
        let error = after_the_cluster(Error::Cancelled);
        assert!(error.is_cancelled());
        assert_eq!(error.exit_code(), 130);
    }
}
