//! The build's log as a person reads it, made from BuildKit's stream.
//!
//! In: [`SolveStatus`]es in the order of their arrival. Out: lines: a step starts, its output, it
//! is done in N s; and a word about what still runs when nothing was said for a while. Each line
//! begins with the step's number, `#7`, as in buildx's plain progress. Of every step that
//! may yet fail the last [`TAIL`] lines are kept, and of all together no more than [`MOST_KEPT`]: what comes beyond is not
//! followed.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::cache;
use super::rawjson::{SolveStatus, Vertex, VertexLog, VertexStatus};
use super::room::{Room, cut};

/// Lines of a step that are kept and shown again when it fails.
pub(crate) const TAIL: usize = 30;

/// A line longer than this many bytes is broken, so that output without line ends stays readable.
const LONGEST_LINE: usize = 2000;

/// Bytes that are kept of all steps: names, errors, output, and [`ENTRY`] for each.
const MOST_KEPT: usize = 128 * 1024 * 1024;

/// What a step takes beside its texts (bytes): most of it a line that has not ended.
const ENTRY: usize = 4 * 1024;

/// Longer names and identifiers (bytes) are cut.
const LONGEST_NAME: usize = 16 * 1024;

/// Longer errors (bytes) are cut.
const LONGEST_ERROR: usize = 64 * 1024;

/// Bytes of an error that are kept in any case.
const SHORT_ERROR: usize = 512;

/// Pieces of work that are followed at a time within one step. BuildKit downloads four layers at a time, but names all that wait.
const MOST_PARTS: usize = 1_000;

/// When nothing was said for this long, what runs is named.
const SILENCE: Duration = Duration::from_secs(30);

/// What took less is not worth a line: BuildKit starts and ends many a step several times.
const WORTH_A_LINE: Duration = Duration::from_millis(100);

/// Work inside a step that takes longer than this is named while it runs.
const LONG: Duration = Duration::from_secs(5);

/// What is known of every step.
#[derive(Debug)]
pub(crate) struct Progress {
    steps: Vec<Step>,
    by_digest: HashMap<String, usize>,
    last_word: Instant,
    push_started: Option<Timestamp>,
    room: Room,
}

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
    parts: Vec<Part>,
}

