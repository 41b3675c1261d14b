//! What recorded builds tell beside their phases.

use std::time::Duration;

use jiff::SignedDuration;

use super::at;
use super::recording::{self, Recording, skewed};
use crate::buildx::rawjson::{SolveStatus, Vertex, VertexLog};
use crate::timings::{Phase, Recorder};

#[test]
fn steps_are_counted_as_buildx_history_does() {
    let mut compared = 0;
    for (name, recording) in recording::all() {
        let build = recording.timings();
        if let Some(history) = recording.history {
            assert_eq!((build.cached_steps, build.total_steps), history, "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 15);
}

#[test]
fn steps_tell_stage_platform_time_and_error() {
    let cross = Recording::open("two-platforms").timings();
    let slowest = cross.slowest_steps()[0];
    assert_eq!(
        slowest.name,
        "[linux/amd64 builder 2/2] RUN sleep 1; echo amd64 > /arch"
    );
    assert_eq!(slowest.stage.as_deref(), Some("builder"));
    assert_eq!(slowest.platform.as_deref(), Some("linux/amd64"));
    assert!(
        (slowest.duration.as_secs_f64() - 1.084).abs() < 0.003,
        "{slowest:?}"
    );

    let failed = Recording::open("failing-run").timings();
    let step = failed
        .steps
        .iter()
        .find(|step| step.error.is_some())
        .unwrap();
    assert_eq!(step.name, "[2/2] RUN sleep 1; echo almost there; exit 3");
    assert!(
        step.error.as_deref().unwrap().ends_with("exit code: 3"),
        "{step:?}"
    );

    let cold = Recording::open("cold-push").timings();
    let context = cold
        .steps
        .iter()
        .find(|step| step.name == "[internal] load build context")
        .unwrap();
    assert!(
        (30_000_000..30_100_000).contains(&context.bytes),
        "{context:?}"
    );
}

#[test]
fn a_boot_tells_what_it_consisted_of() {
    let build = Recording::large("slow-boot").timings();
    let pull = &build.boot[0];
    assert!(pull.name.starts_with("pulling image "), "{:?}", build.boot);
    assert!(pull.duration > Duration::from_secs(9), "{pull:?}");
    assert!(
        build.boot[1].name.starts_with("creating container "),
        "{:?}",
        build.boot
    );
    assert!(Recording::open("cold-push").timings().boot.is_empty());
}

#[test]
fn a_builder_clock_that_is_off_changes_nothing() {
    for (name, recording) in recording::all() {
        let expected = recording.timings();
        for seconds in [-5, 5, 3_600] {
            let skew = SignedDuration::from_secs(seconds);
            let mut off = recording.clone();
            for line in &mut off.lines {
                *line = skewed(line, skew);
            }
            let build = off.timings();
            assert_eq!(build.phases, expected.phases, "{name}, {seconds} s off");
            assert_eq!(build.steps, expected.steps, "{name}, {seconds} s off");
            assert_eq!(build.clock_offset, expected.clock_offset - skew, "{name}");
        }
        assert!(
            expected.clock_offset < SignedDuration::from_millis(10),
            "{name}: {}",
            expected.clock_offset
        );
    }
}

#[test]
fn a_builder_clock_is_put_right_by_logs_too() {
    let step = Vertex {
        digest: "sha256:1".to_owned(),
        name: "[2/2] RUN make".to_owned(),
        started: Some(at(5_000)),
        ..Vertex::default()
    };
    let output = VertexLog {
        vertex: "sha256:1".to_owned(),
        timestamp: Some(at(5_200)),
        ..VertexLog::default()
    };
    let mut recorder = Recorder::new(at(0));
    let started = SolveStatus {
        vertexes: vec![step],
        ..SolveStatus::default()
    };
    recorder.record(&started, at(90));
    let printed = SolveStatus {
        logs: vec![output],
        ..SolveStatus::default()
    };
    recorder.record(&printed, at(210));
    let build = recorder.finish(at(1_000));
    assert_eq!(build.clock_offset, SignedDuration::from_millis(-4_990));
    assert_eq!(build.steps[0].started, Duration::from_millis(10));
}

#[test]
fn a_failed_build_leaves_buildx_own_words_as_text() {
    let recording = Recording::open("failing-run");
    assert_eq!(recording.text[0], "Failing:2");
    assert!(
        recording
            .text
            .last()
            .unwrap()
            .starts_with("ERROR: failed to build"),
        "{:?}",
        recording.text
    );
}

#[test]
fn what_never_completed_lasts_to_the_end() {
    let mut recording = Recording::open("failing-run");
    recording
        .lines
        .retain(|(_, status)| status.vertexes.iter().all(|vertex| vertex.error.is_empty()));
    let build = recording.timings();
    let step = build
        .steps
        .iter()
        .find(|step| step.name.starts_with("[2/2] RUN"))
        .unwrap();
    assert!(!step.completed, "{step:?}");
    assert_eq!(step.started + step.duration, build.total);
    assert!(build.phase(Phase::Build).union > Duration::from_secs(1));
}

#[test]
fn warnings_tell_the_line_they_mean() {
    let recording = Recording::open("warnings");
    let warnings = recording
        .lines
        .iter()
        .flat_map(|(_, status)| &status.warnings);
    let found: Vec<_> = warnings
        .map(|warning| {
            (
                warning.short.split(':').next().unwrap(),
                warning.range[0].start.line,
            )
        })
        .collect();
    assert!(found.contains(&("MaintainerDeprecated", 2)), "{found:?}");
    assert!(
        found.contains(&("ConsistentInstructionCasing", 1)),
        "{found:?}"
    );
}
