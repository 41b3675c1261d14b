//! `buildx build`: the build of one image, and the export of its cache by a second call.
//!
//! In: an image's plan. Out: what buildx made, or a [`BuildError`] that names the step, its last output and the Dockerfile's line.
//! Progress is redacted first, then given to the caller and shown in the log.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Instant;

use image::Digest;
use jiff::Timestamp;
use rustix::process::Signal;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::cache::Caches;
use super::failure::Failure;
use super::final_lines::FinalLines;
use super::metadata::{Metadata, MetadataError};
use super::progress::{Progress, one_line};
use super::rawjson::{Line, SolveStatus};
use super::silence::{self, Patience, Silence};
use super::{Tool, checks, command, rawjson, redact};
use crate::plan::ImagePlan;
use crate::process::{Command, Event, Ongoing, ProcessError};
use crate::runner::log::NOTICE;
use crate::runner::redact::Redactor;

/// The image was not built.
#[derive(Debug, Error)]
pub(crate) enum BuildError {
    #[error("{failure}")]
    Failed {
        failure: Box<Failure>,
        status: ExitStatus,
    },
    #[error("`call: {call}` found {findings}")]
    Checks {
        call: String,
        /// In words: `2 warnings`.
        findings: String,
        metadata: Box<Metadata>,
        status: ExitStatus,
    },
    #[error("could not run the build")]
    Process(#[source] ProcessError),
    #[error("could not read what buildx says it built")]
    Metadata(#[source] MetadataError),
    #[error("{silence}")]
    Silent {
        silence: Silence,
        /// The digest that was being pushed under tags.
        pushing: Option<Digest>,
    },
    #[error("the build was cancelled")]
    Cancelled,
}

const OUT_OF_MEMORY: &str = "buildx was killed, probably out of memory: use a larger runner, or run fewer jobs on it at the same time";

impl BuildError {
    /// Whether buildx lost its connection to the builder.
    pub(crate) fn is_disconnection(&self) -> bool {
        matches!(self, Self::Failed { failure, .. } if failure.is_disconnection())
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { failure, status } => failure.hint().or_else(|| {
                // The kernel ends the largest process where memory is short. A cancelled run ends otherwise.
                let is_killed = status.signal() == Some(Signal::KILL.as_raw());
                is_killed.then(|| OUT_OF_MEMORY.to_owned())
            }),
            Self::Silent { silence, .. } => Some(silence.hint().to_owned()),
            Self::Checks { .. } | Self::Process(_) | Self::Metadata(_) | Self::Cancelled => None,
        }
    }
}

/// The build of one image.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    pub image: &'a ImagePlan,
    /// Name of the builder.
    pub builder: &'a str,
    pub tool: &'a Tool,
    pub redactor: &'a Redactor,
    pub patience: Patience,
    /// Counts the calls of buildx that need the builder.
    pub ongoing: &'a Ongoing,
    pub cancel: &'a CancellationToken,
}

impl Build<'_> {
    /// Builds; `on_status` gets every status of the progress, without secrets.
    pub(crate) async fn run(
        &self,
        mut on_status: impl FnMut(&SolveStatus),
    ) -> Result<Metadata, BuildError> {
        let mut progress = Progress::default();
        let mut text = FinalLines::default();
        let mut command = self.command(command::build(self.image, self.builder));
        // Puts build checks and other warnings into the metadata file, as docker/build-push-action does.
        let warnings = ("BUILDX_METADATA_WARNINGS".to_owned(), "1".into());
        command.env.extend([warnings]);
        let cancel = self.cancel.child_token();
        let mut silence = None;
        let ongoing = self.ongoing.one();
        let build = command.stream(&cancel, |event| match event {
            Event::Stderr(line) => match rawjson::parse(line) {
                Line::Status(mut status) => {
                    redact::status(&mut status, self.redactor);
                    on_status(&status);
                    progress.show(&status, |line| tracing::info!("{line}"));
                }
                // A line of the stream that was cut.
                Line::Text(line) if line.starts_with('{') => {}
                Line::Text(line) => text.push(&line),
            },
            Event::Stdout(line) => tracing::info!("{}", one_line(&String::from_utf8_lossy(line))),
            Event::Second => {
                let now = Instant::now();
                progress.tick(now, Timestamp::now(), |line| tracing::info!("{line}"));
                if silence.is_none() {
                    let silent = progress.silent(now);
                    silence = silence::find(progress.running(), silent, self.patience)
                        .or_else(|| silence::find_idle(progress.running(), silent, self.patience));
                    if silence.is_some() {
                        cancel.cancel();
                    }
                }
            }
        });
        let ended = build.await;
        drop(ongoing);
        if let Some(silence) = silence.filter(|_| !self.cancel.is_cancelled()) {
            let pushing = progress.pushing().cloned();
            return Err(BuildError::Silent { silence, pushing });
        }
        let status = match ended {
            Err(ProcessError::Cancelled { .. }) => return Err(BuildError::Cancelled),
            other => other.map_err(BuildError::Process)?,
        };
        let says_error = |line: &String| line.trim_start().starts_with("ERROR: ");
        if let Some(call) = &self.image.call
            && call.is_check()
            && !status.success()
            && !text.iter().any(says_error)
        {
            let metadata = Metadata::read(&self.image.files).map_err(BuildError::Metadata)?;
            return Err(BuildError::Checks {
                call: call.text.clone(),
                findings: checks::count(checks::findings(&metadata).len()),
                metadata: Box::new(metadata),
                status,
            });
        }
        if !status.success() {
            return Err(BuildError::Failed {
                failure: Box::new(Failure::new(&progress, text.as_slice(), self.redactor)),
                status,
            });
        }
        for line in text.iter().filter(|line| !line.trim().is_empty()) {
            tracing::info!("{line}");
        }
        let mut metadata = Metadata::read(&self.image.files).map_err(BuildError::Metadata)?;
        metadata.caches = Caches::of(&progress);
        log_caches(&metadata.caches);
        metadata.push_started = progress.push_started();
        Ok(metadata)
    }

    /// buildx with the variables of the image.
    pub(super) fn command(&self, arguments: Vec<String>) -> Command {
        let mut command = self.tool.command(arguments);
        let variables = self.image.variables.iter();
        command
            .env
            .extend(variables.map(|(name, value)| (name.clone(), value.into())));
        command
    }
}

pub(super) fn log_caches(caches: &Caches) {
    match caches.unread_text() {
        Some(text) if caches.is_unexpected() => tracing::info!(target: NOTICE, "{text}"),
        Some(text) => tracing::info!("{text}"),
        None => {}
    }
    caches.warn_of_unwritten();
}
