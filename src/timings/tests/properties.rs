//! What holds for any stream: cut, repeated, shuffled, invented, with clocks that step.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::at;
use super::marked::MARKED;
use super::recording::{Recording, skewed};
use crate::buildx::rawjson::{self, Line, SolveStatus, Vertex, VertexLog, VertexStatus};
use crate::timings::{BuildTimings, Phase, Recorder, Stage};

/// What must hold whatever came in.
pub(crate) fn check(build: &BuildTimings) {
    let sum: Duration = build.phases.iter().map(|time| time.partition).sum();
    assert_eq!(sum, build.total, "the partition adds up");
    let mut end = Duration::ZERO;
    for segment in &build.timeline {
        assert_eq!(segment.interval.start, end, "the timeline has no gap");
        assert!(segment.interval.end > end, "{segment:?}");
        end = segment.interval.end;
    }
    assert_eq!(end, build.total);
    for (time, phase) in build.phases.iter().zip(Phase::ALL.iter().copied()) {
        assert_eq!(time.phase, phase);
        assert!(
            time.partition <= time.union && time.union <= build.total,
            "{time:?}"
        );
        let of_phase = build
            .timeline
            .iter()
            .filter(|segment| segment.phase == phase);
        assert_eq!(
            of_phase
                .map(|segment| segment.interval.length())
                .sum::<Duration>(),
            time.partition
        );
    }
    for step in &build.steps {
        assert!(step.started + step.duration <= build.total, "{step:?}");
        assert!(build.phase(step.phase).union <= build.total);
    }
    assert!(build.cached_steps <= build.total_steps);
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (-2_000i64..10_000).prop_map(at),
        2 => (-100_000_000i64..100_000_000).prop_map(at),
        1 => select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let known = [
        "[1/2] FROM a",
        "[2/2] RUN b",
        "exporting to image",
        "exporting layers",
        "pushing layers",
        "sha256:1",
        "extracting sha256:1",
        "[internal] load build context",
        "[auth] a:push token for b",
        "[internal] booting buildkit",
        "exporting cache to registry",
        "",
    ];
    prop_oneof![5 => select(known.map(str::to_owned).to_vec()), 1 => any::<String>(), 1 => Just("\u{202e}é".repeat(700))]
}

prop_compose! {
    fn vertex()(digest in "[a-d]", name in text(), started in prop::option::of(timestamp()), completed in prop::option::of(timestamp()), cached in any::<bool>(), error in text()) -> Vertex {
        Vertex { digest, name, started, completed, cached, error, ..Vertex::default() }
    }
}

prop_compose! {
    fn vertex_status()(vertex in "[a-e]", id in text(), current in any::<i64>(), timestamp in prop::option::of(timestamp()), started in prop::option::of(timestamp()), completed in prop::option::of(timestamp())) -> VertexStatus {
        VertexStatus { vertex, id, current, timestamp, started, completed, ..VertexStatus::default() }
    }
}

fn line() -> impl Strategy<Value = SolveStatus> {
    let log =
        (("[a-f]"), prop::option::of(timestamp())).prop_map(|(vertex, timestamp)| VertexLog {
            vertex,
            timestamp,
            ..VertexLog::default()
        });
    let lists = (
        prop::collection::vec(vertex(), 0..3),
        prop::collection::vec(vertex_status(), 0..3),
        prop::collection::vec(log, 0..2),
    );
    lists.prop_map(|(vertexes, statuses, logs)| SolveStatus {
        vertexes,
        statuses,
        logs,
        warnings: Vec::new(),
    })
}

fn recording() -> impl Strategy<Value = (&'static str, Recording)> {
    select(MARKED.map(|(name, ..)| name).to_vec()).prop_map(|name| (name, Recording::open(name)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn holds_for_invented_streams(
        lines in prop::collection::vec((timestamp(), line()), 0..40),
        stages in prop::collection::vec((select(Phase::ALL.to_vec()), timestamp(), timestamp()), 0..4),
        started in timestamp(),
        ended in timestamp(),
    ) {
        let mut recorder = Recorder::new(started);
        for (arrived, status) in &lines {
            recorder.record(status, *arrived);
        }
        for (phase, started, ended) in stages {
            recorder.add(Stage { name: "stage".to_owned(), phase, started, ended });
        }
        check(&recorder.finish(ended));
    }

    #[test]
    fn holds_for_streams_cut_at_any_byte((_, recording) in recording(), at in any::<Index>()) {
        let mut left = at.index(recording.raw.iter().map(|(_, line)| line.len()).sum());
        let mut recorder = Recorder::new(recording.started);
        let mut ended = recording.started;
        for (arrived, line) in &recording.raw {
            let part = &line.as_bytes()[..left.min(line.len())];
            if let Line::Status(status) = rawjson::parse(part) {
                recorder.record(&status, *arrived);
            }
            left -= part.len();
            ended = *arrived;
            if left == 0 {
                break;
            }
        }
        check(&recorder.finish(ended));
    }

    #[test]
    fn neither_order_nor_repetition_matters((name, mut recording) in recording(), order in any::<[u8; 16]>(), again in prop::collection::vec(any::<Index>(), 0..20)) {
        let expected = recording.timings();
        for index in again {
            let line = recording.lines[index.index(recording.lines.len())].clone();
            recording.lines.push(line);
        }
        let mut random = TestRng::from_seed(RngAlgorithm::XorShift, &order);
        for at in (1..recording.lines.len()).rev() {
            let other = usize::try_from(random.next_u64() % (at as u64 + 1)).unwrap();
            recording.lines.swap(at, other);
        }
        prop_assert_eq!(recording.timings(), expected, "{}", name);
    }

    #[test]
    fn a_clock_that_steps_in_the_middle_breaks_no_sum((_, mut recording) in recording(), from in any::<Index>(), seconds in -100i64..100) {
        let from = from.index(recording.lines.len());
        for line in &mut recording.lines[from..] {
            *line = skewed(line, SignedDuration::from_secs(seconds));
        }
        check(&recording.timings());
    }
}
