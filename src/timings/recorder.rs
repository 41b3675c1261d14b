//! Keeps what the stream tells, no more than is needed for the times.
//!
//! In: every [`SolveStatus`] with the time its line arrived, and our own [`Stage`]s. Out, at the end: [`BuildTimings`]. What is kept is bounded by the number of vertices and
//! of statuses, not of lines: BuildKit repeats both, and log bytes are not looked at. The order of lines doesn't matter, nor does hearing one twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clock::{self, Clock};
use super::partition::{Activity, merged, outside, partition};
use super::{BuildTimings, Interval, Phase, Stage, Step, classify};
use crate::build::rawjson::{SolveStatus, Vertex, VertexStatus};

/// Longer names, ids and errors are cut to this many bytes.
pub(crate) const LONGEST_NAME: usize = 512;
/// Vertices and statuses kept; what comes beyond them is not timed. The largest graphs have some thousand.
const MOST_RECORDS: usize = 100_000;
/// Runs kept of one vertex or status; the last one swallows what comes beyond.
const MOST_RUNS: usize = 64;

/// Follows one build.
#[derive(Debug)]
pub(crate) struct Recorder {
    started: Timestamp,
    stages: Vec<Stage>,
    vertices: BTreeMap<String, VertexRecord>,
    records: usize,
}

#[derive(Debug, Default)]
struct VertexRecord {
    name: String,
    runs: Runs,
    /// The error of the run that completed last.
    error: Option<(Timestamp, String)>,
    cached: bool,
    /// Smallest arrival minus timestamp of its events.
    lag: Option<SignedDuration>,
    /// When lines arrived that say it started, and that it completed: first of each.
    arrived: (Option<Timestamp>, Option<Timestamp>),
    statuses: BTreeMap<String, StatusRecord>,
}

#[derive(Debug, Default)]
struct StatusRecord {
    runs: Runs,
    bytes: u64,
}

impl Recorder {
    /// Begins a build that started then, by our clock.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self {
            started,
            stages: Vec::new(),
            vertices: BTreeMap::new(),
            records: 0,
        }
    }

    /// Adds work of our own, which may overlap the build and other stages.
    pub(crate) fn add(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    /// Takes in one line that arrived then, by our clock.
    pub(crate) fn record(&mut self, status: &SolveStatus, arrived: Timestamp) {
        for vertex in &status.vertexes {
            if let Some(record) = self.vertex(&vertex.digest) {
                record.take(vertex, arrived);
            }
        }
        for status in &status.statuses {
            self.take_status(status, arrived);
        }
        for log in &status.logs {
            if let (Some(at), Some(record)) = (log.timestamp, self.vertices.get_mut(&log.vertex)) {
                record.plausible(at, arrived);
            }
        }
    }

    fn vertex(&mut self, digest: &str) -> Option<&mut VertexRecord> {
        let digest = cut(digest);
        if !self.vertices.contains_key(&digest) {
            if self.records >= MOST_RECORDS {
                return None;
            }
            self.records += 1;
        }
        Some(self.vertices.entry(digest).or_default())
    }

    fn take_status(&mut self, status: &VertexStatus, arrived: Timestamp) {
        let full = self.records >= MOST_RECORDS;
        let Some(vertex) = self.vertex(&status.vertex) else {
            return;
        };
        let id = cut(&status.id);
        let known = vertex.statuses.contains_key(&id);
        if known || !full {
            vertex.take_status(id, status, arrived);
            self.records += usize::from(!known);
        }
    }

    /// Ends the build then, by our clock; what still runs ends then too.
    pub(crate) fn finish(self, ended: Timestamp) -> BuildTimings {
        let total = whole_milliseconds(ended.duration_since(self.started));
        let scale = Scale {
            started: self.started,
            total,
            offset: self.offset(),
        };
        let mut activities = Vec::new();
        let mut steps = Vec::new();
        let mut counted = (0, 0);
        for stage in &self.stages {
            let interval = scale.interval(stage.started, Some(stage.ended), SignedDuration::ZERO);
            activities.push(Activity {
                phase: stage.phase,
                interval,
                weak: false,
            });
            steps.push(stage.step(interval));
        }
        for vertex in self.vertices.values() {
            let class = classify::vertex(&vertex.name);
            let intervals = vertex.intervals(class.clock, &scale);
            // Vertices of buildx are not in BuildKit's own record.
            if class.clock == Clock::Builder && !vertex.name.is_empty() {
                counted.0 += usize::from(vertex.cached);
                counted.1 += 1;
            }
            vertex.activities(&class, &intervals, &scale, &mut activities);
            steps.extend(vertex.step(class.phase, &merged(&intervals)));
        }
        activities.sort_unstable();
        steps.sort_by(|a, b| (a.started, &a.name).cmp(&(b.started, &b.name)));
        let (phases, timeline) = partition(&activities, total);
        BuildTimings {
            started: self.started,
            total,
            phases,
            timeline,
            steps,
            cached_steps: counted.0,
            total_steps: counted.1,
            clock_offset: scale.offset,
        }
    }

    fn offset(&self) -> SignedDuration {
        let of_builder =
            |vertex: &&VertexRecord| classify::vertex(&vertex.name).clock == Clock::Builder;
        let lags = self
            .vertices
            .values()
            .filter(of_builder)
            .filter_map(|vertex| vertex.lag);
        lags.min().unwrap_or_default()
    }
}

