//! The build's log as a person reads it, made from BuildKit's stream.
//!
//! In: [`SolveStatus`]es in the order of their arrival. Out: lines: a step starts, its output, it
//! is done in N s; and a word about what still runs when nothing was said for a while. Each line
//! begins with the step's number, `#7`, as in buildx's plain progress. Of every step that
//! may yet fail the last [`step::TAIL`] lines are kept, and of all together no more than [`MOST_KEPT`]: what comes beyond is not
//! followed.

mod step;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use image::Digest;
use jiff::Timestamp;

use super::budget::{Budget, cut};
use super::cache_step;
use super::rawjson::{SolveStatus, Vertex, VertexLog, VertexStatus};
pub(crate) use step::Step;
pub(super) use step::one_line;

/// Bytes that are kept of all steps: names, errors, output, and [`ENTRY`] for each.
const MOST_KEPT: usize = 128 * 1024 * 1024;

/// What a step takes beside its texts (bytes): most of it a line that has not ended.
const ENTRY: usize = 4 * 1024;

/// Longer names and identifiers (bytes) are cut.
const LONGEST_NAME: usize = 16 * 1024;

/// When nothing was said for this long, what runs is named.
const SILENCE: Duration = Duration::from_secs(30);

/// What is known of every step.
#[derive(Debug)]
pub(crate) struct Progress {
    steps: Vec<Step>,
    by_digest: HashMap<String, usize>,
    last_word: Instant,
    last_news: Instant,
    push_started: Option<Timestamp>,
    pushing: Option<Digest>,
    budget: Budget,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            by_digest: HashMap::new(),
            last_word: Instant::now(),
            last_news: Instant::now(),
            push_started: None,
            pushing: None,
            budget: Budget::of(MOST_KEPT),
        }
    }
}

impl Progress {
    /// Shows what a status brings.
    pub(crate) fn show(&mut self, status: &SolveStatus, mut print: impl FnMut(&str)) {
        let mut printed = false;
        let mut print = |line: &str| {
            printed = true;
            print(line);
        };
        let mut is_news = !status.vertexes.is_empty() || !status.logs.is_empty();
        for vertex in &status.vertexes {
            self.vertex(vertex, &mut print);
        }
        for part in &status.statuses {
            is_news |= self.part(part, &mut print);
        }
        for log in &status.logs {
            self.output(log, &mut print);
        }
        if printed {
            self.last_word = Instant::now();
        }
        if is_news {
            self.last_news = Instant::now();
        }
    }

    /// Names work that takes long, and what runs when nothing was said for a while. To be called
    /// about once a second.
    pub(crate) fn tick(&mut self, now: Instant, time: Timestamp, mut print: impl FnMut(&str)) {
        let silent = now.saturating_duration_since(self.last_word) >= SILENCE;
        let mut running = 0;
        let mut said = false;
        let steps = self.steps.iter_mut().enumerate();
        for (index, step) in steps.filter(|(_, step)| step.is_running()) {
            running += 1;
            said |= step.tick(index + 1, time, silent, &mut print);
        }
        if silent && running == 0 {
            said = true;
            print("waiting for BuildKit");
        }
        if said {
            self.last_word = now;
        }
    }

    /// The step that failed first, without those that BuildKit cancelled. A build goes
    /// on without a cache, so that one that can't be read or written counts last.
    pub(crate) fn failed(&self) -> Option<&Step> {
        let failed = || {
            self.steps.iter().filter(|step| {
                let error = step.error.as_deref();
                error.is_some_and(|error| !step::is_cancelled(error))
            })
        };
        failed()
            .find(|step| !cache_step::is_transfer(&step.name))
            .or_else(|| failed().next_back())
    }

    /// When the first layer or manifest was sent.
    pub(super) fn push_started(&self) -> Option<Timestamp> {
        self.push_started
    }

    /// The steps that run.
    pub(super) fn running(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_running())
    }

    /// For how long nothing has changed.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_news)
    }

    /// The digest of the image or index whose push under a tag began.
    pub(super) fn pushing(&self) -> Option<&Digest> {
        self.pushing.as_ref()
    }

    /// All steps, in the order in which they were first heard of.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn vertex(&mut self, vertex: &Vertex, print: &mut impl FnMut(&str)) {
        let digest = cut(&vertex.digest, LONGEST_NAME);
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
        let index = *self.by_digest.get(cut(digest, LONGEST_NAME))?;
        Some((index + 1, self.steps.get_mut(index)?, &mut self.budget))
    }
}

#[cfg(test)]
mod tests;
