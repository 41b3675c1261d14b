//! BuildKit's progress as log lines.
//!
//! In: [`SolveStatus`]es. Out: lines, each with the step's number, as in buildx's plain progress: `#7 [2/3] RUN make`, its output,
//! `#7 done in 2.5 s`, and the running steps after [`IDLE`]. The last [`step::TAIL`] lines of a step are kept in case it fails. All
//! kept texts together have at most [`MAX_BYTES`]; steps beyond that are ignored.

mod step;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use image::Digest;
use jiff::Timestamp;

use super::budget::{Budget, cut};
use super::cache_step;
use super::rawjson::{SolveStatus, Vertex, VertexLog, VertexStatus};
pub(crate) use crate::runner::visible::one_line;
pub(crate) use step::Step;

/// Limit of kept names, errors and output, and of [`ENTRY`] for each step.
const MAX_BYTES: usize = 128 * 1024 * 1024;

/// The size of a step without these texts (bytes): mainly an unfinished line.
const ENTRY: usize = 4 * 1024;

/// Longer names and identifiers (bytes) are cut.
const MAX_NAME: usize = 16 * 1024;

/// After this time without a line, running steps are printed.
const IDLE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Progress {
    steps: Vec<Step>,
    by_digest: HashMap<String, usize>,
    last_line: Instant,
    last_change: Instant,
    push_started: Option<Timestamp>,
    pushing: Option<Digest>,
    budget: Budget,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            by_digest: HashMap::new(),
            last_line: Instant::now(),
            last_change: Instant::now(),
            push_started: None,
            pushing: None,
            budget: Budget::of(MAX_BYTES),
        }
    }
}

impl Progress {
    pub(crate) fn show(&mut self, status: &SolveStatus, mut print: impl FnMut(&str)) {
        let mut printed = false;
        let mut print = |line: &str| {
            printed = true;
            print(line);
        };
        let mut has_changed = !status.vertexes.is_empty() || !status.logs.is_empty();
        for vertex in &status.vertexes {
            self.vertex(vertex, &mut print);
        }
        for part in &status.statuses {
            has_changed |= self.part(part, &mut print);
        }
        for log in &status.logs {
            self.output(log, &mut print);
        }
        if printed {
            self.last_line = Instant::now();
        }
        if has_changed {
            self.last_change = Instant::now();
        }
    }

    /// Prints work that takes long, and running steps when idle. Called about once a second.
    pub(crate) fn tick(&mut self, now: Instant, time: Timestamp, mut print: impl FnMut(&str)) {
        let idle = now.saturating_duration_since(self.last_line) >= IDLE;
        let mut is_running = false;
        let mut printed = idle;
        let steps = self.steps.iter_mut().enumerate();
        for (index, step) in steps.filter(|(_, step)| step.is_running()) {
            is_running = true;
            printed |= step.tick(index + 1, time, idle, &mut print);
        }
        if idle && !is_running {
            print("waiting for BuildKit");
        }
        if printed {
            self.last_line = now;
        }
    }

    /// The step that failed first, except those that BuildKit cancelled. BuildKit continues without a cache, so caches come last.
    pub(crate) fn failed(&self) -> Option<&Step> {
        let is_failed = |step: &&Step| {
            let error = step.error.as_deref();
            error.is_some_and(|error| !step::is_cancelled(error))
        };
        let mut failed = self.steps.iter().filter(is_failed);
        let is_own = |step: &&Step| !cache_step::is_transfer(&step.name);
        failed.clone().find(is_own).or_else(|| failed.next_back())
    }

    /// When the first manifest was sent.
    pub(super) fn push_started(&self) -> Option<Timestamp> {
        self.push_started
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_running())
    }

    /// The time since the last change.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_change)
    }

    /// The digest of the image or index whose push under a tag began.
    pub(super) fn pushing(&self) -> Option<&Digest> {
        self.pushing.as_ref()
    }

    /// All steps, in the order of their first status.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn vertex(&mut self, vertex: &Vertex, print: &mut impl FnMut(&str)) {
        let digest = cut(&vertex.digest, MAX_NAME);
        if !self.by_digest.contains_key(digest) && self.budget.take(ENTRY + digest.len()) {
            self.by_digest.insert(digest.to_owned(), self.steps.len());
            self.steps.push(Step::default());
        }
        if let Some((number, step, budget)) = self.step(digest) {
            step.vertex(number, vertex, budget, print);
        }
    }

    /// Whether it is news.
    fn part(&mut self, part: &VertexStatus, print: &mut impl FnMut(&str)) -> bool {
        // Layers go first, and no tag names them yet.
        if let Some(rest) = part.id.strip_prefix("pushing manifest") {
            self.push_started = self.push_started.or(part.started);
            if self.pushing.is_none() {
                let digest = rest.rsplit_once('@');
                self.pushing = digest.and_then(|(_, digest)| digest.trim().parse().ok());
            }
        }
        // A step that is not followed may have changed.
        self.step(&part.vertex)
            .is_none_or(|(number, step, budget)| step.part(number, part, budget, print))
    }

    fn output(&mut self, log: &VertexLog, print: &mut impl FnMut(&str)) {
        if let Some((number, step, budget)) = self.step(&log.vertex) {
            step.output(number, log, budget, print);
        }
    }

    fn step(&mut self, digest: &str) -> Option<(usize, &mut Step, &mut Budget)> {
        let index = *self.by_digest.get(cut(digest, MAX_NAME))?;
        Some((index + 1, self.steps.get_mut(index)?, &mut self.budget))
    }
}

#[cfg(test)]
mod tests;