impl VertexRecord {
    fn take(&mut self, vertex: &Vertex, arrived: Timestamp) {
        if self.name.is_empty() {
            self.name = cut(&vertex.name);
        }
        self.cached |= vertex.cached;
        let started = vertex.started.filter(|at| self.plausible(*at, arrived));
        let completed = vertex.completed.filter(|at| self.plausible(*at, arrived));
        let first = if completed.is_some() {
            &mut self.arrived.1
        } else {
            &mut self.arrived.0
        };
        if started.is_some() {
            *first = Some(first.map_or(arrived, |first| first.min(arrived)));
            self.runs.take(started, completed);
        }
        if let Some(at) =
            completed.filter(|at| self.error.as_ref().is_none_or(|(last, _)| last <= at))
        {
            self.error = Some((at, cut(&vertex.error)));
        }
    }

    fn take_status(&mut self, id: String, status: &VertexStatus, arrived: Timestamp) {
        let started = status.started.filter(|at| self.plausible(*at, arrived));
        let completed = status.completed.filter(|at| self.plausible(*at, arrived));
        if let Some(at) = status.timestamp {
            self.plausible(at, arrived);
        }
        let record = self.statuses.entry(id).or_default();
        record.runs.take(started, completed);
        record.bytes = record
            .bytes
            .max(u64::try_from(status.current).unwrap_or_default());
    }

    /// Notes how late the news is.
    fn plausible(&mut self, at: Timestamp, arrived: Timestamp) -> bool {
        let Some(lag) = clock::lag(at, arrived) else {
            return false;
        };
        self.lag = clock::smaller(self.lag, lag);
        true
    }

    fn intervals(&self, clock: Clock, scale: &Scale) -> Vec<Interval> {
        match clock {
            Clock::Builder => scale.intervals(&self.runs, scale.offset, None),
            Clock::Local => scale.intervals(&self.runs, SignedDuration::ZERO, None),
            Clock::Arrival => {
                let first = self.arrived.0.or(self.arrived.1);
                let run = |started| scale.interval(started, self.arrived.1, SignedDuration::ZERO);
                first.map(run).into_iter().collect()
            }
        }
    }

