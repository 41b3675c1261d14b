//! The end of a run, told: outputs, job summary, timings file. Written whether or not it built.
//!
//! In: an [`Outcome`]. Out: the runner's files where there is a runner, else lines on standard
//! output. Rendering is pure; [`write()`] is the only effect.

mod advice;
mod around;
mod cache;
mod checks;
mod gantt;
mod headline;
mod markdown;
pub(crate) mod outputs;
mod part;
mod phases;
mod redact;
mod runner;
mod settings;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod traffic;
mod units;
mod warnings;

use std::io::{self, Write as _};
use std::path::PathBuf;

use thiserror::Error;

use crate::buildx::metadata::Metadata;
use crate::plan::Plan;
use crate::registry::pushed::{Layer, PushedImage};
use crate::run::error::Error;
use crate::runner::env::Env;
use crate::runner::files::{self, FileCommandError, LARGEST_SUMMARY};
use crate::runner::owner;
use crate::runner::redact::Redactor;
use crate::timings::BuildTimings;
use crate::timings::schema::{self, Ended, LayerBytes, TimingsFile, WarningText};

pub(crate) use around::{Around, Registries};
pub(crate) use markdown::plain;
pub(crate) use units::duration;

/// All that is known at the end.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub plan: Plan,
    pub timings: BuildTimings,
    pub result: Result<Built, Error>,
    pub around: Around,
    pub redactor: Redactor,
}

/// What a successful build made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Built {
    pub metadata: Metadata,
    pub image: Option<PushedImage>,
}

impl Outcome {
    /// What buildx says about the build.
    fn metadata(&self) -> Option<&Metadata> {
        match &self.result {
            Ok(built) => Some(&built.metadata),
            Err(error) => error.metadata(),
        }
    }
}

/// The report could not be written.
#[derive(Debug, Error)]
pub(crate) enum ReportError {
    #[error(transparent)]
    Runner(#[from] FileCommandError),
    #[error("could not write the timings to `{}`", path.display())]
    Timings {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The summary within `limit` bytes for a comment, which nobody masks: without secrets, and without what the failed step printed, in which
/// nobody can tell what is one.
pub(crate) fn comment(outcome: &Outcome, limit: usize) -> String {
    let markdown = summary::comment(outcome, limit);
    outcome.redactor.without_secrets(&markdown)
}

/// The error with its place in the repository, if the plan's Dockerfile is a file of it.
pub(crate) fn placed(mut error: Error, plan: &Plan, env: &Env) -> Error {
    if let (Some(failure), Some(image)) = (error.failure_mut(), plan.images.first()) {
        let place = failure.place.as_ref();
        failure.in_repository = place.and_then(|(file, line)| {
            let path = checks::in_repository(file, image, env)?;
            Some((path.to_string_lossy().into_owned(), *line))
        });
    }
    error
}

/// Writes everything; one part that fails does not keep back the others.
///
/// # Errors
/// The first failure.
pub(crate) fn write(outcome: &Outcome, env: &Env) -> Result<(), ReportError> {
    checks::annotate(outcome, env);
    let parts = [
        write_outputs(outcome, env),
        write_summary(outcome, env),
        write_timings(outcome),
    ];
    parts.into_iter().collect()
}

fn write_outputs(outcome: &Outcome, env: &Env) -> Result<(), ReportError> {
    let outputs = outputs::outputs(outcome);
    if let Some(path) = env.path("GITHUB_OUTPUT") {
        let values = outputs.iter().map(|(name, value)| (*name, value.as_str()));
        files::append_values(path, values)?;
    } else {
        let mut out = io::stdout().lock();
        for (name, value) in &outputs {
            // A reader that went away has seen enough.
            let _ = writeln!(out, "{name}={}", value.replace('\n', ","));
        }
    }
    Ok(())
}

fn write_summary(outcome: &Outcome, env: &Env) -> Result<(), ReportError> {
    let Some(path) = env
        .path("GITHUB_STEP_SUMMARY")
        .filter(|_| outcome.plan.summary)
    else {
        return Ok(());
    };
    let summary = summary::render(outcome, LARGEST_SUMMARY);
    Ok(files::append_summary(path, &summary)?)
}

fn write_timings(outcome: &Outcome) -> Result<(), ReportError> {
    let Some(path) = &outcome.plan.timings_file else {
        return Ok(());
    };
    let error = |source| ReportError::Timings {
        path: path.clone(),
        source,
    };
    let text = serde_json::to_vec_pretty(&timings_file(outcome)).map_err(io::Error::other);
    text.and_then(|text| std::fs::write(path, text))
        .map_err(error)?;
    owner::give_back(path).map_err(error)
}

fn layer_bytes(layer: &Layer) -> LayerBytes {
    let (created_by, platform) = (layer.created_by.as_deref(), layer.platform.as_deref());
    LayerBytes::new(&layer.digest, layer.size, created_by, platform)
}

/// The timings of all images of the run.
fn timings_file(outcome: &Outcome) -> TimingsFile {
    let built = outcome.result.as_ref().ok();
    let image = built.and_then(|built| built.image.as_ref());
    let image = schema::Image {
        reference: image.map(|image| image.reference.as_str()),
        driver: outcome.plan.builder.driver.name(),
        builder: &outcome.plan.builder.name,
        result: match &outcome.result {
            Ok(_) => Ended::Success,
            Err(error) if error.is_cancelled() => Ended::Cancelled,
            Err(_) => Ended::Failure,
        },
        layers: image.map_or_else(Vec::new, |image| {
            image.layers.iter().map(layer_bytes).collect()
        }),
        bytes: image.and_then(|image| image.bytes),
        timings: &outcome.timings,
        warnings: warnings::warnings(outcome)
            .iter()
            .map(|warning| WarningText::new(&warning.text, warning.place.as_deref()))
            .collect(),
    };
    let mut file = TimingsFile::new(&outcome.around.runner, [image]);
    file.redact(&outcome.redactor);
    file
}
