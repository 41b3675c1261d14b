//! Slowest steps, largest layers, all steps.
//!
//! In: timings and layers. Out: tables as [`Part`]s.

use super::part::Part;
use super::phases::percent;
use crate::registry::pushed::Layer;
use crate::runner::markdown::cell_within;
use crate::timings::{BuildTimings, Phase, Step, command, units};

/// Rows of the tables that are not folded.
const ROWS: usize = 8;

/// Rows of the folded table of all steps.
const MOST_STEPS: usize = 500;

/// Longest name (characters): longer ones would break the line.
const LONGEST_NAME: usize = 70;

/// Steps below this part of the total get no row.
const SMALLEST_SHARE: u32 = 100;

pub(super) fn slowest(timings: &BuildTimings) -> Part {
    let slowest = timings.slowest_steps().into_iter();
    let slowest = slowest
        .filter(|step| !step.cached && step.duration * SMALLEST_SHARE >= timings.total)
        .take(ROWS);
    let rows = slowest
        .map(|step| {
            let mut name = code(&without_digest(&step.name));
            let exports = step.phase == Phase::Export && step.name.starts_with("exporting to ");
            if exports && !timings.phase(Phase::Push).union.is_zero() {
                name.push_str(" and pushing");
            }
            let time = units::unbroken(step.duration);
            let share = percent(step.duration, timings.total);
            format!("| {name} | {time} | {share} % |\n")
        })
        .collect();
    let head = "#### Slowest steps\n\n| Step | Time | Share |\n| :-- | --: | --: |\n";
    Part::rows(head, rows)
}

/// The largest layers, and how many there are.
pub(super) fn layers(layers: &[Layer]) -> Part {
    let sum = |layers: &[&Layer]| -> u64 {
        let sizes = layers.iter().map(|layer| layer.size);
        sizes.fold(0, u64::saturating_add)
    };
    let mut largest: Vec<&Layer> = layers.iter().collect();
    largest.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    let total = sum(&largest);
    let shown = largest.iter().take(ROWS);
    let mut shown = shown
        .take_while(|layer| u128::from(layer.size) * 100 >= u128::from(total))
        .count();
    // A row for one small layer is as short as one for "1 more layer".
    if shown + 1 == largest.len() {
        shown += 1;
    }
    let rest = largest.split_off(shown);
    let mut rows: Vec<String> = largest
        .iter()
        .map(|layer| row(&code(&name(layer)), layer.size, total))
        .collect();
    if !rest.is_empty() {
        let name = format!("{} more layers", rest.len());
        rows.push(row(&name, sum(&rest), total));
    }
    let head = "#### Layers\n\n| Layer | Compressed | Share |\n| :-- | --: | --: |\n";
    Part::rows(head, rows)
}

fn row(name: &str, size: u64, total: u64) -> String {
    let share = (u128::from(size) * 100 + u128::from(total) / 2) / u128::from(total.max(1));
    let size = units::bytes(size).replace(' ', "\u{a0}");
    format!("| {name} | {size} | {share} % |\n")
}

pub(super) fn code(text: &str) -> String {
    cell_within(text, LONGEST_NAME)
}

pub(super) fn name(layer: &Layer) -> String {
    let made = layer.created_by.clone().filter(|text| !text.is_empty());
    let made = made.unwrap_or_else(|| {
        // As many digits as `docker images` shows.
        let digest: String = layer.digest.chars().take("sha256:".len() + 12).collect();
        format!("base image, {digest}")
    });
    match &layer.platform {
        Some(platform) => format!("[{platform}] {made}"),
        None => made,
    }
}

/// `FROM python:3.11@sha256:…` without the digest, which would fill the row.
pub(super) fn without_digest(name: &str) -> String {
    let Some((before, after)) = name.split_once("@sha256:") else {
        return name.to_owned();
    };
    let rest = after.trim_start_matches(|character: char| character.is_ascii_hexdigit());
    format!("{before}{rest}")
}

/// All steps by start, folded.
pub(super) fn all(timings: &BuildTimings) -> Part {
    let count = timings.steps.len();
    if count <= ROWS {
        return Part::default();
    }
    let row = |step: &Step| {
        format!(
            "| {} | {} | {} | {} |\n",
            units::unbroken(step.started),
            code(&without_digest(&step.name)),
            units::unbroken(step.duration),
            state(step, timings),
        )
    };
    let title = if count > MOST_STEPS {
        format!("The first {MOST_STEPS} of {count} steps; the timings file has all")
    } else {
        format!("All {count} steps")
    };
    let rows = timings.steps.iter().take(MOST_STEPS).map(row);
    let head = "| Start | Step | Time | |\n| --: | :-- | --: | :-- |\n";
    Part::folded(&title, head, rows.collect())
}

