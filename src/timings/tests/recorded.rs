//! Steps, clocks and counts of recorded builds.

use std::time::Duration;

use jiff::SignedDuration;

use super::at;
use super::recording::{self, Recording, skewed};
use crate::buildx::rawjson::{SolveStatus, Vertex, VertexLog};
use crate::timings::{Phase, Recorder};

#[test]
fn the_steps_of_the_dockerfile_are_counted() {
    // From `regenerate.sh`: FROM, MAINTAINER and BuildKit's own steps do not count; each platform does.
    let cases = [
        ("cold-push", (0, 5)),
        ("cached-push", (5, 5)),
        ("registry-cache-import", (3, 5)),
        ("failing-run", (0, 1)),
        ("parallel-stages", (0, 5)),
        ("two-platforms", (0, 4)),
        ("warnings", (0, 1)),
    ];
    for (name, expected) in cases {
        let build = Recording::open(name).timings();
        assert_eq!((build.cached_steps, build.total_steps), expected, "{name}");
    }
    for (name, recording) in recording::all() {
        let build = recording.timings();
        if let Some((cached, total)) = recording.history {
            assert!(build.cached_steps <= cached, "{name}");
            assert!(build.total_steps < total, "{name}");
        }
    }
}

#[test]
fn steps_have_stage_platform_time_and_error() {
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
fn a_boot_lists_its_stages() {
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
fn logs_correct_the_builder_clock_too() {
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
fn a_failed_build_leaves_the_text_of_buildx() {
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
fn warnings_have_their_line() {
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
