//! The report: outputs, job summary, timings file. Written whether or not the build succeeded.
//!
//! In: an [`Outcome`]. Out: the runner's files, or lines on standard output without a runner. Rendering is pure; [`write()`] is the only
//! effect.

mod advice;
mod cache;
mod checks;
mod gantt;
mod headline;
mod observed;
mod outcome;
pub(crate) mod outputs;
mod part;
mod phases;
mod push;
mod runner;
mod settings;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod timings_file;
pub(crate) mod traffic;
mod warnings;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::runner::env::Env;
use crate::runner::files::{self, FileCommandError, LARGEST_SUMMARY};
use crate::runner::log::Stream;
use crate::runner::{owner, visible};
use headline::Tail;

pub(crate) use checks::in_repository;
pub(crate) use observed::{Observed, Registries, largest_entries};
pub(crate) use outcome::{Built, Failure, FailureKind, ImageOutcome, Outcome};

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

/// The summary within `limit` bytes for a comment, which the runner does not mask: without secrets, and without the failed step's output, which
/// may have unknown ones.
pub(crate) fn comment(outcome: &Outcome, limit: usize) -> String {
    let markdown = summary::render(outcome, Tail::Omitted, limit);
    outcome.redactor.without_secrets(&markdown)
}

/// Writes everything, even if a part fails.
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
        for (name, value) in &outputs {
            let value = visible::one_line(&value.replace('\n', ","));
            Stream::Output.print(&format!("{name}={value}"));
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
    let summary = summary::render(outcome, Tail::Shown, LARGEST_SUMMARY);
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
    let text =
        serde_json::to_vec_pretty(&timings_file::timings_file(outcome)).map_err(io::Error::other);
    text.and_then(|text| std::fs::write(path, text))
        .map_err(error)?;
    owner::give_back(path).map_err(error)
}
