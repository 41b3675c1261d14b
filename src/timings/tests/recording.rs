//! Reads the builds that `tests/fixtures/regenerate.sh` recorded; the format is described there.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::buildx::rawjson::{self, Line, SolveStatus};
use crate::timings::{BuildTimings, Recorder};

/// A recorded build.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub started: Timestamp,
    pub ended: Timestamp,
    pub lines: Vec<(Timestamp, SolveStatus)>,
    /// The lines as they came.
    pub raw: Vec<(Timestamp, String)>,
    pub text: Vec<String>,
    /// What `buildx history inspect` counted: cached steps and all.
    pub history: Option<(usize, usize)>,
}

impl Recording {
    pub(crate) fn open(name: &str) -> Self {
        Self::read(&folder("rawjson").join(format!("buildx-0.29.1-engine-28.5.2-{name}.tsv")))
    }

    /// One of those that are large or slow on purpose.
    pub(crate) fn large(name: &str) -> Self {
        Self::read(&folder("advice").join(format!("buildx-0.29.1-engine-28.5.2-{name}.tsv")))
    }

    pub(crate) fn read(path: &Path) -> Self {
        let mut recording = Self {
            started: Timestamp::MIN,
            ended: Timestamp::MAX,
            lines: Vec::new(),
            raw: Vec::new(),
            text: Vec::new(),
            history: None,
        };
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let (arrived, line) = line.split_once('\t').unwrap();
            let (seconds, micros) = arrived.split_once('.').unwrap();
            let micros =
                seconds.parse::<i64>().unwrap() * 1_000_000 + micros.parse::<i64>().unwrap();
            let arrived = Timestamp::from_microsecond(micros).unwrap();
            recording.raw.push((arrived, line.to_owned()));
            match rawjson::parse(line.as_bytes()) {
                Line::Status(status) => recording.lines.push((arrived, status)),
                Line::Text(text) if text == "start" => recording.started = arrived,
                Line::Text(text) if text.starts_with("exit ") => recording.ended = arrived,
                Line::Text(text) => match text
                    .strip_prefix("history ")
                    .and_then(|counts| counts.split_once(' '))
                {
                    Some((cached, total)) => {
                        recording.history = Some((cached.parse().unwrap(), total.parse().unwrap()));
                    }
                    None => recording.text.push(text),
                },
            }
        }
        recording
    }

    pub(crate) fn timings(&self) -> BuildTimings {
        let mut recorder = Recorder::new(self.started);
        for (arrived, status) in &self.lines {
            recorder.record(status, *arrived);
        }
        recorder.finish(self.ended)
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub(crate) fn all() -> Vec<(String, Recording)> {
    let files = std::fs::read_dir(folder("rawjson")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files
        .iter()
        .map(|path| (name(path), Recording::read(path)))
        .collect()
}

/// The line as a builder would send it whose clock is ahead by `skew`.
pub(crate) fn skewed(
    (arrived, status): &(Timestamp, SolveStatus),
    skew: SignedDuration,
) -> (Timestamp, SolveStatus) {
    let mut status = status.clone();
    let vertices = status
        .vertexes
        .iter_mut()
        .flat_map(|vertex| [&mut vertex.started, &mut vertex.completed]);
    let statuses = status.statuses.iter_mut().flat_map(|status| {
        [
            &mut status.started,
            &mut status.completed,
            &mut status.timestamp,
        ]
    });
    let logs = status.logs.iter_mut().map(|log| &mut log.timestamp);
    for at in vertices.chain(statuses).chain(logs).flatten() {
        *at += skew;
    }
    (*arrived, status)
}
