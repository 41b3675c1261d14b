//! What is said of steps, and how much of them is kept.

use super::step::{MAX_ERROR, MAX_LINE, MAX_PARTS, SHORT_ERROR, TAIL};
use super::*;

fn at(milliseconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap())
}

fn vertex(started: Option<i64>, completed: Option<i64>) -> Vertex {
    Vertex {
        digest: "d".to_owned(),
        name: "[2/3] RUN make".to_owned(),
        started: started.and_then(at),
        completed: completed.and_then(at),
        ..Vertex::default()
    }
}

fn log(time: i64, data: &[u8]) -> SolveStatus {
    SolveStatus {
        logs: vec![VertexLog {
            vertex: "d".to_owned(),
            data: data.to_vec(),
            timestamp: at(time),
            ..VertexLog::default()
        }],
        ..SolveStatus::default()
    }
}

fn of(vertex: Vertex) -> SolveStatus {
    SolveStatus {
        vertexes: vec![vertex],
        ..SolveStatus::default()
    }
}

fn shown(statuses: &[SolveStatus]) -> (Progress, Vec<String>) {
    let mut progress = Progress::default();
    let mut lines = Vec::new();
    for status in statuses {
        progress.show(status, |line| lines.push(line.to_owned()));
    }
    (progress, lines)
}

#[test]
fn a_step_starts_speaks_and_ends() {
    let (_, lines) = shown(&[
        of(vertex(None, None)),
        of(vertex(Some(0), None)),
        log(1200, b"one\ntw"),
        log(1900, b"o\n\xff\x1b[31mred\x1b[0m"),
        of(vertex(Some(0), Some(2500))),
        of(vertex(Some(0), Some(2500))),
    ]);
    assert_eq!(
        lines,
        [
            "#1 [2/3] RUN make",
            "#1 1.2 one",
            "#1 1.9 two",
            "#1 \u{fffd}red",
            "#1 done in 2.5 s"
        ]
    );
}

#[test]
fn a_failed_step_keeps_its_last_lines() {
    let many: String = (0..100).map(|number| format!("line {number}\n")).collect();
    let failed = Vertex {
        error: "process \"/bin/sh -c make\" did not complete successfully: exit code: 2".into(),
        ..vertex(Some(0), Some(900))
    };
    let (progress, lines) = shown(&[
        of(vertex(Some(0), None)),
        log(500, many.as_bytes()),
        of(failed),
    ]);
    let step = progress.failed().unwrap();
    assert_eq!(step.tail.len(), TAIL);
    assert_eq!(step.tail.back().unwrap(), "line 99");
    assert!(lines.last().unwrap().starts_with("#1 failed: process"));
}

#[test]
fn a_step_that_was_stopped_is_not_the_one_that_failed() {
    let stopped = Vertex {
        error: "context canceled".to_owned(),
        ..vertex(Some(0), Some(1))
    };
    let (progress, lines) = shown(&[of(stopped)]);
    assert!(progress.failed().is_none());
    assert_eq!(lines, ["#1 [2/3] RUN make", "#1 cancelled"]);
}

#[test]
fn after_a_silence_what_runs_is_named() {
    let (mut progress, _) = shown(&[of(vertex(Some(0), None))]);
    let mut lines = Vec::new();
    let now = progress.last_line;
    let later = at(61_000).unwrap();
    progress.tick(now + Duration::from_secs(29), later, |line| {
        lines.push(line.to_owned());
    });
    assert!(lines.is_empty());
    progress.tick(now + Duration::from_secs(30), later, |line| {
        lines.push(line.to_owned());
    });
    assert_eq!(lines, ["#1 still running after 61 s: [2/3] RUN make"]);
}

#[test]
fn output_without_line_ends_takes_bounded_memory() {
    let data = vec![b'x'; 1_000_000];
    let (progress, lines) = shown(&[of(vertex(Some(0), None)), log(1, &data)]);
    assert!(lines.iter().all(|line| line.len() < MAX_LINE + 20));
    assert!(progress.steps[0].tail.len() <= TAIL);
}