/// Work inside a step: a download, `pushing layers`.
#[derive(Debug)]
struct Part {
    id: String,
    started: Timestamp,
    announced: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            by_digest: HashMap::new(),
            last_word: Instant::now(),
            push_started: None,
            room: Room::of(MOST_KEPT),
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
        for vertex in &status.vertexes {
            self.vertex(vertex, &mut print);
        }
        for part in &status.statuses {
            self.part(part, &mut print);
        }
        for log in &status.logs {
            self.output(log, &mut print);
        }
        if printed {
            self.last_word = Instant::now();
        }
    }

    /// Names work that takes long, and what runs when nothing was said for a while. To be called
    /// about once a second.
    pub(crate) fn tick(&mut self, now: Instant, time: Timestamp, mut print: impl FnMut(&str)) {
        let silent = now.saturating_duration_since(self.last_word) >= SILENCE;
        let mut running = 0;
        let mut said = false;
        for (index, step) in self.steps.iter_mut().enumerate() {
            let number = index + 1;
            let (Some(started), false) = (step.started, step.ended) else {
                continue;
            };
            running += 1;
            for part in step.parts.iter_mut().filter(|part| !part.announced) {
                if seconds(part.started, time) >= LONG.as_secs_f64() {
                    part.announced = true;
                    said = true;
                    print(&format!(
                        "#{number} {} …",
                        one_line(part.id.trim_end_matches(':'))
                    ));
                }
            }
            if silent {
                said = true;
                let part = step.parts.last().map_or(&step.name, |part| &part.id);
                print(&format!(
                    "#{number} still running after {} s: {}",
                    seconds(started, time).round(),
                    one_line(part)
                ));
            }
        }
        if silent && running == 0 {
            said = true;
            print("waiting for BuildKit");
        }
        if said {
            self.last_word = now;
        }
    }

    /// The step that failed first, not counting those that were stopped because of it. A build goes
    /// on without a cache, so that one that can't be read or written counts last.
    pub(crate) fn failed(&self) -> Option<&Step> {
        let failed = || {
            self.steps.iter().filter(|step| {
                step.error
                    .as_ref()
                    .is_some_and(|error| !error.contains("context canceled"))
            })
        };
        failed()
            .find(|step| !cache::is_transfer(&step.name))
            .or_else(|| failed().next_back())
    }

    /// When the first layer or manifest was sent.
    pub(super) fn push_started(&self) -> Option<Timestamp> {
        self.push_started
    }

    /// All steps, in the order in which they were first heard of.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn vertex(&mut self, vertex: &Vertex, print: &mut impl FnMut(&str)) {
        let digest = cut(&vertex.digest, LONGEST_NAME);
        let index = match self.by_digest.get(digest) {
            Some(index) => *index,
            None if self.room.take(ENTRY + digest.len()) => {
                let index = self.steps.len();
                self.steps.push(Step::default());
                self.by_digest.insert(digest.to_owned(), index);
                index
            }
            None => return,
        };
        let (Some(step), room) = (self.steps.get_mut(index), &mut self.room) else {
            return;
        };
        let number = index + 1;
        let name = cut(&vertex.name, LONGEST_NAME);
        if !name.is_empty() && name != step.name && room.take(name.len()) {
            room.give_back(step.name.len());
            name.clone_into(&mut step.name);
        }
        if vertex.started.is_none() && !vertex.cached {
            return;
        }
        if vertex.completed.is_none() {
            // A step that runs again: BuildKit repeats some, an export for example.
            step.ended = false;
        }
        step.started = vertex.started.or(step.started);
        if !step.announced {
            step.announced = true;
            print(&format!("#{number} {}", one_line(&step.name)));
        }
        if step.ended {
            return;
        }
        if !vertex.error.is_empty() {
            let error = cut(&vertex.error, LONGEST_ERROR);
            let kept = if room.take(error.len()) {
                error
            } else {
                cut(error, SHORT_ERROR)
            };
            step.error = Some(kept.to_owned());
            step.ended = true;
            step.flush(number, None, room, print);
            let verb = if cache::is_transfer(&step.name) {
                "not done"
            } else {
                "failed"
            };
            print(&format!("#{number} {verb}: {}", one_line(&vertex.error)));
        } else if vertex.cached {
            step.ended = true;
            print(&format!("#{number} cached"));
        } else if let (Some(started), Some(completed)) = (vertex.started, vertex.completed) {
            step.ended = true;
            step.flush(number, None, room, print);
            step.forget_output(room);
            let took = seconds(started, completed);
            if took >= WORTH_A_LINE.as_secs_f64() {
                print(&format!("#{number} done in {took:.1} s"));
            }
        }
    }

    fn part(&mut self, part: &VertexStatus, print: &mut impl FnMut(&str)) {
        // Layers go first, and no tag names them yet.
        if part.id.starts_with("pushing manifest") {
            self.push_started = self.push_started.or(part.started);
        }
        let Some((number, step, room)) = self.step(&part.vertex) else {
            return;
        };
        let id = cut(&part.id, LONGEST_NAME);
        let known = step.parts.iter().position(|other| other.id == id);
        match (part.started, part.completed) {
            (Some(started), Some(completed)) => {
                let announced = known.is_some_and(|index| {
                    room.give_back(ENTRY + id.len());
                    step.parts.remove(index).announced
                });
                let took = seconds(started, completed);
                if announced || took >= WORTH_A_LINE.as_secs_f64() {
                    let id = one_line(id.trim_end_matches(':'));
                    print(&format!("#{number} {id} done in {took:.1} s"));
                }
            }
            (Some(started), None)
                if known.is_none()
                    && step.parts.len() < MOST_PARTS
                    && room.take(ENTRY + id.len()) =>
            {
                step.parts.push(Part {
                    id: id.to_owned(),
                    started,
                    announced: false,
                });
            }
            _ => {}
        }
    }

    fn output(&mut self, log: &VertexLog, print: &mut impl FnMut(&str)) {
        let Some((number, step, room)) = self.step(&log.vertex) else {
            return;
        };
        for &byte in &log.data {
            // A carriage return starts a progress bar anew: each state is a line of its own.
            if byte == b'\n' || byte == b'\r' || step.rest.len() >= LONGEST_LINE {
                step.flush(number, log.timestamp, room, print);
            }
            if byte != b'\n' && byte != b'\r' {
                step.rest.push(byte);
            }
        }
    }

    fn step(&mut self, digest: &str) -> Option<(usize, &mut Step, &mut Room)> {
        let index = *self.by_digest.get(cut(digest, LONGEST_NAME))?;
        Some((index + 1, self.steps.get_mut(index)?, &mut self.room))
    }
}

