//! Tests of the whole way from lines to durations: recorded builds, and what holds for any stream.

mod long;
mod marked;
mod properties;
mod recorded;
pub(crate) mod recording;

pub(crate) use properties::check;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Phase, Recorder, Retry, RetryTime, Stage};
use crate::buildx::rawjson::{self, Line};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
}

#[test]
fn phases_are_declared_in_the_order_of_the_partition() {
    for (index, phase) in Phase::ALL.iter().copied().enumerate() {
        assert_eq!(phase as usize, index);
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
    }
}

#[test]
fn a_build_without_a_stream_is_waiting_and_its_own_stages() {
    let mut recorder = Recorder::new(at(0));
    recorder.add(Stage {
        name: "credentials".to_owned(),
        phase: Phase::Setup,
        started: at(-50),
        ended: at(300),
    });
    let build = recorder.finish(at(1_000));
    assert_eq!(
        build.phase(Phase::Setup).partition,
        Duration::from_millis(300)
    );
    assert_eq!(
        build.phase(Phase::Waiting).partition,
        Duration::from_millis(700)
    );
    assert_eq!(build.slowest_steps()[0].name, "credentials");
}

/// BuildKit 0.29 and later push in a second run of the export's vertex, during the cache export:
/// <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/llbsolver/solver.go#L405-L430>.
#[test]
fn a_push_during_a_cache_export_gets_the_time_and_both_have_their_union() {
    let lines = [
        r#"{"vertexes":[{"digest":"a","name":"exporting to image","started":"2026-01-01T00:00:01Z","completed":"2026-01-01T00:00:04Z"}]}"#,
        r#"{"vertexes":[{"digest":"a","name":"exporting to image","started":"2026-01-01T00:00:04Z"}]}"#,
        r#"{"vertexes":[{"digest":"b","name":"exporting cache to registry","started":"2026-01-01T00:00:04Z"}]}"#,
        r#"{"statuses":[{"id":"pushing layers","vertex":"a","started":"2026-01-01T00:00:04Z","completed":"2026-01-01T00:00:07Z"}]}"#,
        r#"{"vertexes":[{"digest":"a","name":"exporting to image","started":"2026-01-01T00:00:04Z","completed":"2026-01-01T00:00:07Z"}]}"#,
        r#"{"vertexes":[{"digest":"b","name":"exporting cache to registry","started":"2026-01-01T00:00:04Z","completed":"2026-01-01T00:00:09Z"}]}"#,
    ];
    let second = |second: &str| format!("2026-01-01T00:00:{second}Z").parse().unwrap();
    let mut recorder = Recorder::new(second("00"));
    for (line, arrived) in lines.into_iter().zip(["04", "04", "04", "07", "07", "09"]) {
        if let Line::Status(status) = rawjson::parse(line.as_bytes()) {
            recorder.record(&status, second(arrived));
        }
    }
    let build = recorder.finish(second("10"));
    let seconds = [
        (Phase::Export, 3, 3),
        (Phase::Push, 3, 3),
        (Phase::CacheExport, 5, 2),
        (Phase::Waiting, 2, 2),
    ];
    for (phase, union, partition) in seconds {
        let found = build.phase(phase);
        assert_eq!(found.union, Duration::from_secs(union), "{phase:?}");
        assert_eq!(found.partition, Duration::from_secs(partition), "{phase:?}");
    }
}

#[test]
fn a_retried_build_keeps_the_times_of_its_first_attempt() {
    let first = recording::Recording::open("cold-push");
    let again = recording::Recording::open("cached-push");
    let expected = first.timings();
    let mut recorder = Recorder::new(first.started);
    for (arrived, status) in &first.lines {
        recorder.record(status, *arrived);
    }
    recorder.retried(Retry {
        what: "the push".to_owned(),
        why: "503 Service Unavailable".to_owned(),
        failed: first.ended,
        wait: Duration::from_millis(1_500),
    });
    // The cache answers some seconds later, with the same vertices.
    let later = first.ended.duration_since(again.started) + SignedDuration::from_secs(2);
    for line in &again.lines {
        let (arrived, status) = recording::skewed(line, later);
        recorder.record(&status, arrived + later);
    }
    let build = recorder.finish(again.ended + later);
    assert_eq!(
        (build.cached_steps, build.total_steps),
        (expected.cached_steps, expected.total_steps)
    );
    let built = build.phase(Phase::Build).partition;
    let added = built.abs_diff(expected.phase(Phase::Build).partition);
    assert!(added < Duration::from_millis(50), "{added:?}");
    assert!(build.phase(Phase::Push).partition > expected.phase(Phase::Push).partition);
    assert_eq!(
        build.retries,
        [RetryTime {
            what: "the push".to_owned(),
            why: "503 Service Unavailable".to_owned(),
            failed: expected.total,
            wait: Duration::from_millis(1_500),
        }]
    );
}
