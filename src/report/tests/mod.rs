//! Whole summaries: of recorded builds, of hostile ones, and within any limit.
//!
//! Each summary is also written to `target/report`: `tools/report/run` passes it to a Markdown renderer and Mermaid.

mod bad_input;

use std::path::{Path, PathBuf};
use std::time::Duration;

use image::ImageRef;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::timings_file::timings_file;
use super::{Built, Failure, FailureKind, ImageOutcome, Observed, Outcome, Tail, outputs, summary};
use crate::buildx::metadata::Metadata;
use crate::facts::{Facts, ImageStore};
use crate::inputs::cache::{Backend, CacheEntry};
use crate::inputs::{Inputs, RawInputs};
use crate::plan::{Plan, RunDir};
use crate::registry::pushed::{Layer, PushedImage};
use crate::runner::redact::Redactor;
use crate::timings::tests::recording::{self, Recording, skewed};
use crate::timings::{BuildTimings, Phase, RetryTime, Step};

const LIMIT: usize = 1024 * 1024;

/// Syntax of Markdown, HTML and Mermaid, and characters without a meaning.
const HOSTILE: &str = "a|b \\| ``` ` </details></td><script>alert(1)</script> <img src=x> [x](javascript:y) @octocat #1 %%{init}%% \
                       *_~ :crit, 5, 6 🎉 \u{202e}مرحبا\u{0} \r\n section x \n---\n";

