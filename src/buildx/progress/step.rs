//! One step: its lines, and what is kept of it.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::{ENTRY, LONGEST_NAME};
use crate::buildx::budget::{Budget, cut};
use crate::buildx::cache_step;
use crate::buildx::rawjson::{Vertex, VertexLog, VertexStatus};

/// Lines of a step that are kept and shown again when it fails.
pub(super) const TAIL: usize = 30;

/// A line longer than this many bytes is broken, so that output without line ends stays readable.
pub(super) const LONGEST_LINE: usize = 2000;

/// Longer errors (bytes) are cut.
pub(super) const LONGEST_ERROR: usize = 64 * 1024;

/// Bytes of an error that are kept in any case.
pub(super) const SHORT_ERROR: usize = 512;

/// Pieces of work that are followed at a time within one step. BuildKit downloads four layers at a time, but names all that wait.
pub(super) const MOST_PARTS: usize = 1_000;

/// What took less is not worth a line: BuildKit starts and ends many a step several times.
const WORTH_A_LINE: Duration = Duration::from_millis(100);

/// Work inside a step that takes longer than this is named while it runs.
const LONG: Duration = Duration::from_secs(5);

/// A step, shown under its place in the list, counted from 1.
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
    /// Parts of its work that have not ended.
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
    /// What BuildKit says of the step itself.
    pub(super) fn vertex(
        &mut self,
        number: usize,
        vertex: &Vertex,
        budget: &mut Budget,
        print: &mut impl FnMut(&str),
    ) {
        let name = cut(&vertex.name, LONGEST_NAME);
        if !name.is_empty() && name != self.name && budget.take(name.len()) {
            budget.give_back(self.name.len());
            name.clone_into(&mut self.name);
        }
        if vertex.started.is_none() && !vertex.cached {
            return;
        }
        if vertex.completed.is_none() {
            // A step that runs again: BuildKit repeats some, an export for example.
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
            let error = cut(&vertex.error, LONGEST_ERROR);
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
            let verb = if cache_step::is_transfer(&self.name) {
                "not done"
            } else {
                "failed"
            };
            print(&format!("#{number} {verb}: {}", one_line(&vertex.error)));
        } else if vertex.cached {
            self.ended = true;
            print(&format!("#{number} cached"));
        } else if let (Some(started), Some(completed)) = (vertex.started, vertex.completed) {
            self.ended = true;
            self.flush(number, None, budget, print);
            self.forget_output(budget);
            let took = seconds(started, completed);
            if took >= WORTH_A_LINE.as_secs_f64() {
                print(&format!("#{number} done in {took:.1} s"));
            }
        }
    }

    /// What BuildKit says of work inside it; whether that is news. BuildKit repeats what has not changed.
    pub(super) fn part(
        &mut self,
        number: usize,
        part: &VertexStatus,
        budget: &mut Budget,
        print: &mut impl FnMut(&str),
    ) -> bool {
        let id = cut(&part.id, LONGEST_NAME);
        let known = self.parts.iter().position(|other| other.id == id);
        match (part.started, part.completed) {
            (Some(started), Some(completed)) => {
                let announced = known.is_some_and(|index| {
                    budget.give_back(ENTRY + id.len());
                    self.parts.remove(index).announced
                });
                let took = seconds(started, completed);
                if announced || took >= WORTH_A_LINE.as_secs_f64() {
                    let id = one_line(id.trim_end_matches(':'));
                    print(&format!("#{number} {id} done in {took:.1} s"));
                }
            }
            (Some(started), None)
                if known.is_none()
                    && self.parts.len() < MOST_PARTS
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

    /// What it printed.
    pub(super) fn output(
        &mut self,
        number: usize,
        log: &VertexLog,
        budget: &mut Budget,
        print: &mut impl FnMut(&str),
    ) {
        for &byte in &log.data {
            // A carriage return starts a progress bar anew: each state is a line of its own.
            if byte == b'\n' || byte == b'\r' || self.rest.len() >= LONGEST_LINE {
                self.flush(number, log.timestamp, budget, print);
            }
            if byte != b'\n' && byte != b'\r' {
                self.rest.push(byte);
            }
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.started.is_some() && !self.ended
    }

    /// Names work that takes long, and after a silence what runs; whether there was anything to say.
    pub(super) fn tick(
        &mut self,
        number: usize,
        time: Timestamp,
        silent: bool,
        mut print: impl FnMut(&str),
    ) -> bool {
        let mut said = false;
        for part in self.parts.iter_mut().filter(|part| !part.announced) {
            if seconds(part.started, time) >= LONG.as_secs_f64() {
                part.announced = true;
                said = true;
                print(&format!(
                    "#{number} {} …",
                    one_line(part.id.trim_end_matches(':'))
                ));
            }
        }
        if let (true, Some(started)) = (silent, self.started) {
            said = true;
            let part = self.parts.last().map_or(&self.name, |part| &part.id);
            print(&format!(
                "#{number} still running after {} s: {}",
                seconds(started, time).round(),
                one_line(part)
            ));
        }
        said
    }

    /// Prints and keeps the line that has come together.
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
        match (self.started, time) {
            (Some(started), Some(time)) => {
                print(&format!("#{number} {:.1} {line}", seconds(started, time)));
            }
            _ => print(&format!("#{number} {line}")),
        }
        if self.tail.len() == TAIL
            && let Some(oldest) = self.tail.pop_front()
        {
            budget.give_back(oldest.len());
        }
        if budget.take(line.len()) {
            self.tail.push_back(line);
        }
    }

    /// What went well needs no last words.
    fn forget_output(&mut self, budget: &mut Budget) {
        let tail = std::mem::take(&mut self.tail);
        budget.give_back(tail.iter().map(String::len).sum());
    }
}

/// Whether BuildKit stopped a step: another one failed, or one of another platform does the same work
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/progress/progressui/display.go>, `CANCELED`).
pub(super) fn is_cancelled(error: &str) -> bool {
    error.ends_with("context canceled")
}

/// The text without control characters, which could move a terminal's cursor or start a line.
pub(in crate::buildx) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            // A terminal's colours and cursor moves: ESC [ … letter.
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.find(|next| next.is_ascii_alphabetic());
                }
            }
            '\t' => line.push(' '),
            other if other.is_control() => line.push(' '),
            other => line.push(other),
        }
    }
    line
}

/// Seconds from one time to another; none when a clock stepped back.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
