//! What was done again, and what was said about the build.
//!
//! In: an [`Outcome`]. Out: [`Part`]s for the summary and the same as plain text for the timings file.

use super::markdown::{cell, code, plain};
use super::part::Part;
use super::{Outcome, units};
use crate::buildx::rawjson::VertexWarning;
use crate::timings::{BuildTimings, RetryTime};

/// A warning in words, and the line that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub text: String,
    /// `Dockerfile:3`.
    pub place: Option<String>,
}

/// Warnings of the plan, of the registries and of BuildKit's build checks.
pub(super) fn warnings(outcome: &Outcome) -> Vec<Warning> {
    let redactor = &outcome.redactor;
    let said = |text: &String| Warning {
        text: redactor.text(text),
        place: None,
    };
    let ours = outcome.plan.warnings.iter();
    let ours = ours.chain(&outcome.around.registries.warnings).map(said);
    // Asked for with BUILDX_METADATA_WARNINGS.
    let checks = outcome
        .result
        .as_ref()
        .ok()
        .and_then(|built| built.metadata.json.get("buildx.build.warnings")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(|check| serde_json::from_value::<VertexWarning>(check.clone()).ok());
    let checks = checks.map(|check| {
        let file = check.source.map(|source| source.filename);
        let line = check.range.first().map(|range| range.start.line);
        Warning {
            text: redactor.text(&check.short),
            place: file.zip(line).map(|(file, line)| format!("{file}:{line}")),
        }
    });
    ours.chain(checks).collect()
}

/// The warnings, folded.
pub(super) fn part(warnings: &[Warning]) -> Part {
    if warnings.is_empty() {
        return Part::default();
    }
    let row = |warning: &Warning| match &warning.place {
        Some(place) => format!("- {} ({})\n", plain(&warning.text), code(place)),
        None => format!("- {}\n", plain(&warning.text)),
    };
    Part {
        head: format!(
            "<details><summary>{}</summary>\n\n",
            counted(warnings.len(), "warning", "warnings")
        ),
        rows: warnings.iter().map(row).collect(),
        foot: "\n</details>\n".to_owned(),
    }
}

/// What was done again: rare, and worth to be seen at once.
pub(super) fn retries(timings: &BuildTimings) -> Part {
    if timings.retries.is_empty() {
        return Part::default();
    }
    let row = |retry: &RetryTime| {
        format!(
            "| {} | {} | {} | {} |\n",
            plain(&retry.what),
            cell(&retry.why),
            whole(retry.failed),
            whole(retry.wait)
        )
    };
    Part {
        head: "#### Tried again\n\n| What | Why | Failed after | Waited |\n| :-- | :-- | --: | --: |\n"
            .to_owned(),
        rows: timings.retries.iter().map(row).collect(),
        foot: String::new(),
    }
}

/// `1 retry`, `2 retries`; none where there was none.
pub(super) fn count(timings: &BuildTimings) -> Option<String> {
    let count = timings.retries.len();
    (count > 0).then(|| counted(count, "retry", "retries"))
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn whole(duration: std::time::Duration) -> String {
    units::duration(duration).replace(' ', "\u{a0}")
}
