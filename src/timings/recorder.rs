//! Follows one build and adds it up.
//!
//! In: every [`SolveStatus`] with the time its line arrived, and our own [`Stage`]s. Out, at the end: [`BuildTimings`]. What is kept is bounded
//! by the number of vertices and statuses, not of lines, which BuildKit repeats; log bytes are not kept. The order of lines doesn't matter,
//! as long as each comes with its own arrival, nor does hearing one twice.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::clock::{Scale, whole_milliseconds};
use super::partition::{Activity, partition};
use super::vertex::{Room, VertexRecord};
use super::{BootStage, BuildTimings, Stage, Step, Traffic};
use crate::build::rawjson::SolveStatus;

/// Vertices, statuses and runs of both that are kept at most; what comes beyond is not timed. A build of 10,000 steps has some 50,000.
const MOST_RECORDS: usize = 100_000;

/// Follows one build.
#[derive(Debug)]
pub(crate) struct Recorder {
    started: Timestamp,
    stages: Vec<Stage>,
    vertices: BTreeMap<String, VertexRecord>,
    room: Room,
    /// Stages of the boot that are ours.
    boot: Vec<Stage>,
    api_traffic: Option<Traffic>,
}

impl Recorder {
    /// Begins a build that started then, by our clock.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self {
            started,
            stages: Vec::new(),
            vertices: BTreeMap::new(),
            room: Room(MOST_RECORDS),
            boot: Vec::new(),
            api_traffic: None,
        }
    }

    /// Adds a part of the builder's boot that BuildKit knows nothing of.
    pub(crate) fn add_boot(&mut self, stage: Stage) {
        self.boot.push(stage.clone());
        self.add(stage);
    }

    /// Takes note of what went over a cluster's API server.
    pub(crate) fn went_over_the_api(&mut self, traffic: Traffic) {
        self.api_traffic = Some(traffic);
    }

    /// Adds work of our own, which may overlap the build and other stages.
    pub(crate) fn add(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    /// Takes in one line that arrived then, by our clock.
    pub(crate) fn record(&mut self, status: &SolveStatus, arrived: Timestamp) {
        let Self { vertices, room, .. } = self;
        for vertex in &status.vertexes {
            if let Some(record) = room.entry(vertices, &vertex.digest) {
                record.take(vertex, arrived, room);
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
        let scale = Scale {
            started: self.started,
            total: whole_milliseconds(ended.duration_since(self.started)),
            offset: self
                .vertices
                .values()
                .filter_map(VertexRecord::builder_lag)
                .min()
                .unwrap_or_default(),
        };
        let (mut activities, mut steps): (Vec<Activity>, Vec<Step>) =
            self.stages.iter().map(|stage| stage.finish(&scale)).unzip();
        for vertex in self.vertices.values() {
            let (did, step) = vertex.finish(&scale);
            activities.extend(did);
            steps.extend(step);
        }
        let mut boot: Vec<BootStage> = self
            .vertices
            .values()
            .flat_map(|vertex| vertex.boot(&scale))
            .collect();
        boot.extend(self.boot.iter().map(|stage| {
            let interval = scale.interval(stage.started, Some(stage.ended));
            BootStage {
                name: stage.name.clone(),
                started: interval.start,
                duration: interval.length(),
            }
        }));
        boot.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
        steps.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
        let (phases, timeline) = partition(&activities, scale.total);
        // As BuildKit counts what goes into its history:
        // <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/solver/llbsolver/history/buildhistory.go#L711-L765>.
        let of_builder = || {
            self.vertices
                .values()
                .filter(|vertex| vertex.is_of_builder())
        };
        BuildTimings {
            started: scale.started,
            total: scale.total,
            phases,
            timeline,
            steps,
            boot,
            cached_steps: of_builder().filter(|vertex| vertex.cached).count(),
            total_steps: of_builder().count(),
            clock_offset: scale.offset,
            api_traffic: self.api_traffic,
        }
    }
}

impl Stage {
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