#[test]
fn steps_and_their_work_without_end_take_bounded_memory() {
    let mut progress = Progress::default();
    let long = "x".repeat(100_000);
    for number in 0..MAX_BYTES / ENTRY {
        let step = Vertex {
            digest: number.to_string(),
            name: long.clone(),
            ..vertex(Some(0), None)
        };
        progress.show(&of(step), |_| {});
    }
    let kept = |progress: &Progress| -> usize {
        let steps = progress.steps.iter();
        steps.map(|step| ENTRY + step.name.len()).sum()
    };
    assert!(progress.steps.len() > 1_000);
    assert!(kept(&progress) <= MAX_BYTES);
    assert_eq!(progress.by_digest.len(), progress.steps.len());
    // One that is known fails: this is told, with or without budget left.
    let failed = Vertex {
        digest: "7".to_owned(),
        error: long,
        ..vertex(Some(0), Some(1))
    };
    progress.show(&of(failed), |_| {});
    let error = progress.failed().unwrap().error.as_ref().unwrap();
    assert!((SHORT_ERROR..=MAX_ERROR).contains(&error.len()));

    let (mut progress, _) = shown(&[of(vertex(Some(0), None))]);
    let part = |number: usize, completed: Option<i64>| SolveStatus {
        statuses: vec![VertexStatus {
            id: number.to_string(),
            vertex: "d".to_owned(),
            started: at(0),
            completed: completed.and_then(at),
            ..VertexStatus::default()
        }],
        ..SolveStatus::default()
    };
    for number in 0..MAX_PARTS * 3 {
        progress.show(&part(number, None), |_| {});
    }
    assert_eq!(progress.steps[0].parts.len(), MAX_PARTS);
    for number in 0..MAX_PARTS * 3 {
        progress.show(&part(number, Some(1)), |_| {});
    }
    assert!(progress.steps[0].parts.is_empty());
}

#[test]
fn a_step_that_went_well_leaves_no_output() {
    let (progress, _) = shown(&[
        of(vertex(Some(0), None)),
        log(500, b"one\ntwo\n"),
        of(vertex(Some(0), Some(900))),
    ]);
    assert!(progress.steps[0].tail.is_empty());
}

#[test]
fn tags_name_something_new_from_the_first_manifest_on() {
    let begun = |id: &str, second: i64| SolveStatus {
        statuses: vec![VertexStatus {
            id: id.to_owned(),
            vertex: "d".to_owned(),
            started: at(second * 1000),
            ..VertexStatus::default()
        }],
        ..SolveStatus::default()
    };
    let (progress, _) = shown(&[
        begun("pushing layers", 1),
        begun("pushing manifest for registry/app:1@sha256:ab", 3),
        begun("pushing manifest for registry/app:2@sha256:ab", 5),
    ]);
    assert_eq!(progress.push_started(), at(3000));
}

#[test]
fn work_inside_a_step_is_named_when_it_takes_long_and_when_it_ends() {
    let part = |completed: Option<i64>| SolveStatus {
        statuses: vec![VertexStatus {
            id: "pushing layers".to_owned(),
            vertex: "d".to_owned(),
            started: at(0),
            completed: completed.and_then(at),
            ..VertexStatus::default()
        }],
        ..SolveStatus::default()
    };
    let (mut progress, lines) = shown(&[of(vertex(Some(0), None)), part(None), part(None)]);
    assert_eq!(lines, ["#1 [2/3] RUN make"]);
    let mut lines = Vec::new();
    let now = progress.last_line;
    for second in 4..8 {
        let time = at(second * 1000).unwrap();
        progress.tick(now, time, |line| lines.push(line.to_owned()));
    }
    progress.show(&part(Some(9000)), |line| lines.push(line.to_owned()));
    progress.show(&part(Some(9)), |line| lines.push(line.to_owned()));
    assert_eq!(
        lines,
        ["#1 pushing layers …", "#1 pushing layers done in 9.0 s"]
    );
}