fn plan(pairs: &[(&'static str, &str)]) -> Plan {
    let mut given = RawInputs::default();
    for (name, text) in pairs {
        given.set(name, (*text).to_owned());
    }
    let facts = Facts::example(ImageStore::Containerd);
    let dir = RunDir::at("/run/fast-ecr-push-x1".as_ref());
    Plan::new(&Inputs::parse(&given).unwrap(), None, &facts, &dir).unwrap()
}

/// A name with any text as its tag.
pub(super) fn tagged(tag: &str) -> ImageRef {
    let name: ImageRef = "registry.test/app".parse().unwrap();
    name.with_tag(tag)
}

pub(super) fn outcome(timings: BuildTimings, layers: Vec<Layer>) -> Outcome {
    let digest = format!("sha256:{}", "a".repeat(64));
    Outcome {
        plan: plan(&[
            ("tags", "registry.test/app:1\nregistry.test/app:latest"),
            ("build-args", "TOKEN=hush\nMODE=release"),
            ("cache-to", "type=gha,token=hush,mode=max"),
        ]),
        images: vec![ImageOutcome {
            timings,
            built: Some(Built {
                existed: false,
                unchanged: None,
                metadata: Metadata::default(),
                image: Some(PushedImage {
                    reference: format!("registry.test/app@{digest}"),
                    registry: "registry.test".to_owned(),
                    bytes: Some(
                        layers
                            .iter()
                            .map(|layer| layer.size)
                            .fold(0, u64::saturating_add),
                    ),
                    layers,
                    unchanged: false,
                }),
                engine: None,
            }),
            context: Vec::new(),
        }],
        failure: None,
        observed: Observed::default(),
        redactor: Redactor::default(),
    }
}

fn layers(count: u64, name: &str) -> Vec<Layer> {
    let layer = |index| Layer {
        digest: format!("sha256:{index}"),
        size: index * 10_000_000,
        created_by: Some(format!("{name} {index}")),
        platform: None,
    };
    (1..=count).map(layer).collect()
}

/// As many steps, for four platforms, all with this name.
fn steps(count: u64, name: &str) -> BuildTimings {
    // The recorder cuts longer ones.
    let cut = |text: &str| text.chars().take(250).collect::<String>();
    let mut timings = Recording::open("cold-push").timings();
    timings.total = Duration::from_secs(count.max(60));
    timings.steps = (0..count)
        .map(|index| {
            let platform = ["amd64", "arm64", "s390x", "riscv64"][index as usize % 4];
            Step {
                name: cut(&format!(
                    "[linux/{platform} builder {index}/{count}] RUN {name}"
                )),
                platform: Some(format!("linux/{platform}")),
                stage: Some(cut(name)),
                phase: Phase::Build,
                started: Duration::from_millis(index * 100),
                duration: Duration::from_millis(500 + index * 20),
                cached: false,
                error: (index == 7).then(|| cut(name)),
                completed: index != 8,
                bytes: 0,
            }
        })
        .collect();
    timings
}

/// Makes it the outcome of a run that ended before the image was built.
pub(super) fn fail(outcome: &mut Outcome, kind: FailureKind, line: &str) {
    outcome.images[0].built = None;
    outcome.failure = Some(Failure {
        kind,
        lines: vec![line.to_owned()],
        ..Failure::default()
    });
}

fn render(outcome: &Outcome) -> String {
    summary::render(outcome, Tail::Shown, LIMIT)
}

fn corpus() -> Vec<(String, String)> {
    outcomes()
        .iter()
        .map(|(name, outcome)| (name.clone(), render(outcome)))
        .collect()
}

/// Where a file for the renderers goes.
fn left(folder: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/report")
        .join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn outcomes() -> Vec<(String, Outcome)> {
    let mut all: Vec<(String, Outcome)> = recording::all()
        .into_iter()
        .map(|(name, recording)| (name, outcome(recording.timings(), layers(5, "RUN make"))))
        .collect();
    let mut add = |name: &str, outcome: Outcome| all.push((name.to_owned(), outcome));
    for name in ["large-export", "dependencies-behind-context", "slow-boot"] {
        add(
            name,
            outcome(Recording::large(name).timings(), layers(2, "RUN make")),
        );
    }
    add(
        "sixty-steps-four-platforms",
        outcome(steps(240, "make"), layers(20, "COPY a b")),
    );
    add(
        "ten-thousand-steps",
        outcome(steps(10_000, "make"), layers(127, "COPY a b")),
    );
    let mut hostile = outcome(steps(60, HOSTILE), layers(12, HOSTILE));
    hostile.plan.warnings = vec![HOSTILE.to_owned()];
    hostile.plan.images[0].cache_from =
        vec![CacheEntry::new(Backend::Registry).with("ref", HOSTILE)];
    hostile.plan.images[0].tags = vec![tagged(HOSTILE), tagged(HOSTILE)];
    add("hostile", hostile);
    add(
        "megabyte-names",
        outcome(
            steps(60, &"x`|".repeat(350_000)),
            layers(12, &"|".repeat(1 << 20)),
        ),
    );
    let mut retried = Recording::open("registry-cache-export").timings();
    retried.retries = [HOSTILE, "503 Service Unavailable: try again"]
        .map(|why| RetryTime {
            what: format!("the push of {HOSTILE}"),
            why: why.to_owned(),
            failed: Duration::from_secs(3),
            wait: Duration::from_millis(1_234),
        })
        .to_vec();
    let mut retried = outcome(retried, layers(40, "COPY a b"));
    retried.observed.registries.warnings = vec![HOSTILE.to_owned()];
    retried.observed.registries.without_lifecycle_policy = vec![HOSTILE.to_owned()];
    add("retried", retried);
    let mut cancelled = outcome(Recording::open("failing-run").timings(), Vec::new());
    fail(
        &mut cancelled,
        FailureKind::Cancelled,
        "the build was cancelled",
    );
    add("cancelled", cancelled);
    all
}

#[test]
fn summaries_are_left_for_the_renderers() {
    for (name, text) in corpus() {
        assert!(text.starts_with("### "), "{name}");
        assert!(text.len() <= LIMIT, "{name}");
        assert!(!text.contains('\0'), "{name}");
        std::fs::write(left("summaries", &format!("{name}.md")), text).unwrap();
    }
}

#[test]
fn timings_are_left_for_the_schema_and_the_output_is_bounded() {
    for (name, outcome) in outcomes() {
        let whole = serde_json::to_string(&timings_file(&outcome)).unwrap();
        let output = outputs::outputs(&outcome)
            .into_iter()
            .find(|(name, _)| *name == "timings")
            .unwrap()
            .1;
        assert!(output.len() <= 64 * 1024, "{name}");
        let parsed: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!(
            parsed["images"][0]["total_ms"],
            u64::try_from(outcome.images[0].timings.total.as_millis()).unwrap(),
            "{name}"
        );
        if whole.len() > 64 * 1024 {
            assert!(parsed["images"][0].get("timeline").is_none(), "{name}");
            assert!(
                output.len() > 16 * 1024,
                "{name}: dropped too much, {} bytes",
                output.len()
            );
        } else {
            assert_eq!(
                output,
                serde_json::from_str::<serde_json::Value>(&whole)
                    .unwrap()
                    .to_string(),
                "{name}"
            );
        }
        std::fs::write(left("timings", &format!("{name}.json")), whole).unwrap();
        std::fs::write(left("timings", &format!("{name}-output.json")), output).unwrap();
    }
}

#[test]
fn no_secret_and_no_value_of_a_build_argument_is_shown() {
    for (name, text) in corpus() {
        assert!(!text.contains("hush"), "{name}");
        assert!(!text.contains("release"), "{name}");
    }
    let text = render(&outcome(steps(1, "make"), Vec::new()));
    assert!(text.contains("| build-args | `TOKEN` `MODE` |"), "{text}");
    assert!(text.contains("`type=gha,token=…,mode=max`"), "{text}");
}

#[test]
fn a_recorded_build_has_this_summary() {
    let text = render(&outcome(
        Recording::open("registry-cache-export").timings(),
        layers(3, "RUN make"),
    ));
    insta::assert_snapshot!(text);
}

#[test]
fn a_stream_cut_anywhere_makes_a_summary() {
    let whole = Recording::open("registry-cache-export");
    for kept in 0..whole.lines.len() {
        let mut cut = whole.clone();
        cut.lines.truncate(kept);
        let text = render(&outcome(cut.timings(), Vec::new()));
        assert!(text.contains("| **Total** |"), "{kept} lines: {text}");
    }
}

#[test]
fn clocks_that_are_off_or_step_back_make_a_summary() {
    let whole = Recording::open("cold-push");
    let expected = render(&outcome(whole.timings(), Vec::new()));
    let mut off = whole.clone();
    for line in &mut off.lines {
        *line = skewed(line, SignedDuration::from_secs(5));
    }
    assert_eq!(render(&outcome(off.timings(), Vec::new())), expected);
    let mut back = whole;
    let half = back.lines.len() / 2;
    for line in &mut back.lines[half..] {
        *line = skewed(line, SignedDuration::from_secs(-3600));
        line.0 -= SignedDuration::from_secs(3600);
    }
    back.ended = Timestamp::UNIX_EPOCH;
    let text = render(&outcome(back.timings(), Vec::new()));
    assert!(text.contains("| **Total** |"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_limit_is_kept(limit in 0usize..60_000, count in 0u64..300) {
        let text = summary::render(&outcome(steps(count, HOSTILE), layers(count % 40, HOSTILE)), Tail::Shown, limit);
        prop_assert!(text.len() <= limit);
        if limit > 2_000 {
            prop_assert!(text.starts_with("### Pushed"), "{}", text);
        }
        if text.len() + 1_000 > limit && (100..15_000).contains(&limit) && count > 200 {
            prop_assert!(text.contains("did not fit into the job summary."), "{}", text);
        }
    }
}

#[test]
fn retries_are_in_headline_table_and_timings() {
    let (_, outcome) = outcomes()
        .into_iter()
        .find(|(name, _)| name == "retried")
        .unwrap();
    let text = render(&outcome);
    assert!(text.contains(" · 2 retries · "), "{text}");
    assert!(
        text.contains("`503 Service Unavailable: try again` | 3.0\u{a0}s | 1.2\u{a0}s |"),
        "{text}"
    );
    assert!(text.contains("<summary>1 warning</summary>"), "{text}");
    assert!(text.contains("has no lifecycle policy"), "{text}");
    let timings = serde_json::to_value(timings_file(&outcome)).unwrap();
    let image = &timings["images"][0];
    assert_eq!(
        image["retries"][1]["why"],
        "503 Service Unavailable: try again"
    );
    assert_eq!(image["retries"][1]["wait_ms"], 1_234);
    assert_eq!(image["warnings"][0]["text"], HOSTILE);
}

#[test]
fn a_build_without_retries_says_nothing_of_them() {
    let text = render(&outcome(Recording::open("cold-push").timings(), Vec::new()));
    assert!(
        !text.contains("retr") && !text.contains("Retries"),
        "{text}"
    );
}

#[test]
fn every_image_has_its_own_part_of_the_report() {
    let mut run = outcome(Recording::open("cold-push").timings(), layers(2, "RUN a"));
    let other = outcome(Recording::open("cached-push").timings(), layers(1, "RUN b"));
    run.plan.images.extend(other.plan.images);
    run.images.extend(other.images);
    run.plan.images[1].tags = vec![tagged("other")];
    let text = render(&run);
    assert!(
        text.contains("### Pushed `registry.test/app:1` in "),
        "{text}"
    );
    assert!(text.contains("### Pushed `registry.test/app:other` in "));
    assert_eq!(text.matches("<summary>Settings</summary>").count(), 1);
    let timings = serde_json::to_value(timings_file(&run)).unwrap();
    assert_eq!(timings["images"].as_array().unwrap().len(), 2);
    let outputs: std::collections::BTreeMap<_, _> = outputs::outputs(&run).into_iter().collect();
    assert_eq!(outputs["image"].lines().count(), 2);
    assert_eq!(outputs["tags"].lines().count(), 3);

    run.images[1].built = None;
    run.failure = Some(Failure {
        lines: vec!["no space left".to_owned()],
        ..Failure::default()
    });
    let text = render(&run);
    assert!(
        text.contains("### Pushed `registry.test/app:1` in "),
        "{text}"
    );
    assert!(text.contains("### Failed to build `registry.test/app:other` after "));
    assert_eq!(text.matches("> no space left").count(), 1);
    let timings = serde_json::to_value(timings_file(&run)).unwrap();
    assert_eq!(timings["images"][0]["result"], "success");
    assert_eq!(timings["images"][1]["result"], "failure");
}
