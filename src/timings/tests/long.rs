//! Streams far longer than those of real builds.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::at;
use super::properties::check;
use crate::buildx::rawjson::{SolveStatus, Vertex, VertexLog, VertexStatus};
use crate::timings::{Phase, Recorder};

/// A build of 50 steps that goes on and on, as one with much output and many layers does.
fn long_stream(lines: i64) -> impl Iterator<Item = (Timestamp, SolveStatus)> {
    (0..lines).map(|index| {
        let digest = format!("sha256:{:02}", index % 50);
        let started = Some(at(index % 50));
        let vertex = Vertex {
            digest: digest.clone(),
            name: "[2/2] RUN make".to_owned(),
            started,
            ..Vertex::default()
        };
        let status = VertexStatus {
            id: format!("sha256:{}", index % 7),
            vertex: digest.clone(),
            current: 5,
            started,
            timestamp: Some(at(index)),
            ..VertexStatus::default()
        };
        let log = VertexLog {
            vertex: digest,
            data: vec![b'x'; 500],
            timestamp: Some(at(index)),
            ..VertexLog::default()
        };
        (
            at(index + 3),
            SolveStatus {
                vertexes: vec![vertex],
                statuses: vec![status],
                logs: vec![log],
                warnings: Vec::new(),
            },
        )
    })
}

#[test]
fn what_is_kept_grows_with_vertices_and_not_with_lines() {
    let kept = |lines| {
        let mut recorder = Recorder::new(at(0));
        for (arrived, status) in long_stream(lines) {
            recorder.record(&status, arrived);
        }
        format!("{recorder:?}").len()
    };
    assert_eq!(kept(100_000), kept(1_000));
}

#[test]
fn a_hundred_thousand_lines_are_recorded_in_seconds_even_unoptimised() {
    let began = Instant::now();
    let mut recorder = Recorder::new(at(0));
    for (arrived, status) in long_stream(100_000) {
        recorder.record(&status, arrived);
    }
    check(&recorder.finish(at(200_000)));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_stream_of_endless_new_vertices_is_bounded() {
    let mut recorder = Recorder::new(at(0));
    let name = "x".repeat(2_000);
    for index in 0..200_000 {
        let vertex = Vertex {
            digest: index.to_string(),
            name: name.clone(),
            started: Some(at(index)),
            ..Vertex::default()
        };
        recorder.record(
            &SolveStatus {
                vertexes: vec![vertex],
                ..SolveStatus::default()
            },
            at(index),
        );
    }
    let build = recorder.finish(at(200_000));
    check(&build);
    assert_eq!(build.steps.len(), 50_000);
    assert_eq!(build.steps[0].name.len(), 512);
}

#[test]
fn ten_thousand_steps_are_added_up() {
    let mut recorder = Recorder::new(at(0));
    for index in 0..10_000 {
        let vertex = Vertex {
            digest: index.to_string(),
            name: format!("[{index}/10000] RUN make"),
            started: Some(at(index * 10)),
            completed: Some(at(index * 10 + 5)),
            ..Vertex::default()
        };
        recorder.record(
            &SolveStatus {
                vertexes: vec![vertex],
                ..SolveStatus::default()
            },
            at(index * 10 + 5),
        );
    }
    let build = recorder.finish(at(100_000));
    check(&build);
    assert_eq!(build.phase(Phase::Build).partition, Duration::from_secs(50));
    assert_eq!(build.total_steps, 10_000);
}
