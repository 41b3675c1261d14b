//! Follows one build and adds it up.
//!
//! In: every [`SolveStatus`] with the time its line arrived, and our own [`Stage`]s. Out, at the end: [`BuildTimings`]. What is kept is bounded
//! by the number of vertices and statuses, not of lines, which BuildKit repeats; log bytes are not kept. The order of lines doesn't matter,
//! as long as each comes with its own arrival, nor does hearing one twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::{Scale, whole_milliseconds};
use super::partition::{Activity, partition};
use super::vertex::{Room, VertexRecord, cut};
use super::{BootStage, BuildTimings, Interval, Retry, RetryTime, Stage, Step, Traffic};
use crate::buildx::rawjson::SolveStatus;

/// Vertices, statuses and runs of both that are kept at most; what comes beyond is not timed. A build of 10,000 steps has some 50,000.
const MOST_RECORDS: usize = 100_000;

/// Retries that are kept at most.
const MOST_RETRIES: usize = 100;

/// Follows one build.
#[derive(Debug)]
pub(crate) struct Recorder {
    started: Timestamp,
    stages: Vec<Stage>,
    boot: Vec<Stage>,
    retries: Vec<Retry>,
    /// How many retries there were, kept or not.
    attempt: usize,
    vertices: BTreeMap<String, VertexRecord>,
    room: Room,
    api_traffic: Option<Traffic>,
}

impl Recorder {
    /// Begins a build that started then, by our clock.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self {
            started,
            stages: Vec::new(),
            boot: Vec::new(),
            retries: Vec::new(),
            attempt: 0,
            vertices: BTreeMap::new(),
            room: Room(MOST_RECORDS),
            api_traffic: None,
        }
    }

    /// Takes note of what went over a cluster's API server.
    pub(crate) fn went_over_the_api(&mut self, traffic: Traffic) {
        self.api_traffic = Some(traffic);
    }

    /// Adds work of our own, which may overlap the build and other stages.
    pub(crate) fn add(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    /// Adds a part of the builder's boot.
    pub(crate) fn add_boot(&mut self, stage: Stage) {
        self.boot.push(stage.clone());
        self.stages.push(stage);
    }

    /// Notes that something is done again. Where that is the build, what was heard of it stays: a step that ran before and comes from the
    /// cache now was not cached.
    pub(crate) fn retried(&mut self, retry: Retry) {
        self.attempt += 1;
        if self.retries.len() < MOST_RETRIES {
            self.retries.push(retry);
        }
    }

    /// Takes in one line that arrived then, by our clock.
    pub(crate) fn record(&mut self, status: &SolveStatus, arrived: Timestamp) {
        let attempt = self.attempt;
        let Self { vertices, room, .. } = self;
        for vertex in &status.vertexes {
            if let Some(record) = room.entry(vertices, &vertex.digest) {
                record.take(vertex, attempt, arrived, room);
            }
        }
        for status in &status.statuses {
            if let Some(record) = room.entry(vertices, &status.vertex) {
                record.take_status(status, arrived, room);
            }
        }
        for log in &status.logs {
            if let (Some(at), Some(record)) = (log.timestamp, room.entry(vertices, &log.vertex)) {
                record.hears(at, arrived);
            }
        }
    }

    /// Ends the build then, by our clock; what still runs ends then too.
    pub(crate) fn finish(self, ended: Timestamp) -> BuildTimings {
        let vertices = joined(self.vertices.into_values().collect());
        let scale = Scale {
            started: self.started,
            total: whole_milliseconds(ended.duration_since(self.started)),
            offset: vertices
                .iter()
                .filter_map(VertexRecord::builder_lag)
                .min()
                .unwrap_or_default(),
        };
        let (mut activities, mut steps): (Vec<Activity>, Vec<Step>) =
            self.stages.iter().map(|stage| stage.finish(&scale)).unzip();
        for vertex in &vertices {
            let (did, step) = vertex.finish(&scale);
            activities.extend(did);
            steps.extend(step);
        }
        let mut boot: Vec<BootStage> = vertices
            .iter()
            .flat_map(|vertex| vertex.boot(&scale))
            .chain(self.boot.iter().map(|stage| stage.boot(&scale)))
            .collect();
        boot.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
        let mut retries: Vec<RetryTime> = self
            .retries
            .iter()
            .map(|retry| retry.finish(&scale))
            .collect();
        retries.sort_by_key(|retry| retry.failed);
        steps.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
        let (phases, timeline) = partition(&activities, scale.total);
        // As BuildKit counts what goes into its history:
        // <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/llbsolver/history/buildhistory.go#L711-L765>.
        let of_builder = || vertices.iter().filter(|vertex| vertex.is_of_builder());
        BuildTimings {
            started: scale.started,
            total: scale.total,
            phases,
            timeline,
            steps,
            boot,
            retries,
            cached_steps: of_builder().filter(|vertex| vertex.cached).count(),
            total_steps: of_builder().count(),
            clock_offset: scale.offset,
            api_traffic: self.api_traffic,
        }
    }
}

/// A build that is done again has vertices of its own where the context has a part in them (a session's local source is another one), under
/// the same names: they are the same steps.
fn joined(mut vertices: Vec<VertexRecord>) -> Vec<VertexRecord> {
    vertices.sort_by_key(|vertex| vertex.attempt);
    let mut joined: Vec<VertexRecord> = Vec::with_capacity(vertices.len());
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for vertex in vertices {
        let place = *places.entry(vertex.name.clone()).or_insert(joined.len());
        match joined.get_mut(place) {
            Some(first) if first.attempt < vertex.attempt && vertex.is_of_builder() => {
                first.join(vertex);
            }
            _ => joined.push(vertex),
        }
    }
    joined
}

impl Retry {
    fn finish(&self, scale: &Scale) -> RetryTime {
        let Interval { start: failed, .. } = scale.interval(self.failed, Some(self.failed));
        RetryTime {
            what: cut(&self.what),
            why: cut(&self.why),
            failed,
            wait: Duration::from_millis(u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl Stage {
    fn boot(&self, scale: &Scale) -> BootStage {
        let interval = scale.interval(self.started, Some(self.ended));
        BootStage {
            name: self.name.clone(),
            started: interval.start,
            duration: interval.length(),
        }
    }

    fn finish(&self, scale: &Scale) -> (Activity, Step) {
        let interval = scale.interval(self.started, Some(self.ended));
        let step = Step {
            name: self.name.clone(),
            stage: None,
            platform: None,
            phase: self.phase,
            started: interval.start,
            duration: interval.length(),
            cached: false,
            error: None,
            completed: true,
            bytes: 0,
        };
        (
            Activity {
                phase: self.phase,
                interval,
                weak: false,
            },
            step,
        )
    }
}
