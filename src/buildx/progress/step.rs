//! One step: its log lines, and what is kept for an error.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::{ENTRY, MAX_NAME};
use crate::buildx::budget::{Budget, cut};
use crate::buildx::cache_step;
use crate::buildx::rawjson::{Vertex, VertexLog, VertexStatus};
use crate::runner::visible::one_line;

/// Lines of a step that are kept for its error.
pub(super) const TAIL: usize = 30;

/// Longer lines (bytes) are broken, so that output without line ends stays readable.
pub(super) const MAX_LINE: usize = 2000;

/// Longer errors (bytes) are cut.
pub(super) const MAX_ERROR: usize = 64 * 1024;

/// Bytes of an error that are kept beyond the budget.
pub(super) const SHORT_ERROR: usize = 512;

/// Limit of parts of one step. BuildKit downloads four layers at a time, but lists all that wait.
pub(super) const MAX_PARTS: usize = 1_000;

/// Shorter work gets no line: BuildKit starts and ends some steps several times.
const MIN_SHOWN: Duration = Duration::from_millis(100);

/// Parts that take longer are printed while they run.
const LONG: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Step {
    pub name: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The last lines of its output.
    pub tail: VecDeque<String>,
    started: Option<Timestamp>,
    announced: bool,
    ended: bool,
    /// Output after the last line end.
    rest: Vec<u8>,
    /// The parts that run.
    pub(super) parts: Vec<Part>,
}

/// Work inside a step: a download, `pushing layers`.
#[derive(Debug)]
pub(super) struct Part {
    id: String,
    started: Timestamp,
    /// Bytes so far.
    current: i64,
    announced: bool,
}

impl Step {
    pub(super) fn vertex(
        &mut self,
        number: usize,
        vertex: &Vertex,
        budget: &mut Budget,
        print: &mut impl FnMut(&str),
    ) {
        let name = cut(&vertex.name, MAX_NAME);
        if !name.is_empty() && name != self.name && budget.take(name.len()) {
            budget.give_back(self.name.len());
            name.clone_into(&mut self.name);
        }
        if vertex.started.is_none() && !vertex.cached {
            return;
        }
        if vertex.completed.is_none() {
            // BuildKit runs some steps again, an export for example.
            self.ended = false;
        }
        self.started = vertex.started.or(self.started);
        if !self.announced {
            self.announced = true;
            print(&format!("#{number} {}", one_line(&self.name)));
        }
        if self.ended {
            return;
        }
        if !vertex.error.is_empty() {
            let error = cut(&vertex.error, MAX_ERROR);
            let kept = if budget.take(error.len()) {
                error
            } else {
                cut(error, SHORT_ERROR)
            };
            self.error = Some(kept.to_owned());
            self.ended = true;
            self.flush(number, None, budget, print);
            if is_cancelled(&vertex.error) {
                print(&format!("#{number} cancelled"));
                return;
            }
            let is_transfer = cache_step::is_transfer(&self.name);
            let verb = if is_transfer { "not done" } else { "failed" };
            print(&format!("#{number} {verb}: {}", one_line(&vertex.error)));
        } else if vertex.cached {
            self.ended = true;
            print(&format!("#{number} cached"));
        } else if let (Some(started), Some(completed)) = (vertex.started, vertex.completed) {
            self.ended = true;
            self.flush(number, None, budget, print);
            budget.give_back(self.tail.drain(..).map(|line| line.len()).sum());
            let took = seconds(started, completed);
            if took >= MIN_SHOWN.as_secs_f64() {
                print(&format!("#{number} done in {took:.1} s"));
            }
        }
    }

    /// Adds work inside the step; whether it has changed. BuildKit repeats what has not.
    pub(super) fn part(
        &mut self,
        number: usize,
        part: &VertexStatus,
        budget: &mut Budget,
        print: &mut impl FnMut(&str),
    ) -> bool {
        let id = cut(&part.id, MAX_NAME);
        let known = self.parts.iter().position(|other| other.id == id);
        match (part.started, part.completed) {
            (Some(started), Some(completed)) => {
                let announced = known.is_some_and(|index| {
                    budget.give_back(ENTRY + id.len());
                    self.parts.remove(index).announced
                });
                let took = seconds(started, completed);
                if announced || took >= MIN_SHOWN.as_secs_f64() {
                    let id = one_line(id.trim_end_matches(':'));
                    print(&format!("#{number} {id} done in {took:.1} s"));
                }
            }
            (Some(started), None)
                if known.is_none()
                    && self.parts.len() < MAX_PARTS
                    && budget.take(ENTRY + id.len()) =>
            {
                self.parts.push(Part {
                    id: id.to_owned(),
                    started,
                    current: part.current,
                    announced: false,
                });
            }
            (Some(_), None) => {
                // One of the many that are not followed may have changed.
                let Some(known) = known.and_then(|index| self.parts.get_mut(index)) else {
                    return true;
                };
                return std::mem::replace(&mut known.current, part.current) != part.current;
            }
            _ => {}
        }
        true
    }

    /// The parts of its work that have not ended.
    pub(in crate::buildx) fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.id.as_str())
    }

    pub(super) fn output(
        &mut self,
        number: usize,
        log: &VertexLog,
        budget: &mut Budget,
        print: &mut impl FnMut(&str),
    ) {
        for &byte in &log.data {
            // A progress bar has carriage returns: each state becomes a line.
            let is_end = matches!(byte, b'\n' | b'\r');
            if is_end || self.rest.len() >= MAX_LINE {
                self.flush(number, log.timestamp, budget, print);
            }
            if !is_end {
                self.rest.push(byte);
            }
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.started.is_some() && !self.ended
    }

    /// Prints work that takes long, and the step itself if the log is idle; whether it printed.
    pub(super) fn tick(
        &mut self,
        number: usize,
        time: Timestamp,
        idle: bool,
        mut print: impl FnMut(&str),
    ) -> bool {
        let mut printed = false;
        for part in self.parts.iter_mut().filter(|part| !part.announced) {
            if seconds(part.started, time) >= LONG.as_secs_f64() {
                part.announced = true;
                printed = true;
                let id = one_line(part.id.trim_end_matches(':'));
                print(&format!("#{number} {id} …"));
            }
        }
        if let (true, Some(started)) = (idle, self.started) {
            printed = true;
            let part = one_line(self.parts.last().map_or(&self.name, |part| &part.id));
            let seconds = seconds(started, time).round();
            print(&format!(
                "#{number} still running after {seconds} s: {part}"
            ));
        }
        printed
    }

    /// Prints and keeps the finished line.
    fn flush(
        &mut self,
        number: usize,
        time: Option<Timestamp>,
        budget: &mut Budget,
        print: &mut impl FnMut(&str),
    ) {
        let line = std::mem::take(&mut self.rest);
        let line = String::from_utf8_lossy(&line);
        let line = one_line(line.trim_end());
        if line.is_empty() {
            return;
        }
        let time = self.started.zip(time);
        let time = time.map(|(started, time)| format!("{:.1} ", seconds(started, time)));
        print(&format!("#{number} {}{line}", time.unwrap_or_default()));
        if self.tail.len() == TAIL
            && let Some(oldest) = self.tail.pop_front()
        {
            budget.give_back(oldest.len());
        }
        if budget.take(line.len()) {
            self.tail.push_back(line);
        }
    }
}

/// Whether BuildKit cancelled a step: another one failed, or one of another platform does the same work
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/progress/progressui/display.go>, `CANCELED`).
pub(super) fn is_cancelled(error: &str) -> bool {
    error.ends_with("context canceled")
}

/// Seconds between two times; 0 if the clock stepped back.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