    fn activities(
        &self,
        class: &classify::Class,
        own: &[Interval],
        scale: &Scale,
        to: &mut Vec<Activity>,
    ) {
        let offset = if class.clock == Clock::Builder {
            scale.offset
        } else {
            SignedDuration::ZERO
        };
        let last_end = own.iter().map(|interval| interval.end).max();
        let mut others = Vec::new();
        for (id, status) in &self.statuses {
            let Some(phase) =
                classify::status(class.phase, id).filter(|phase| *phase != class.phase)
            else {
                continue;
            };
            for interval in scale.intervals(&status.runs, offset, last_end) {
                others.push(interval);
                to.push(Activity {
                    phase,
                    interval,
                    weak: class.weak,
                });
            }
        }
        let rest = outside(own, &others).into_iter();
        to.extend(rest.map(|interval| Activity {
            phase: class.phase,
            interval,
            weak: class.weak,
        }));
    }

    fn step(&self, phase: Phase, intervals: &[Interval]) -> Option<Step> {
        let label = classify::label(&self.name);
        Some(Step {
            name: self.name.clone(),
            stage: label.stage,
            platform: label.platform,
            phase,
            started: intervals.first()?.start,
            duration: intervals.iter().map(|interval| interval.length()).sum(),
            cached: self.cached,
            error: self
                .error
                .as_ref()
                .map(|(_, error)| error.clone())
                .filter(|error| !error.is_empty()),
            completed: self.runs.completed(),
            bytes: self
                .statuses
                .values()
                .map(|status| status.bytes)
                .fold(0, u64::saturating_add),
        })
    }
}

impl Stage {
    fn step(&self, interval: Interval) -> Step {
        Step {
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
        }
    }
}

/// The runs of one vertex or status: when each started, and when it completed if it did.
#[derive(Debug, Default)]
struct Runs(BTreeMap<Timestamp, Option<Timestamp>>);

impl Runs {
    fn take(&mut self, started: Option<Timestamp>, completed: Option<Timestamp>) {
        let Some(started) = started else { return };
        let started = if self.0.len() >= MOST_RUNS && !self.0.contains_key(&started) {
            self.0
                .range(..started)
                .next_back()
                .map_or(started, |(before, _)| *before)
        } else {
            started
        };
        let known = self.0.entry(started).or_default();
        *known = (*known).max(completed);
    }

    fn completed(&self) -> bool {
        self.0
            .last_key_value()
            .is_some_and(|(_, completed)| completed.is_some())
    }
}

/// From timestamps to time since the start.
#[derive(Debug)]
struct Scale {
    started: Timestamp,
    total: Duration,
    offset: SignedDuration,
}

impl Scale {
    /// Intervals of these runs; one that never completed ends where the next one starts, the last one at `open_end` or with the build.
    fn intervals(
        &self,
        runs: &Runs,
        offset: SignedDuration,
        open_end: Option<Duration>,
    ) -> Vec<Interval> {
        let starts = runs
            .0
            .keys()
            .skip(1)
            .map(|start| Some(*start))
            .chain([None]);
        let run = |((started, completed), next): (
            (&Timestamp, &Option<Timestamp>),
            Option<Timestamp>,
        )| {
            let mut interval = self.interval(*started, completed.or(next), offset);
            if let (None, None, Some(end)) = (completed, next, open_end) {
                interval.end = end.max(interval.start);
            }
            interval
        };
        runs.0.iter().zip(starts).map(run).collect()
    }

    fn interval(
        &self,
        started: Timestamp,
        ended: Option<Timestamp>,
        offset: SignedDuration,
    ) -> Interval {
        let since = |at: Timestamp| {
            let since = at.duration_since(self.started).saturating_add(offset);
            whole_milliseconds(since).min(self.total)
        };
        let start = since(started);
        Interval {
            start,
            end: ended.map_or(self.total, since).max(start),
        }
    }
}

/// Nothing before zero, and nothing finer than a millisecond.
fn whole_milliseconds(duration: SignedDuration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or_default())
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(LONGEST_NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
