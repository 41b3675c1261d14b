//! A started container followed to its end, and stopped on the way as the runner stops it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::commands::Log;
use super::container::Host;
use super::files::Values;
use super::{Ended, docker};

/// How long a cancelled step may take after SIGINT, and then after SIGTERM.
const PATIENCE: [(Signal, Duration); 2] = [
    (Signal::INT, Duration::from_millis(7500)),
    (Signal::TERM, Duration::from_millis(2500)),
];
/// No step of a test takes longer.
const LONGEST: Duration = Duration::from_secs(240);

/// When and how a run is stopped.
pub(super) struct Stop {
    /// Part of a line; empty for the start of the CLI.
    pub line: String,
    /// Which of the lines that hold it, counted from 1.
    pub number: AtomicU32,
    pub delay: Duration,
    /// Whether the container is killed at once, as when the machine goes away.
    pub kill: bool,
    /// What has to be so as well.
    pub when: Box<dyn Fn() -> bool>,
}

impl Stop {
    fn seen_in(&self, line: &str) -> bool {
        let seen = !self.line.is_empty() && line.contains(&self.line);
        seen && self.number.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Reads the log to the end, and stops the run on the way.
pub(super) fn follow(
    mut child: Child,
    started: Instant,
    host: &Host,
    container: &str,
    stop: Option<&Stop>,
) -> Ended {
    let (sender, lines) = mpsc::channel();
    read(child.stdout.take(), sender.clone());
    read(child.stderr.take(), sender);
    let mut ended = Ended {
        code: None,
        log: Log::default(),
        values: Values::default(),
        first_line: None,
        cancelled: None,
    };
    let mut signals = PATIENCE.iter();
    let mut stopped: Option<Instant> = None;
    // A run may be stopped before it says anything.
    let mut due = stop
        .filter(|stop| stop.line.is_empty())
        .map(|stop| started + stop.delay);
    let mut next = started + LONGEST;
    loop {
        let wait = due
            .map_or(next, |due| due.min(next))
            .saturating_duration_since(Instant::now());
        match lines.recv_timeout(wait) {
            Ok(line) => {
                ended.first_line.get_or_insert_with(|| started.elapsed());
                ended.log.take(&line, host);
                if let Some(stop) =
                    stop.filter(|stop| stop.seen_in(&line) && due.is_none() && stopped.is_none())
                {
                    due = Some(Instant::now() + stop.delay);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout)
                if due.is_some() && stop.is_some_and(|stop| !(stop.when)()) =>
            {
                due = Some(Instant::now() + Duration::from_millis(20));
                assert!(Instant::now() < next, "never so: {}", ended.log());
            }
            Err(RecvTimeoutError::Timeout) if due.is_some() => {
                due = None;
                stopped = Some(Instant::now());
                next = Instant::now();
                if stop.is_some_and(|stop| stop.kill) {
                    docker(&["kill", "--signal", "KILL", container]);
                    next += LONGEST;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                assert!(
                    stopped.is_some(),
                    "no end after {LONGEST:?}: {}",
                    ended.log()
                );
                let Some((signal, patience)) = signals.next() else {
                    // What it started may go on, and its container, too.
                    child.kill().unwrap();
                    break;
                };
                kill_process(Pid::from_child(&child), *signal).unwrap();
                next = Instant::now() + *patience;
            }
        }
    }
    ended.code = child.wait().unwrap().code();
    ended.cancelled = stopped.map(|stopped| stopped.elapsed());
    ended
}

/// Sends lines as .NET's `ReadLine` cuts them: at `\r`, `\n` or both.
fn read(stream: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let mut stream = BufReader::new(stream.expect("piped"));
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        while stream
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            for line in text.strip_suffix('\r').unwrap_or(text).split('\r') {
                let _ = sender.send(line.to_owned());
            }
            bytes.clear();
        }
    });
}
