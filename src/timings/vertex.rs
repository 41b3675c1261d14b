//! The record of one vertex, and the step it becomes.
//!
//! In: every mention of the vertex and of its statuses, in any order and possibly repeated. Out: its activities for the partition, and its
//! [`Step`].

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::classify::{self, Class};
use super::clock::{self, Clock, Runs, Scale};
use super::label;
use super::partition::{Activity, merged, outside};
use super::{BootStage, Interval, Phase, Step};
use crate::buildx::rawjson::{Vertex, VertexStatus};

/// Longer names, ids and errors are cut (bytes).
pub(super) const LONGEST_NAME: usize = 512;

/// The number of vertices, statuses and runs that may still be kept.
#[derive(Debug, Clone)]
pub(super) struct Budget(pub usize);

impl Budget {
    fn spend(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }

    /// The entry of this key; `None` if it is new and the budget is spent.
    pub(super) fn entry<'map, Kept: Default>(
        &mut self,
        map: &'map mut BTreeMap<String, Kept>,
        key: &str,
    ) -> Option<&'map mut Kept> {
        let key = cut(key);
        (map.contains_key(&key) || self.spend()).then(|| map.entry(key).or_default())
    }

    fn run(&mut self, runs: &mut Runs, started: Timestamp, completed: Option<Timestamp>) {
        if runs.contains_key(&started) || self.spend() {
            let known = runs.entry(started).or_default();
            *known = (*known).max(completed);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct VertexRecord {
    pub name: String,
    pub cached: bool,
    /// The attempt in which it ran first.
    pub attempt: usize,
    /// False while only its statuses or logs are known.
    known: bool,
    runs: Runs,
    /// The error of the run that completed last; empty if it had none.
    error: Option<(Timestamp, String)>,
    /// Smallest arrival minus timestamp of its events.
    lag: Option<SignedDuration>,
    /// First arrival of a line with a start but no end, and of one with an end.
    began_arrived: Option<Timestamp>,
    ended_arrived: Option<Timestamp>,
    statuses: BTreeMap<String, StatusRecord>,
}

#[derive(Debug, Clone, Default)]
struct StatusRecord {
    runs: Runs,
    bytes: u64,
}

impl VertexRecord {
    pub(super) fn add(
        &mut self,
        vertex: &Vertex,
        attempt: usize,
        arrived: Timestamp,
        budget: &mut Budget,
    ) {
        if self.name.is_empty() {
            self.name = cut(&vertex.name);
        }
        self.known = true;
        if self.runs.is_empty() {
            self.attempt = attempt;
        }
        self.cached |= vertex.cached && attempt == self.attempt;
        let completed = vertex.completed.filter(|at| self.observe(*at, arrived));
        if let Some(started) = vertex.started.filter(|at| self.observe(*at, arrived)) {
            budget.run(&mut self.runs, started, completed);
            let first = match completed {
                Some(_) => &mut self.ended_arrived,
                None => &mut self.began_arrived,
            };
            *first = Some(first.map_or(arrived, |first| first.min(arrived)));
        }
        if let Some(at) = completed {
            self.error = self.error.take().max(Some((at, cut(&vertex.error))));
        }
    }

    /// Merges the same step of a later attempt.
    pub(super) fn join(&mut self, later: Self) {
        for (started, completed) in later.runs {
            self.runs.entry(started).or_insert(completed);
        }
        for (id, status) in later.statuses {
            let known = self.statuses.entry(id).or_default();
            known.bytes = known.bytes.max(status.bytes);
            known.runs.extend(status.runs);
        }
        self.error = self.error.take().max(later.error);
        self.lag = [self.lag, later.lag].into_iter().flatten().min();
    }

    pub(super) fn add_status(
        &mut self,
        status: &VertexStatus,
        arrived: Timestamp,
        budget: &mut Budget,
    ) {
        if let Some(at) = status.timestamp {
            self.observe(at, arrived);
        }
        let completed = status.completed.filter(|at| self.observe(*at, arrived));
        let started = status.started.filter(|at| self.observe(*at, arrived));
        let Some(record) = budget.entry(&mut self.statuses, &status.id) else {
            return;
        };
        let current = u64::try_from(status.current).unwrap_or_default();
        record.bytes = record.bytes.max(current);
        if let Some(started) = started {
            budget.run(&mut record.runs, started, completed);
        }
    }

    /// Updates the lag; false if the timestamp is implausible.
    pub(super) fn observe(&mut self, at: Timestamp, arrived: Timestamp) -> bool {
        let Some(lag) = clock::lag(at, arrived) else {
            return false;
        };
        self.lag = Some(self.lag.map_or(lag, |smallest| smallest.min(lag)));
        true
    }

    /// Smallest arrival minus timestamp, if the timestamps are BuildKit's.
    pub(super) fn builder_lag(&self) -> Option<SignedDuration> {
        self.lag.filter(|_| self.is_of_buildkit())
    }

    /// False for buildx's own vertices.
    pub(super) fn is_of_buildkit(&self) -> bool {
        self.known && classify::vertex(&self.name).clock == Clock::Builder
    }

    /// Its place in the Dockerfile, such as `builder 2/4`, if it is an instruction that makes something: `RUN`, `COPY`, `ADD`, `WORKDIR`.
    pub(super) fn place_in_dockerfile(&self) -> Option<&str> {
        let is_instruction = self.known
            && label::label(&self.name).numbered
            && classify::vertex(&self.name).phase == Phase::Build;
        let (place, _) = self.name.split_once("] ")?;
        is_instruction.then_some(place)
    }

    /// Its activities, and its step if it ran.
    pub(super) fn finish(&self, scale: &Scale) -> (Vec<Activity>, Option<Step>) {
        let mut class = classify::vertex(&self.name);
        if self.cached && class.phase == Phase::Build && self.fetched() {
            // A cached step does not run: its time is spent on fetching its layers.
            class.phase = Phase::Pull;
        }
        let own = merged(&self.intervals(class.clock, scale));
        let activities = self.activities(&class, &own, scale);
        (activities, self.step(class.phase, &own))
    }

    /// The stages of the builder's start, if it is that vertex. buildx times them by our clock.
    pub(super) fn boot(&self, scale: &Scale) -> Vec<BootStage> {
        if classify::vertex(&self.name).phase != Phase::Builder {
            return Vec::new();
        }
        let stage = |(id, status): (&String, &StatusRecord)| {
            let (started, ended) = status.runs.first_key_value()?;
            let interval = scale.interval(*started, *ended);
            Some(BootStage {
                name: id.clone(),
                started: interval.start,
                duration: interval.length(),
            })
        };
        self.statuses.iter().filter_map(stage).collect()
    }

    fn fetched(&self) -> bool {
        let pulls = |id: &String| classify::status(Phase::Build, id) == Some(Phase::Pull);
        self.statuses.keys().any(pulls)
    }

    fn intervals(&self, clock: Clock, scale: &Scale) -> Vec<Interval> {
        match (clock, self.began_arrived.or(self.ended_arrived)) {
            (Clock::Builder, _) => scale.intervals(&self.runs, scale.total),
            (Clock::Arrival, Some(began)) => vec![scale.interval(began, self.ended_arrived)],
            (Clock::Arrival, None) => Vec::new(),
        }
    }

    /// Its statuses of another phase, and the rest of its own time.
    fn activities(&self, class: &Class, own: &[Interval], scale: &Scale) -> Vec<Activity> {
        let activity = |phase, interval| Activity {
            phase,
            interval,
            weak: class.weak,
        };
        let open_end = own.last().map_or(scale.total, |last| last.end);
        let mut activities = Vec::new();
        if class.clock == Clock::Builder {
            for (id, status) in &self.statuses {
                let phase = classify::status(class.phase, id).filter(|phase| *phase != class.phase);
                let Some(phase) = phase else { continue };
                let intervals = scale.intervals(&status.runs, open_end).into_iter();
                activities.extend(intervals.map(|interval| activity(phase, interval)));
            }
        }
        let others: Vec<Interval> = activities.iter().map(|other| other.interval).collect();
        let rest = outside(own, &others).into_iter();
        activities.extend(rest.map(|interval| activity(class.phase, interval)));
        activities
    }

    fn step(&self, phase: Phase, own: &[Interval]) -> Option<Step> {
        let label = label::label(&self.name);
        let error = self.error.as_ref().map(|(_, error)| error.clone());
        let last = self.runs.last_key_value();
        let sizes = self.statuses.values().map(|status| status.bytes);
        Some(Step {
            name: self.name.clone(),
            stage: label.stage,
            platform: label.platform,
            phase,
            started: own.first()?.start,
            duration: own.iter().map(|interval| interval.length()).sum(),
            cached: self.cached,
            completed: last.is_some_and(|(_, end)| end.is_some()),
            error: error.filter(|error| !error.is_empty()),
            bytes: sizes.fold(0, u64::saturating_add),
        })
    }
}

pub(super) fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(LONGEST_NAME))
        .unwrap_or(text)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
    }

    fn mention(name: &str, started: i64, completed: Option<i64>, error: &str) -> Vertex {
        Vertex {
            name: name.to_owned(),
            started: Some(at(started)),
            completed: completed.map(at),
            error: error.to_owned(),
            ..Vertex::default()
        }
    }

    fn step(mentions: &[(Vertex, i64)]) -> Step {
        let (mut record, mut budget) = (VertexRecord::default(), Budget(10));
        for (vertex, arrived) in mentions {
            record.add(vertex, 0, at(*arrived), &mut budget);
        }
        let total = Duration::from_millis(1_000);
        let scale = Scale {
            started: at(0),
            total,
            offset: SignedDuration::ZERO,
        };
        record.finish(&scale).1.unwrap()
    }

    #[test]
    fn the_run_that_completed_last_says_whether_it_failed() {
        let failed = (mention("[2/2] RUN a", 10, Some(20), "exit code: 1"), 21);
        let succeeded = (mention("[2/2] RUN a", 30, Some(40), ""), 41);
        assert_eq!(step(&[failed.clone(), succeeded.clone()]).error, None);
        assert_eq!(step(&[succeeded, failed.clone()]).error, None);
        assert_eq!(step(&[failed]).error.as_deref(), Some("exit code: 1"));
    }

    #[test]
    fn pauses_between_two_runs_do_not_count() {
        let first = (mention("[2/2] RUN a", 10, Some(20), ""), 21);
        let second = (mention("[2/2] RUN a", 100, Some(140), ""), 141);
        let step = step(&[first, second]);
        assert_eq!(
            (step.started, step.duration),
            (Duration::from_millis(10), Duration::from_millis(50))
        );
    }

    #[test]
    fn vertices_of_buildx_last_from_their_first_line_to_their_first_end() {
        let name = "resolving provenance for metadata file";
        let began = mention(name, 5_000, None, "");
        let ended = mention(name, 5_000, Some(5_100), "");
        let mut mentions = [
            (began.clone(), 10),
            (began, 30),
            (ended.clone(), 70),
            (ended, 90),
        ];
        for _ in 0..2 {
            let step = step(&mentions);
            assert_eq!(
                (step.started, step.duration),
                (Duration::from_millis(10), Duration::from_millis(60))
            );
            mentions.reverse();
        }
    }

    #[test]
    fn cuts_long_names_between_characters() {
        assert_eq!(cut(&"é".repeat(300)).len(), 512);
        assert_eq!(cut(&format!("x{}", "é".repeat(300))).len(), 511);
    }
}
