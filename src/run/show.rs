//! What a run prints by itself: masks, the plan, the error it ends with.

use std::process::ExitCode;

use super::Run;
use crate::credentials::aws::Mask;
use crate::error::Error;
use crate::github::command::{Annotation, Level, masks};
use crate::log::{self, Group, Stream};
use crate::plan::Plan;
use crate::report;
use crate::timings::Traffic;

impl Run {
    /// Tells the runner to hide a text, before anything can print it.
    pub(super) fn mask(&self, secret: &str) {
        self.masking()(secret);
    }

    /// How a text is hidden: not at all where no runner listens.
    pub(super) fn masking(&self) -> Mask {
        if !self.env.is_true("GITHUB_ACTIONS") {
            return |_| {};
        }
        match self.stream {
            Stream::Output => |secret| hide(secret, Stream::Output),
            Stream::Error => |secret| hide(secret, Stream::Error),
        }
    }

    /// Shows an error once, at the edge.
    pub(super) fn fail(&self, error: &Error) -> ExitCode {
        let lines = error.lines();
        if let Some(failure) = error.failure() {
            for line in &failure.tail {
                tracing::info!("  {line}");
            }
            if self.env.is_true("GITHUB_ACTIONS") {
                let annotation = Annotation {
                    level: Level::Error,
                    title: log::TITLE,
                    message: &lines.join("\n"),
                    place: failure
                        .place
                        .as_ref()
                        .map(|(file, line)| (file.as_str(), *line)),
                };
                self.stream.print(&annotation.line());
                return ExitCode::from(error.exit_code());
            }
        }
        tracing::error!("{}", lines.join("\n"));
        ExitCode::from(error.exit_code())
    }
}

fn hide(secret: &str, stream: Stream) {
    for line in masks(secret) {
        stream.print(&line);
    }
}

pub(super) fn show(plan: &Plan) {
    let group = Group::open("Plan");
    for line in plan.to_string().lines() {
        tracing::info!("{line}");
    }
    drop(group);
    for notice in &plan.notices {
        tracing::info!(target: log::NOTICE, "{notice}");
    }
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
}

/// What went over a cluster's API server.
pub(super) fn traffic(traffic: Traffic) {
    tracing::info!(
        "over the Kubernetes API: {}",
        report::traffic::line(traffic)
    );
    if let Some(warning) = report::traffic::warning(traffic) {
        tracing::warn!("{warning}");
    }
}
