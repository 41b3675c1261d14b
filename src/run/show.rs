//! What a run prints by itself: masks, the plan, the error it ends with.

use std::process::ExitCode;
use std::sync::Arc;

use super::Run;
use crate::aws::Mask;
use crate::plan::{Plan, SecretSource};
use crate::report;
use crate::run::error::Error;
use crate::runner::command::{Annotation, Level, masks};
use crate::runner::env::SECRETS;
use crate::runner::log::{self, Group};
use crate::timings::Traffic;

impl Run {
    /// Tells the runner to hide a text, before anything can print it.
    pub(super) fn mask(&self, secret: &str) {
        self.masking()(secret);
    }

    /// How a text is hidden: by the runner where one listens, and in what leaves the machine.
    pub(super) fn masking(&self) -> Mask {
        let redactor = self.redactor.clone();
        let on_runner = self.env.is_true("GITHUB_ACTIONS");
        let stream = self.stream;
        Arc::new(move |secret| {
            let is_exception = redactor.hide(secret);
            if !on_runner {
                return;
            }
            for line in masks(secret) {
                stream.print(&line);
            }
            if is_exception {
                tracing::info!(
                    target: log::NOTICE,
                    "a secret is not masked in the log: it is shorter than four characters or a common word, and the runner drops every \
                     output that contains a masked text"
                );
            }
        })
    }

    /// Hides the environment's secrets in what the runner does not mask; in the log it does so by itself.
    pub(super) fn hide_environment(&self) {
        let secrets = SECRETS.iter().filter_map(|name| self.env.get(name));
        for secret in secrets {
            self.redactor.hide(secret);
        }
    }

    /// Hides values that the plan names and that may be secrets.
    pub(super) fn hide(&self, plan: &Plan) {
        for image in &plan.images {
            for (name, value) in image.build_arguments() {
                let value = value.or_else(|| self.env.get(name));
                self.redactor.hide_argument(name, value.unwrap_or_default());
            }
            for secret in &image.secrets {
                if let SecretSource::Variable(name) = &secret.source {
                    self.redactor.hide(self.env.get(name).unwrap_or_default());
                }
            }
        }
        for (name, value) in plan.builder.variables() {
            self.redactor.hide_argument(name, value);
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
                        .in_repository
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
