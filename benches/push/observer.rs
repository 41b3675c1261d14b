//! What processes take, by `/proc`: the Engine with its BuildKit, and the push engine's build step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Names of processes, cut off as the kernel does.
const ENGINE: &[&str] = &["dockerd", "containerd"];
const STEP: &str = "fast-ecr-push-s";

/// What it took while something ran.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Use {
    /// Processor time of the Engine and of the step (seconds).
    pub cpu: f64,
    /// Bytes that both have written to the disk.
    pub written: u64,
    /// Largest resident memory of the step (bytes).
    pub step_memory: u64,
}

/// One process's counters.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    ticks: u64,
    written: u64,
    memory: u64,
}

/// Runs `work` and says what the Engine and its steps took meanwhile.
pub(super) fn during<T>(work: impl FnOnce() -> T) -> (T, Use) {
    let before = engine();
    let is_over = AtomicBool::new(false);
    let (result, steps) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut steps = BTreeMap::new();
            while !is_over.load(Ordering::Relaxed) {
                for (id, name) in processes() {
                    if name == STEP
                        && let Some(counters) = counters(id)
                    {
                        steps.insert(id, counters);
                    }
                }
                std::thread::sleep(Duration::from_millis(25));
            }
            steps
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        (result, watching.join().unwrap())
    });
    let after = engine();
    let step = sum(steps.values());
    // The kernel's ticks are hundredths of a second.
    let ticks = after.ticks.saturating_sub(before.ticks) + step.ticks;
    let used = Use {
        cpu: ticks as f64 / 100.0,
        written: after.written.saturating_sub(before.written) + step.written,
        step_memory: steps.values().map(|one| one.memory).max().unwrap_or(0),
    };
    (result, used)
}

fn engine() -> Counters {
    let ids = processes()
        .into_iter()
        .filter(|(_, name)| ENGINE.contains(&name.as_str()));
    let all: Vec<Counters> = ids.filter_map(|(id, _)| counters(id)).collect();
    sum(all.iter())
}

fn sum<'a>(all: impl Iterator<Item = &'a Counters>) -> Counters {
    all.fold(Counters::default(), |sum, one| Counters {
        ticks: sum.ticks + one.ticks,
        written: sum.written + one.written,
        memory: sum.memory + one.memory,
    })
}

fn processes() -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let named = |id: u32| {
        Some((
            id,
            std::fs::read_to_string(format!("/proc/{id}/comm"))
                .ok()?
                .trim()
                .to_owned(),
        ))
    };
    ids.filter_map(named).collect()
}

/// `None` when it has ended. <https://man7.org/linux/man-pages/man5/proc.5.html>
fn counters(id: u32) -> Option<Counters> {
    let read = |name: &str| {
        std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join(name)).ok()
    };
    let line = |text: &str, name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let stat = read("stat")?;
    // Behind the name, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    Some(Counters {
        ticks: ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum(),
        written: line(&read("io")?, "write_bytes:")?,
        memory: line(&read("status")?, "VmHWM:")? * 1024,
    })
}
