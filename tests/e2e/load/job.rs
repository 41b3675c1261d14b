//! The action's program as a runner starts it: main and post, each a process of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::machine::{self, Ended};

/// A job that has ended.
#[derive(Debug)]
pub(crate) struct Job {
    pub outputs: BTreeMap<String, String>,
    pub log: String,
    /// The most memory that one of its two processes of ours had (kB).
    pub memory: u64,
    /// Main's time.
    pub took: Duration,
}

/// Runs main and post, which both have to end well. `files` is an empty folder, and is removed.
pub(crate) fn run(files: &Path, command: impl Fn() -> Command) -> Job {
    std::fs::create_dir(files).unwrap();
    let path = |name: &str| files.join(name);
    let stage = |entry: &[&str], state: &BTreeMap<String, String>| {
        let state = state.iter();
        let state = state.map(|(name, value)| (format!("STATE_{name}"), value));
        let ended = machine::run(
            command()
                .args(entry)
                .env("GITHUB_ACTIONS", "true")
                .env("GITHUB_OUTPUT", path("output"))
                .env("GITHUB_STATE", path("state"))
                .env("GITHUB_STEP_SUMMARY", path("summary"))
                .envs(state),
        );
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended
    };
    let Ended {
        log, memory, took, ..
    } = stage(&[], &BTreeMap::new());
    let (outputs, state) = (values(&path("output")), values(&path("state")));
    let post = stage(&["post"], &state);
    std::fs::remove_dir_all(files).unwrap();
    Job {
        outputs,
        log,
        memory: memory.max(post.memory),
        took,
    }
}

/// A file of the runner's: `name<<end`, lines, `end`.
fn values(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines();
    let mut values = BTreeMap::new();
    while let Some(line) = lines.next() {
        let (name, end) = line.split_once("<<").unwrap();
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        values.insert(name.to_owned(), value.join("\n"));
    }
    values
}

impl Job {
    pub(crate) fn output(&self, name: &str) -> &str {
        let value = self.outputs.get(name).map(String::as_str);
        value.unwrap_or_else(|| panic!("no output `{name}`:\n{}", self.log))
    }

    pub(crate) fn is_by_engine(&self) -> bool {
        self.outputs.contains_key("pushed-bytes")
    }
}
