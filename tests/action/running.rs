//! A step while it runs: signals, and its end.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::engine::names;
use crate::ran::Ran;
use crate::runner::{Runner, keeps_a_builder, pid, run_folders};

/// How long a run may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A step that runs.
pub(crate) struct Running {
    pub child: Child,
    pub started: Instant,
    pub runner: Runner,
    /// What was on the Engine before it.
    pub before: Vec<String>,
}

/// Containers and volumes of builders.
pub(crate) fn on_engine(runner: &Runner) -> Vec<String> {
    ["containers", "volumes"]
        .map(|kind| names(&runner.path("buildx"), kind))
        .concat()
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something holds, while the step runs.
    pub(crate) fn wait_until(&mut self, what: &str, holds: impl Fn(&Runner) -> bool) {
        while !holds(&self.runner) {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || self.started.elapsed() > PATIENCE {
                self.give_up(&format!("waited for {what}, ended: {ended:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the fake buildx holds: everything it had to say was read.
    pub(crate) fn wait_until_held(&mut self) {
        self.wait_until("buildx to hold", |runner| {
            fs::read_to_string(runner.path("buildx/sleeper")).is_ok_and(|pid| pid.ends_with('\n'))
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id()), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn finish(self) -> Ran {
        self.finish_and(|| {})
    }

    /// Waits for the end and looks at what there is before the files go.
    pub(crate) fn finish_and(self, look: impl FnOnce()) -> Ran {
        let (ran, _runner) = self.finish_and_keep();
        look();
        ran
    }

    /// Waits for the end; the machine stays for the post step.
    pub(crate) fn finish_and_keep(mut self) -> (Ran, Runner) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                self.give_up("it hangs");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = begin.elapsed();
        let folders = run_folders(&self.runner);
        // A builder that is still there is the post step's to remove.
        let kept = |folder: &PathBuf| keeps_a_builder(folder);
        assert!(folders.iter().all(kept), "left behind: {folders:?}");
        let temporary = names(&self.runner.path("temp"), "");
        let mut temporary = temporary.iter().filter(|name| name.contains("dockerfile"));
        assert_eq!(temporary.next(), None, "left by buildx");
        if folders.is_empty() && self.runner.has_a_post_step() {
            let mut left = on_engine(&self.runner);
            left.retain(|name| !self.before.contains(name));
            assert!(left.is_empty(), "left behind: {left:?}");
        }
        (Ran::collect(&self.runner, status.code(), took), self.runner)
    }

    /// Ends it like a machine that goes away, and what it has started with it.
    pub(crate) fn kill(mut self) -> Runner {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if let Ok(calls) = fs::read_to_string(self.runner.path("buildx/sleeper")) {
            // The fake ends by itself once it may go on; its child is asked to go as well.
            fs::write(self.runner.path("buildx/go"), "").unwrap();
            let _ = kill_process(pid(calls.trim().parse().unwrap()), Signal::TERM);
        }
        self.runner
    }

    fn give_up(&mut self, why: &str) -> ! {
        // Already on the way to a failure that says more.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let text = |name| fs::read_to_string(self.runner.path(name)).unwrap_or_default();
        panic!(
            "{why}\nstdout:\n{}\nstderr:\n{}",
            text("stdout"),
            text("stderr")
        );
    }
}
