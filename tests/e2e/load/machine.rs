//! What runs and servers use, read from `/proc`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a process is looked at. What it uses after the last look is not seen.
const LOOK: Duration = Duration::from_millis(20);

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub log: String,
    /// The most memory that it had (kB).
    pub memory: u64,
    pub took: Duration,
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let begun = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let memory = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = status(pid, "VmHWM:").unwrap_or(0).max(most);
                std::thread::sleep(LOOK);
            }
            most
        });
        let output = child.wait_with_output().unwrap();
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        Ended {
            code: output.status.code(),
            // On a runner all is on standard output.
            log: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
            memory: memory.join().unwrap(),
            took,
        }
    })
}

/// A number of a process's status; none for one that is gone.
fn status(pid: u32, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A server that runs as long as the tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server(pub u32);

impl Server {
    /// The process whose program has this name, and whose arguments contain this text.
    pub(crate) fn find(name: &str, text: &str) -> Self {
        let found: Vec<u32> = processes()
            .filter(|process| process.name == name && process.arguments.contains(text))
            .map(|process| process.pid)
            .collect();
        let [pid] = found[..] else {
            panic!("not one {name} with {text}, but {found:?}");
        };
        Self(pid)
    }

    /// Files, sockets and pipes that it has open.
    pub(crate) fn descriptors(self) -> u64 {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.0));
        open.expect("a server that lives, seen by root").count() as u64
    }

    pub(crate) fn threads(self) -> u64 {
        status(self.0, "Threads:").unwrap()
    }

    /// Processes below it, also those that have ended and are not waited for.
    pub(crate) fn children(self) -> u64 {
        let all: Vec<Process> = processes().collect();
        let mut below = vec![self.0];
        let mut next = 0;
        while let Some(parent) = below.get(next).copied() {
            let children = all.iter().filter(|process| process.parent == parent);
            below.extend(children.map(|process| process.pid));
            next += 1;
        }
        below.len() as u64 - 1
    }
}

struct Process {
    pid: u32,
    parent: u32,
    name: String,
    arguments: String,
}

fn processes() -> impl Iterator<Item = Process> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let program = arguments.split(' ').next().unwrap_or_default();
        Some(Process {
            pid,
            parent: u32::try_from(status(pid, "PPid:")?).ok()?,
            name: program.rsplit('/').next().unwrap_or_default().to_owned(),
            arguments,
        })
    })
}

/// The arguments of processes that have a folder in their environment: those that runs have started.
pub(crate) fn started_with(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let all = processes().filter(|process| {
        let variables = std::fs::read(format!("/proc/{}/environ", process.pid));
        String::from_utf8_lossy(&variables.unwrap_or_default()).contains(&folder)
    });
    all.map(|process| process.arguments).collect()
}

/// Files and folders below a folder, without itself.
pub(crate) fn below(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A run that goes on may remove what was listed.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            all.push(entry.path());
        }
    }
    all
}
