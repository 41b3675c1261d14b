//! What a run prints by itself: masks, the plan, the error it ends with.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::Run;
use crate::aws::Mask;
use crate::buildx::command;
use crate::inputs::driver_options::DriverOption;
use crate::plan::{Acceleration, CachePlan, Plan, SecretSource};
use crate::process::shell_line;
use crate::report;
use crate::run::error::Error;
use crate::runner::command::{Annotation, Level, masks};
use crate::runner::env::SECRETS;
use crate::runner::log::{Group, NOTICE, TITLE};
use crate::timings::Traffic;

/// Of a larger file of `secret-files` only so much is hidden (bytes).
const LARGEST_SECRET: u64 = 64 * 1024;

impl Run {
    /// Hides a text before anything can print it.
    pub(super) fn mask(&self, secret: &str) {
        self.masking()(secret);
    }

    /// How a text is hidden: by the runner in the log, and by us in what leaves the machine.
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
                    target: NOTICE,
                    "a secret is not masked in the log: it is shorter than four characters or a common word, and the runner drops every \
                     output that contains a masked text"
                );
            }
        })
    }

    /// Hides the environment's secrets in what the runner does not mask. In the log it masks them itself.
    pub(super) fn hide_environment(&self) {
        let secrets = SECRETS.iter().filter_map(|name| self.env.get(name));
        for secret in secrets {
            self.redactor.hide(secret);
        }
    }

    /// Hides values that the plan names and that may be secret.
    pub(super) fn hide(&self, plan: &Plan) {
        for image in &plan.images {
            for argument in &image.build_args {
                let value = argument.value.as_deref();
                let value = value.or_else(|| self.env.get(&argument.name));
                self.redactor
                    .hide_argument(&argument.name, value.unwrap_or_default());
            }
            for secret in &image.secrets {
                match &secret.source {
                    SecretSource::Variable(name) => {
                        self.redactor.hide(self.env.get(name).unwrap_or_default());
                    }
                    // buildx reports one that cannot be read.
                    SecretSource::File(path) => {
                        let text = read_secret(path).unwrap_or_default();
                        self.redactor.hide(&String::from_utf8_lossy(&text));
                    }
                    SecretSource::Written(_) | SecretSource::GitToken(_) => {}
                }
            }
        }
        for (name, value) in plan.builder.variables() {
            self.redactor.hide_argument(name, value);
        }
    }

    /// Shows an error once, at the end.
    pub(super) fn fail(&self, error: &Error) -> ExitCode {
        let lines = error.lines();
        if let Some(failure) = error.failure() {
            for line in &failure.tail {
                tracing::info!("  {line}");
            }
            if self.env.is_true("GITHUB_ACTIONS") {
                let annotation = Annotation {
                    level: Level::Error,
                    title: TITLE,
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

/// As much of a file as may be a password, a token or a key.
fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // Opening anything but a file could make us wait.
    if fs::metadata(path)?.is_file() {
        let file = File::open(path)?;
        file.take(LARGEST_SECRET).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// Logs a plan, its notices and its warnings.
pub(super) fn plan_with_remarks(plan: &Plan) {
    self::plan(plan);
    remarks(&plan.notices, &plan.warnings);
}

/// Logs a plan alone.
pub(super) fn plan(plan: &Plan) {
    let _group = Group::open("Plan");
    for row in rows(plan) {
        tracing::info!("{row}");
    }
}

/// Logs the notices and warnings that another plan adds.
pub(super) fn changes(before: &Plan, after: &Plan) {
    let added = |before: &[String], after: &[String]| -> Vec<String> {
        let added = after.iter().filter(|text| !before.contains(text));
        added.cloned().collect()
    };
    remarks(
        &added(&before.notices, &after.notices),
        &added(&before.warnings, &after.warnings),
    );
}

fn remarks(notices: &[String], warnings: &[String]) {
    for notice in notices {
        tracing::info!(target: NOTICE, "{notice}");
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Logs what went over a cluster's API server.
pub(super) fn traffic(traffic: Traffic) {
    tracing::info!(
        "over the Kubernetes API: {}",
        report::traffic::line(traffic)
    );
    if let Some(warning) = report::traffic::warning(traffic) {
        tracing::warn!("{warning}");
    }
}

/// The plan as lines for people, without values of build arguments.
fn rows(plan: &Plan) -> Vec<String> {
    let builder = &plan.builder;
    let driver = builder.driver.name();
    let options = builder.options.iter().map(DriverOption::redacted);
    let options: String = options.map(|option| format!(" {option}")).collect();
    let mut rows = vec![format!("builder   {} ({}){options}", driver, builder.name)];
    let mut row = |title: &str, value: &dyn std::fmt::Display| {
        rows.push(format!("{title:<9} {value}"));
    };
    for image in &plan.images {
        row("context", &image.context.argument());
        image.tags.iter().for_each(|tag| row("tag", tag));
        image.labels.iter().for_each(|label| row("label", label));
        let platforms = image.platforms.iter();
        platforms.for_each(|platform| row("platform", platform));
        let secrets = image.secrets.iter();
        secrets.for_each(|secret| row("secret", &secret.id));
        row("cache", &cache(&image.cache));
        let imports = image.cache_from.iter();
        imports.for_each(|import| row("import", import));
        let exports = image.cache_to.iter();
        exports.for_each(|export| row("export", export));
        let outputs = image.outputs.iter();
        outputs.for_each(|output| row("output", output));
        let program = plan.buildx.to_string_lossy();
        let command = |arguments: Vec<String>| {
            let arguments = arguments.into_iter().map(Cow::from);
            shell_line(std::iter::once(program.clone()).chain(arguments))
        };
        match &image.acceleration {
            Acceleration::Engine(_) => row("push", &"push engine"),
            Acceleration::Plain(Some(reason)) => row("push", &format!("BuildKit ({reason})")),
            Acceleration::Plain(None) => {}
        }
        row("command", &command(command::build(image, &builder.name)));
        if let Some(arguments) = command::export_cache(image, &builder.name) {
            row("then", &command(arguments));
        }
    }
    rows
}

/// `registry (the builder's disk is new in every run)`.
fn cache(plan: &CachePlan) -> String {
    match plan.reason.as_str() {
        "" => plan.kind.name().to_owned(),
        reason => format!("{} ({reason})", plan.kind.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::{Inputs, RawInputs};
    use crate::plan::RunDir;

    #[test]
    fn build_arguments_are_shown_by_name_only() {
        let raw = [("tags", "r.example/a:1"), ("build-args", "TOKEN=hidden")];
        let inputs = Inputs::parse(&raw.into_iter().collect::<RawInputs>()).unwrap();
        let facts = Facts::example(ImageStore::Containerd);
        let plan = Plan::new(&inputs, None, &facts, &RunDir::at("/run".as_ref())).unwrap();
        let text = rows(&plan).join("\n");
        assert!(text.contains("TOKEN=…"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}
