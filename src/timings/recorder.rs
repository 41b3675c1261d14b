//! Follows one build and adds it up.
//!
//! In: every [`SolveStatus`] with the time its line arrived, and our own [`Stage`]s. Out, at the end: [`BuildTimings`]. Memory is bounded by
//! the number of vertices and statuses, not of lines; logs are not kept. The order of lines does not matter, as long as each comes with its
//! own arrival, nor does repetition.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::{Scale, whole_milliseconds};
use super::partition::{Activity, partition};
use super::vertex::{Budget, VertexRecord, cut};
use super::{BootStage, BuildTimings, Retry, RetryTime, Stage, Step, Traffic};
use crate::buildx::rawjson::SolveStatus;

/// Vertices, statuses and runs of both that are kept; the rest is not timed. A build of 10,000 steps has about 50,000.
const MOST_RECORDS: usize = 100_000;

const MOST_RETRIES: usize = 100;

/// Follows one build.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    started: Timestamp,
    stages: Vec<Stage>,
    boot: Vec<Stage>,
    retries: Vec<Retry>,
    /// The number of retries, kept or not.
    attempt: usize,
    vertices: BTreeMap<String, VertexRecord>,
    budget: Budget,
    api_traffic: Option<Traffic>,
}

impl Recorder {
    /// A build that started then, by our clock.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self {
            started,
            stages: Vec::new(),
            boot: Vec::new(),
            retries: Vec::new(),
            attempt: 0,
            vertices: BTreeMap::new(),
            budget: Budget(MOST_RECORDS),
            api_traffic: None,
        }
    }

    /// Sets the traffic through a cluster's API server.
    pub(crate) fn set_api_traffic(&mut self, traffic: Traffic) {
        self.api_traffic = Some(traffic);
    }

    /// Adds work of our own, which may overlap the build and other stages.
    pub(crate) fn add(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    /// Adds a part of the builder's start.
    pub(crate) fn add_boot(&mut self, stage: Stage) {
        self.boot.push(stage.clone());
        self.stages.push(stage);
    }

    /// Records a retry. The build's earlier attempts stay: a step that ran first and comes from the cache later was not cached.
    pub(crate) fn retried(&mut self, retry: Retry) {
        self.attempt += 1;
        if self.retries.len() < MOST_RETRIES {
            self.retries.push(retry);
        }
    }

    /// Whether the name of a vertex has a text in it.
    pub(crate) fn has_vertex(&self, text: &str) -> bool {
        let mut vertices = self.vertices.values();
        vertices.any(|vertex| vertex.name.contains(text))
    }

    /// Records one line that arrived then, by our clock.
    pub(crate) fn record(&mut self, status: &SolveStatus, arrived: Timestamp) {
        let Self {
            vertices, budget, ..
        } = self;
        for vertex in &status.vertexes {
            if let Some(record) = budget.entry(vertices, &vertex.digest) {
                record.add(vertex, self.attempt, arrived, budget);
            }
        }
        for status in &status.statuses {
            if let Some(record) = budget.entry(vertices, &status.vertex) {
                record.add_status(status, arrived, budget);
            }
        }
        for log in &status.logs {
            if let (Some(at), Some(record)) = (log.timestamp, budget.entry(vertices, &log.vertex)) {
                record.observe(at, arrived);
            }
        }
    }

    /// Ends the build then, by our clock; what still runs ends then too.
    pub(crate) fn finish(self, ended: Timestamp) -> BuildTimings {
        let vertices = joined(self.vertices.into_values().collect());
        let lags = vertices.iter().filter_map(VertexRecord::builder_lag);
        let scale = Scale {
            started: self.started,
            total: whole_milliseconds(ended.duration_since(self.started)),
            offset: lags.min().unwrap_or_default(),
        };
        let (mut activities, mut steps): (Vec<Activity>, Vec<Step>) =
            self.stages.iter().map(|stage| stage.finish(&scale)).unzip();
        for vertex in &vertices {
            let (did, step) = vertex.finish(&scale);
            activities.extend(did);
            steps.extend(step);
        }
        let boot = vertices.iter().flat_map(|vertex| vertex.boot(&scale));
        let boot = boot.chain(self.boot.iter().map(|stage| stage.boot(&scale)));
        let mut boot: Vec<BootStage> = boot.collect();
        boot.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
        let retries = self.retries.iter().map(|retry| retry.finish(&scale));
        let mut retries: Vec<RetryTime> = retries.collect();
        retries.sort_by_key(|retry| retry.failed);
        steps.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
        let (phases, timeline) = partition(&activities, scale.total);
        // A `COPY --link` is two vertices in the same place.
        let mut instructions: BTreeMap<&str, bool> = BTreeMap::new();
        for vertex in &vertices {
            if let Some(place) = vertex.place_in_dockerfile() {
                *instructions.entry(place).or_insert(true) &= vertex.cached;
            }
        }
        BuildTimings {
            started: scale.started,
            total: scale.total,
            phases,
            timeline,
            steps,
            boot,
            retries,
            cached_steps: instructions.values().filter(|cached| **cached).count(),
            total_steps: instructions.len(),
            clock_offset: scale.offset,
            api_traffic: self.api_traffic,
        }
    }
}

/// A retried build has other vertices wherever the context takes part (a session's local source is a new one), with the same names: they
/// are the same steps.
fn joined(mut vertices: Vec<VertexRecord>) -> Vec<VertexRecord> {
    vertices.sort_by_key(|vertex| vertex.attempt);
    let mut joined: Vec<VertexRecord> = Vec::with_capacity(vertices.len());
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for vertex in vertices {
        let place = *places.entry(vertex.name.clone()).or_insert(joined.len());
        match joined.get_mut(place) {
            Some(first) if first.attempt < vertex.attempt && vertex.is_of_buildkit() => {
                first.join(vertex);
            }
            _ => joined.push(vertex),
        }
    }
    joined
}

impl Retry {
    fn finish(&self, scale: &Scale) -> RetryTime {
        RetryTime {
            what: cut(&self.what),
            why: cut(&self.why),
            failed: scale.interval(self.failed, Some(self.failed)).start,
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
        let activity = Activity {
            phase: self.phase,
            interval,
            weak: false,
        };
        let step = Step {
            name: self.name.clone(),
            stage: None,
            platform: None,
            phase: self.phase,
            started: interval.start,
            duration: interval.length(),
            cached: false,
            completed: true,
            error: None,
            bytes: 0,
        };
        (activity, step)
    }
}
