//! The build: buildx as a child, its progress read line by line.
//!
//! In: an image's command line. Out: what buildx says it made, or a [`BuildError`] that names the
//! step, its last words and the Dockerfile's line. Progress comes as `rawjson`
//! ([`rawjson::SolveStatus`], one a line on standard error); the log shows it as text
//! ([`progress`]), the recorder keeps its times.

pub(crate) mod cache;
pub(crate) mod catalogue;
pub(crate) mod checks;
mod closing;
pub(crate) mod failure;
pub(crate) mod metadata;
pub(crate) mod progress;
pub(crate) mod rawjson;
mod redact;
mod room;
pub(crate) mod write_cache;

use std::process::ExitStatus;
use std::time::Instant;

use jiff::Timestamp;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::builder::Tool;
use crate::plan::{ImagePlan, Place};
use crate::process::{Command, Event, ProcessError};
use crate::runner::log::NOTICE;
use crate::runner::redact::Redactor;
use crate::timings::Recorder;
use cache::Caches;
use closing::Closing;
use failure::Failure;
use metadata::{Metadata, MetadataError};
use progress::{Progress, one_line};

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
    #[error("the build was cancelled")]
    Cancelled,
}

impl BuildError {
    /// Whether buildx lost its connection to the builder.
    pub(crate) fn is_disconnection(&self) -> bool {
        matches!(self, Self::Failed { failure, .. } if failure.is_disconnection())
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { failure, .. } => failure.hint(),
            Self::Checks { .. } | Self::Process(_) | Self::Metadata(_) | Self::Cancelled => None,
        }
    }
}

/// Builds one image.
///
/// # Errors
/// When buildx can't be run, the build fails, or the run is cancelled.
pub(crate) async fn run(
    image: &ImagePlan,
    place: &Place,
    tool: &Tool,
    recorder: &mut Recorder,
    redactor: &Redactor,
    cancel: &CancellationToken,
) -> Result<Metadata, BuildError> {
    let mut progress = Progress::default();
    let mut text = Closing::default();
    let mut command = child(&image.argv, image, tool);
    // Build checks and other warnings then stand in the metadata file, as with
    // docker/build-push-action.
    command
        .env
        .insert("BUILDX_METADATA_WARNINGS".to_owned(), "1".into());
    let build = command.stream(cancel, |event| match event {
        Event::Stderr(line) => match rawjson::parse(line) {
            rawjson::Line::Status(mut status) => {
                redact::status(&mut status, redactor);
                recorder.record(&status, Timestamp::now());
                progress.show(&status, |line| tracing::info!("{line}"));
            }
            // A line of the stream that was cut: nothing that a person can read.
            rawjson::Line::Text(line) if line.starts_with('{') => {}
            rawjson::Line::Text(line) => text.push(&line),
        },
        Event::Stdout(line) => tracing::info!("{}", one_line(&String::from_utf8_lossy(line))),
        Event::Second => progress.tick(Instant::now(), Timestamp::now(), |line| {
            tracing::info!("{line}");
        }),
    });
    let status = match build.await {
        Err(ProcessError::Cancelled { .. }) => return Err(BuildError::Cancelled),
        other => other.map_err(BuildError::Process)?,
    };
    let says_error = |line: &String| line.trim_start().starts_with("ERROR: ");
    if let Some(call) = &image.call
        && call.is_check()
        && !status.success()
        && !text.iter().any(says_error)
    {
        let metadata = Metadata::read(place).map_err(BuildError::Metadata)?;
        return Err(BuildError::Checks {
            call: call.text.clone(),
            findings: checks::count(checks::findings(&metadata).len()),
            metadata: Box::new(metadata),
            status,
        });
    }
    if !status.success() {
        return Err(BuildError::Failed {
            failure: Box::new(Failure::new(&progress, text.as_slice(), redactor)),
            status,
        });
    }
    for line in text.iter().filter(|line| !line.trim().is_empty()) {
        tracing::info!("{line}");
    }
    let mut metadata = Metadata::read(place).map_err(BuildError::Metadata)?;
    metadata.caches = Caches::of(&progress);
    tell(&metadata.caches);
    metadata.push_started = progress.push_started();
    Ok(metadata)
}

/// buildx with an image's command line.
fn child(argv: &[String], image: &ImagePlan, tool: &Tool) -> Command {
    let mut command = Command::new(&tool.program).args(argv.iter().skip(1));
    command.env = tool.env.clone();
    for (name, value) in &image.variables {
        command.env.insert(name.clone(), value.into());
    }
    command
}

/// What the user should know of the caches: one line for all that could not be read.
fn tell(caches: &Caches) {
    match caches.unread_words() {
        Some(words) if caches.is_worth_a_notice() => tracing::info!(target: NOTICE, "{words}"),
        Some(words) => tracing::info!("{words}"),
        None => {}
    }
    tell_unwritten(caches);
}

fn tell_unwritten(caches: &Caches) {
    if let Some(words) = caches.unwritten_words() {
        tracing::warn!("{words}");
    }
}
