//! Slowest steps, largest layers, all steps.
//!
//! In: timings and layers. Out: tables as [`Part`]s, whose rows may be dropped.

use super::markdown::cell_within;
use super::part::Part;
use super::phases::percent;
use super::units;
use crate::registry::pushed::Layer;
use crate::timings::{BuildTimings, Phase, Step};

/// Rows of the tables that stand open.
const ROWS: usize = 8;

/// Rows of the folded table of all steps.
const MOST_STEPS: usize = 500;

/// Characters of a name: longer ones would break the line.
const LONGEST_NAME: usize = 70;

/// What takes a smaller part of the whole is not worth a row.
const SMALLEST_SHARE: u32 = 100;

/// The slowest steps that ran.
pub(super) fn slowest(timings: &BuildTimings) -> Part {
    let slowest: Vec<&Step> = timings
        .slowest_steps()
        .into_iter()
        .filter(|step| !step.cached && step.duration * SMALLEST_SHARE >= timings.total)
        .take(ROWS)
        .collect();
    if slowest.is_empty() {
        return Part::default();
    }
    Part {
        head: "#### Slowest steps\n\n| Step | Time | Share |\n| :-- | --: | --: |\n".to_owned(),
        rows: slowest
            .iter()
            .map(|step| {
                format!(
                    "| {} | {} | {} % |\n",
                    described(step, timings),
                    whole(&units::duration(step.duration)),
                    percent(step.duration, timings.total)
                )
            })
            .collect(),
        foot: String::new(),
    }
}

/// The largest layers, and how many there are.
pub(super) fn layers(layers: &[Layer]) -> Part {
    if layers.is_empty() {
        return Part::default();
    }
    let total: u64 = layers
        .iter()
        .map(|layer| layer.size)
        .fold(0, u64::saturating_add);
    let mut largest: Vec<&Layer> = layers.iter().collect();
    largest.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    let shown = largest
        .iter()
        .take(ROWS)
        .take_while(|layer| u128::from(layer.size) * 100 >= u128::from(total))
        .count();
    // One row for a single small one takes no more room than its sum.
    let shown = if shown + 1 == largest.len() {
        shown + 1
    } else {
        shown
    };
    let rest = largest.split_off(shown);
    let mut rows: Vec<String> = largest
        .iter()
        .map(|layer| row(&code(&name(layer)), layer.size, total))
        .collect();
    if !rest.is_empty() {
        let size = rest.iter().map(|layer| layer.size).sum();
        rows.push(row(&format!("{} more layers", rest.len()), size, total));
    }
    Part {
        head: "#### Layers\n\n| Layer | Compressed | Share |\n| :-- | --: | --: |\n".to_owned(),
        rows,
        foot: String::new(),
    }
}

fn row(name: &str, size: u64, total: u64) -> String {
    let share = (u128::from(size) * 100 + u128::from(total) / 2) / u128::from(total.max(1));
    format!("| {name} | {} | {share} % |\n", whole(&units::bytes(size)))
}

/// A step's name, and what it does beside.
fn described(step: &Step, timings: &BuildTimings) -> String {
    let name = code(&without_digest(&step.name));
    let pushes = step.phase == Phase::Export && step.name.starts_with("exporting to ");
    if pushes && !timings.phase(Phase::Push).union.is_zero() {
        format!("{name} and pushing")
    } else {
        name
    }
}

fn code(text: &str) -> String {
    cell_within(text, LONGEST_NAME)
}

/// With spaces that don't break, so that number and unit stay together.
fn whole(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// What made the layer.
pub(super) fn name(layer: &Layer) -> String {
    let made = layer.created_by.clone().filter(|text| !text.is_empty());
    // As many digits of the digest as `docker images` shows.
    let digest = layer.digest.chars().take("sha256:".len() + 12);
    let made = made.unwrap_or_else(|| format!("base image, {}", digest.collect::<String>()));
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
    if timings.steps.len() <= ROWS {
        return Part::default();
    }
    let row = |step: &Step| {
        let state = match step {
            // A build goes on without it.
            Step {
                error: Some(_),
                phase: Phase::CacheImport | Phase::CacheExport,
                ..
            } => "not done",
            Step { error: Some(_), .. } => "failed",
            Step {
                completed: false, ..
            } => "did not end",
            Step { cached: true, .. } => "cached",
            _ => "",
        };
        format!(
            "| {} | {} | {} | {state} |\n",
            whole(&units::duration(step.started)),
            code(&without_digest(&step.name)),
            whole(&units::duration(step.duration)),
        )
    };
    let count = timings.steps.len();
    let title = if count > MOST_STEPS {
        format!("The first {MOST_STEPS} of {count} steps; the timings file has all")
    } else {
        format!("All {count} steps")
    };
    Part {
        head: format!(
            "<details><summary>{title}</summary>\n\n| Start | Step | Time | |\n| --: | :-- | --: | :-- |\n"
        ),
        rows: timings.steps.iter().take(MOST_STEPS).map(row).collect(),
        foot: "\n</details>\n".to_owned(),
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
    fn layers_are_named_by_what_made_them() {
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
    fn small_layers_are_summed_up() {
        let all: Vec<Layer> = (1..=12)
            .map(|size| layer(size * 1_000_000, Some("RUN x")))
            .collect();
        let part = layers(&all);
        assert_eq!(part.rows.len(), ROWS + 1);
        assert_eq!(part.rows[0], "| `RUN x` | 12.0\u{a0}MB | 15 % |\n");
        assert_eq!(part.rows[ROWS], "| 4 more layers | 10.0\u{a0}MB | 13 % |\n");
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
    fn cached_steps_are_not_slow() {
        let part = slowest(&Recording::open("cold-push").timings());
        assert!(part.rows[0].contains("RUN sleep 1"), "{part:?}");
        assert!(part.rows.len() <= ROWS);
    }
}