impl Step {
    /// Prints and keeps the line that has come together.
    fn flush(
        &mut self,
        number: usize,
        time: Option<Timestamp>,
        room: &mut Room,
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
            room.give_back(oldest.len());
        }
        if room.take(line.len()) {
            self.tail.push_back(line);
        }
    }

    /// What went well needs no last words.
    fn forget_output(&mut self, room: &mut Room) {
        let tail = std::mem::take(&mut self.tail);
        room.give_back(tail.iter().map(String::len).sum());
    }
}

/// The text without control characters, which could move a terminal's cursor or start a line.
pub(super) fn one_line(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap())
    }

    fn vertex(started: Option<i64>, completed: Option<i64>) -> Vertex {
        Vertex {
            digest: "d".to_owned(),
            name: "[2/3] RUN make".to_owned(),
            started: started.and_then(at),
            completed: completed.and_then(at),
            ..Vertex::default()
        }
    }

    fn log(time: i64, data: &[u8]) -> SolveStatus {
        SolveStatus {
            logs: vec![VertexLog {
                vertex: "d".to_owned(),
                data: data.to_vec(),
                timestamp: at(time),
                ..VertexLog::default()
            }],
            ..SolveStatus::default()
        }
    }

    fn of(vertex: Vertex) -> SolveStatus {
        SolveStatus {
            vertexes: vec![vertex],
            ..SolveStatus::default()
        }
    }

    fn shown(statuses: &[SolveStatus]) -> (Progress, Vec<String>) {
        let mut progress = Progress::default();
        let mut lines = Vec::new();
        for status in statuses {
            progress.show(status, |line| lines.push(line.to_owned()));
        }
        (progress, lines)
    }

    #[test]
    fn a_step_starts_speaks_and_ends() {
        let (_, lines) = shown(&[
            of(vertex(None, None)),
            of(vertex(Some(0), None)),
            log(1200, b"one\ntw"),
            log(1900, b"o\n\xff\x1b[31mred\x1b[0m"),
            of(vertex(Some(0), Some(2500))),
            of(vertex(Some(0), Some(2500))),
        ]);
        assert_eq!(
            lines,
            [
                "#1 [2/3] RUN make",
                "#1 1.2 one",
                "#1 1.9 two",
                "#1 \u{fffd}red",
                "#1 done in 2.5 s"
            ]
        );
    }

    #[test]
    fn a_failed_step_keeps_its_last_lines() {
        let many: String = (0..100).map(|number| format!("line {number}\n")).collect();
        let failed = Vertex {
            error: "process \"/bin/sh -c make\" did not complete successfully: exit code: 2".into(),
            ..vertex(Some(0), Some(900))
        };
        let (progress, lines) = shown(&[
            of(vertex(Some(0), None)),
            log(500, many.as_bytes()),
            of(failed),
        ]);
        let step = progress.failed().unwrap();
        assert_eq!(step.tail.len(), TAIL);
        assert_eq!(step.tail.back().unwrap(), "line 99");
        assert!(lines.last().unwrap().starts_with("#1 failed: process"));
    }

    #[test]
    fn a_step_that_was_stopped_is_not_the_one_that_failed() {
        let stopped = Vertex {
            error: "context canceled".to_owned(),
            ..vertex(Some(0), Some(1))
        };
        let (progress, _) = shown(&[of(stopped)]);
        assert!(progress.failed().is_none());
    }

    #[test]
    fn after_a_silence_what_runs_is_named() {
        let (mut progress, _) = shown(&[of(vertex(Some(0), None))]);
        let mut lines = Vec::new();
        let now = progress.last_word;
        let later = at(61_000).unwrap();
        progress.tick(now + Duration::from_secs(29), later, |line| {
            lines.push(line.to_owned());
        });
        assert!(lines.is_empty());
        progress.tick(now + Duration::from_secs(30), later, |line| {
            lines.push(line.to_owned());
        });
        assert_eq!(lines, ["#1 still running after 61 s: [2/3] RUN make"]);
    }

    #[test]
    fn output_without_line_ends_takes_bounded_memory() {
        let data = vec![b'x'; 1_000_000];
        let (progress, lines) = shown(&[of(vertex(Some(0), None)), log(1, &data)]);
        assert!(lines.iter().all(|line| line.len() < LONGEST_LINE + 20));
        assert!(progress.steps[0].tail.len() <= TAIL);
    }

    #[test]
    fn steps_and_their_work_without_end_take_bounded_memory() {
        let mut progress = Progress::default();
        let long = "x".repeat(100_000);
        for number in 0..MOST_KEPT / ENTRY {
            let step = Vertex {
                digest: number.to_string(),
                name: long.clone(),
                ..vertex(Some(0), None)
            };
            progress.show(&of(step), |_| {});
        }
        let kept = |progress: &Progress| -> usize {
            let steps = progress.steps.iter();
            steps.map(|step| ENTRY + step.name.len()).sum()
        };
        assert!(progress.steps.len() > 1_000);
        assert!(kept(&progress) <= MOST_KEPT);
        assert_eq!(progress.by_digest.len(), progress.steps.len());
        // One that is known fails: this is told, room or not.
        let failed = Vertex {
            digest: "7".to_owned(),
            error: long,
            ..vertex(Some(0), Some(1))
        };
        progress.show(&of(failed), |_| {});
        let error = progress.failed().unwrap().error.as_ref().unwrap();
        assert!((SHORT_ERROR..=LONGEST_ERROR).contains(&error.len()));

        let (mut progress, _) = shown(&[of(vertex(Some(0), None))]);
        let part = |number: usize, completed: Option<i64>| SolveStatus {
            statuses: vec![VertexStatus {
                id: number.to_string(),
                vertex: "d".to_owned(),
                started: at(0),
                completed: completed.and_then(at),
                ..VertexStatus::default()
            }],
            ..SolveStatus::default()
        };
        for number in 0..MOST_PARTS * 3 {
            progress.show(&part(number, None), |_| {});
        }
        assert_eq!(progress.steps[0].parts.len(), MOST_PARTS);
        for number in 0..MOST_PARTS * 3 {
            progress.show(&part(number, Some(1)), |_| {});
        }
        assert!(progress.steps[0].parts.is_empty());
    }

    #[test]
    fn a_step_that_went_well_leaves_no_output() {
        let (progress, _) = shown(&[
            of(vertex(Some(0), None)),
            log(500, b"one\ntwo\n"),
            of(vertex(Some(0), Some(900))),
        ]);
        assert!(progress.steps[0].tail.is_empty());
    }

    #[test]
    fn tags_name_something_new_from_the_first_manifest_on() {
        let begun = |id: &str, second: i64| SolveStatus {
            statuses: vec![VertexStatus {
                id: id.to_owned(),
                vertex: "d".to_owned(),
                started: at(second * 1000),
                ..VertexStatus::default()
            }],
            ..SolveStatus::default()
        };
        let (progress, _) = shown(&[
            begun("pushing layers", 1),
            begun("pushing manifest for registry/app:1@sha256:ab", 3),
            begun("pushing manifest for registry/app:2@sha256:ab", 5),
        ]);
        assert_eq!(progress.push_started(), at(3000));
    }

    #[test]
    fn work_inside_a_step_is_named_when_it_takes_long_and_when_it_ends() {
        let part = |completed: Option<i64>| SolveStatus {
            statuses: vec![VertexStatus {
                id: "pushing layers".to_owned(),
                vertex: "d".to_owned(),
                started: at(0),
                completed: completed.and_then(at),
                ..VertexStatus::default()
            }],
            ..SolveStatus::default()
        };
        let (mut progress, lines) = shown(&[of(vertex(Some(0), None)), part(None), part(None)]);
        assert_eq!(lines, ["#1 [2/3] RUN make"]);
        let mut lines = Vec::new();
        let now = progress.last_word;
        for second in 4..8 {
            let time = at(second * 1000).unwrap();
            progress.tick(now, time, |line| lines.push(line.to_owned()));
        }
        progress.show(&part(Some(9000)), |line| lines.push(line.to_owned()));
        progress.show(&part(Some(9)), |line| lines.push(line.to_owned()));
        assert_eq!(
            lines,
            ["#1 pushing layers …", "#1 pushing layers done in 9.0 s"]
        );
    }
}
