//! Retries and warnings.
//!
//! In: an [`Image`]. Out: [`Part`]s for the summary, and plain text for the timings file.

use super::outcome::Image;
use super::part::Part;
use crate::buildx::rawjson::VertexWarning;
use crate::runner::markdown::{cell, code, plain};
use crate::timings::{BuildTimings, RetryTime, units};

/// A warning and the line it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub text: String,
    /// `Dockerfile:3`.
    pub place: Option<String>,
}

/// Warnings of the plan, of preflight and of BuildKit's build checks.
pub(super) fn warnings(image: &Image<'_>) -> Vec<Warning> {
    let outcome = image.run;
    let redactor = &outcome.redactor;
    let ours = outcome.plan.warnings.iter();
    let ours = ours.chain(&outcome.observed.registries.warnings);
    let ours = ours.map(|text| Warning {
        text: redactor.text(text),
        place: None,
    });
    // buildx adds them to the metadata for BUILDX_METADATA_WARNINGS.
    let checks = image
        .built
        .and_then(|built| built.metadata.json.get("buildx.build.warnings")?.as_array());
    let checks = checks
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

pub(super) fn part(warnings: &[Warning]) -> Part {
    if warnings.is_empty() {
        return Part::default();
    }
    let row = |warning: &Warning| match &warning.place {
        Some(place) => format!("- {} ({})\n", plain(&warning.text), code(place)),
        None => format!("- {}\n", plain(&warning.text)),
    };
    let count = counted(warnings.len(), "warning", "warnings");
    Part::folded(&count, "", warnings.iter().map(row).collect())
}

/// The retries, not folded: they are rare.
pub(super) fn retries(timings: &BuildTimings) -> Part {
    let row = |retry: &RetryTime| {
        let [failed, wait] = [retry.failed, retry.wait].map(units::unbroken);
        format!(
            "| {} | {} | {failed} | {wait} |\n",
            plain(&retry.what),
            cell(&retry.why)
        )
    };
    let head =
        "#### Retries\n\n| What | Error | Failed after | Waited |\n| :-- | :-- | --: | --: |\n";
    Part::rows(head, timings.retries.iter().map(row).collect())
}

/// `1 retry`, `2 retries`; none if there was none.
pub(super) fn count(timings: &BuildTimings) -> Option<String> {
    let count = timings.retries.len();
    (count > 0).then(|| counted(count, "retry", "retries"))
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