fn state(step: &Step, timings: &BuildTimings) -> &'static str {
    // BuildKit runs a step once if two platforms need the same: it cancels the other.
    let is_twin = |other: &&Step| {
        other.error.is_none()
            && other.platform != step.platform
            && (&other.stage, command(&other.name)) == (&step.stage, command(&step.name))
    };
    match step.phase {
        _ if step.is_cancelled() && timings.steps.iter().any(|other| is_twin(&other)) => {
            "ran for another platform"
        }
        _ if step.is_cancelled() => "cancelled",
        // The build goes on without a cache.
        Phase::CacheImport | Phase::CacheExport if step.has_failed() => "not done",
        _ if step.has_failed() => "failed",
        _ if !step.completed => "did not end",
        _ if step.cached => "cached",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timings::tests::recording::Recording;

    fn layer(size: u64, created_by: Option<&str>) -> Layer {
        Layer {
            digest: "sha256:abc".to_owned(),
            size,
            created_by: created_by.map(str::to_owned),
            platform: None,
        }
    }

    #[test]
    fn layers_are_named_by_their_instruction() {
        let cases = [
            (Some("COPY . ."), "COPY . ."),
            (Some(""), "base image, sha256:abc"),
            (None, "base image, sha256:abc"),
        ];
        for (created_by, expected) in cases {
            assert_eq!(name(&layer(1, created_by)), expected);
        }
        let cross = Layer {
            platform: Some("linux/arm64".to_owned()),
            ..layer(1, Some("COPY a b"))
        };
        assert_eq!(name(&cross), "[linux/arm64] COPY a b");
    }

    #[test]
    fn small_layers_are_added_up() {
        let all: Vec<Layer> = (1..=12)
            .map(|size| layer(size * 1_000_000, Some("RUN x")))
            .collect();
        let part = layers(&all);
        assert_eq!(part.rows.len(), ROWS + 1);
        assert_eq!(part.rows[0], "| `RUN x` | 12.0\u{a0}MB | 15 % |\n");
        assert_eq!(part.rows[ROWS], "| 4 more layers | 10.0\u{a0}MB | 13 % |\n");
    }

    fn states(timings: &BuildTimings) -> Vec<&'static str> {
        let steps = timings.steps.iter();
        steps.map(|step| state(step, timings)).collect()
    }

    #[test]
    fn each_step_says_how_it_ended() {
        let failed = Recording::open("failing-run").timings();
        let at = |phase: Phase, error: Option<&str>, completed| Step {
            phase,
            error: error.map(str::to_owned),
            completed,
            cached: false,
            ..failed.steps[0].clone()
        };
        let cases = [
            (at(Phase::Build, None, true), ""),
            (at(Phase::Build, Some("exit code: 3"), true), "failed"),
            (at(Phase::Build, None, false), "did not end"),
            (at(Phase::CacheImport, Some("not found"), true), "not done"),
            (at(Phase::CacheExport, Some("denied"), false), "not done"),
            (
                Step {
                    cached: true,
                    ..at(Phase::Build, None, true)
                },
                "cached",
            ),
        ];
        // The table of all steps is for builds with more than a few.
        let steps = cases.iter().cycle().take(ROWS + 1);
        let timings = BuildTimings {
            steps: steps.map(|(step, _)| step.clone()).collect(),
            ..failed.clone()
        };
        let rows = all(&timings).rows;
        assert_eq!(rows.len(), ROWS + 1);
        for (row, (step, state)) in rows.iter().zip(&cases) {
            assert!(row.ends_with(&format!("| {state} |\n")), "{row} {step:?}");
        }
    }

    #[test]
    fn a_step_that_ran_for_another_platform_is_not_a_failure() {
        let mut timings = Recording::open("two-platforms").timings();
        let is_run = |step: &Step| step.name.contains("RUN sleep");
        let step = timings
            .steps
            .iter()
            .find(|step| is_run(step))
            .unwrap()
            .clone();
        timings.steps = ["linux/amd64", "linux/arm64"]
            .map(|platform| Step {
                name: format!("[{platform} builder 2/2] RUN make"),
                platform: Some(platform.to_owned()),
                ..step.clone()
            })
            .to_vec();
        // The error of a step that BuildKit cancels ends like this.
        timings.steps[1].error = Some("context canceled: context canceled".to_owned());
        assert_eq!(states(&timings), ["", "ran for another platform"]);
        // A step that BuildKit stopped because another one failed.
        timings.steps[0].error = Some("exit code: 1".to_owned());
        assert_eq!(states(&timings), ["failed", "cancelled"]);
    }

    #[test]
    fn cached_steps_are_not_slow() {
        let part = slowest(&Recording::open("cold-push").timings());
        assert!(part.rows[0].contains("RUN sleep 1"), "{part:?}");
        assert!(part.rows.len() <= ROWS);
    }
}
