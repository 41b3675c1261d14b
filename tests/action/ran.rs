//! What a step left: exit code, log, files for the runner, calls to buildx.
//!
//! Unstable text (paths, random names, times) is replaced by placeholders: `[ROOT]`, `[ID]`,
//! `[TIME]`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::runner::Runner;

/// What a step left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: Option<i32>,
    /// Standard output, which is the log in a workflow.
    pub log: String,
    pub stderr: String,
    pub outputs: BTreeMap<String, String>,
    pub state: BTreeMap<String, String>,
    pub summary: String,
    /// The calls to buildx, each a line quoted for a shell.
    pub calls: Vec<String>,
    /// What the Engine was made to remove, as `containers/NAME`.
    pub removed: Vec<String>,
    /// The variables that `buildx build` got.
    pub build_environment: String,
    /// Every variable of every child that stands in for buildx.
    pub environments: String,
    /// The files that `buildx create` got.
    pub buildkitd_config: String,
    pub certificates: String,
    /// What buildx knew of the builder that it booted.
    pub booted: String,
    /// From the call of `finish` to the end.
    pub took: Duration,
    /// Everything that the step wrote anywhere, as it was: the place to look for secrets.
    pub everything: String,
}

impl Ran {
    pub(crate) fn collect(runner: &Runner, code: Option<i32>, took: Duration) -> Self {
        let text = |name: &str| {
            let bytes = fs::read(runner.path(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let command = |name: &str| text(&format!("temp/_runner_file_commands/{name}"));
        let everything = [
            text("stdout"),
            text("stderr"),
            command("github_output"),
            command("github_step_summary"),
            command("github_state"),
            text("buildx/calls"),
            text("buildx/environment"),
        ]
        .join("\n");
        let stable = |text: &str| placeholders(text, runner.root());
        let lines = |name: &str| stable(&text(name)).lines().map(str::to_owned).collect();
        let outputs = values(&command("github_output"));
        if let Some(timings) = outputs.get("timings") {
            leave(timings);
        }
        Self {
            code,
            log: stable(&text("stdout")),
            stderr: stable(&text("stderr")),
            outputs,
            state: values(&command("github_state")),
            summary: stable(&command("github_step_summary")),
            calls: lines("buildx/calls"),
            removed: lines("buildx/removed"),
            environments: text("buildx/environments"),
            build_environment: stable(&text("buildx/environment")),
            buildkitd_config: text("buildx/buildkitd.toml"),
            certificates: text("buildx/certificates.pem"),
            booted: text("buildx/booted"),
            took,
            everything,
        }
    }

    /// The calls to buildx by their first word.
    pub(crate) fn verbs(&self) -> Vec<&str> {
        self.calls
            .iter()
            .map(|call| call.split(' ').next().unwrap_or_default())
            .collect()
    }

    /// Checks the exit code, showing the log if it is another one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.log, self.stderr);
        self
    }

    /// Checks that the log has the text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.log.contains(text), "no {text:?} in:\n{}", self.log);
        self
    }

    /// The annotations of a kind: `error`, `warning`, `notice`.
    pub(crate) fn annotations(&self, kind: &str) -> Vec<&str> {
        let start = format!("::{kind} ");
        self.log
            .lines()
            .filter(|line| line.starts_with(&start))
            .collect()
    }

    /// Checks that the run's builder in a container was removed, and nothing else.
    #[track_caller]
    pub(crate) fn removed_its_builder(&self) -> &Self {
        let name = "buildx_buildkit_fast-ecr-push-[ID]0";
        let expected = [
            format!("containers/{name}"),
            format!("volumes/{name}_state"),
        ];
        assert_eq!(self.removed, expected, "{}", self.log);
        self
    }

    /// Checks that the builder was not touched and nothing was built.
    #[track_caller]
    pub(crate) fn started_nothing(&self) -> &Self {
        let started: Vec<&str> = self
            .verbs()
            .into_iter()
            .filter(|verb| *verb != "version")
            .collect();
        assert!(started.is_empty(), "{started:?}");
        assert!(self.outputs.is_empty(), "{:?}", self.outputs);
        self
    }
}

/// Leaves the timings of a test's last run where `tools/report/run` puts them before their schema.
fn leave(timings: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/report/runs");
    fs::create_dir_all(&folder).unwrap();
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test").replace(':', "-");
    fs::write(folder.join(format!("{name}.json")), timings).unwrap();
}

/// Reads a file of outputs or state as the runner does: `name=value`, or `name<<delimiter`, lines,
/// and the delimiter alone on a line (`FileCommandManager.cs`, `EnvFileKeyValuePairs`).
pub(crate) fn values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut lines = text.split('\n');
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let heredoc = line.split_once("<<");
        let plain = line.split_once('=');
        match (heredoc, plain) {
            (Some((name, delimiter)), plain)
                if plain.is_none_or(|(other, _)| name.len() < other.len()) =>
            {
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        Some(line) if line == delimiter => break,
                        Some(line) => value.push(line),
                        None => panic!("`{name}` has no end in:\n{text}"),
                    }
                }
                let before = values.insert(name.to_owned(), value.join("\n"));
                assert!(before.is_none(), "`{name}` comes twice");
            }
            (_, Some((name, value))) => {
                let before = values.insert(name.to_owned(), value.to_owned());
                assert!(before.is_none(), "`{name}` comes twice");
            }
            _ => panic!("the runner would refuse the line {line:?}"),
        }
    }
    values
}

/// Replaces what differs from run to run: the root folder, the random part of names, and times.
fn placeholders(text: &str, root: &Path) -> String {
    let text = text.replace(&*root.to_string_lossy(), "[ROOT]");
    let mut stable = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find("fast-ecr-push-") {
        let (before, after) = rest.split_at(start + "fast-ecr-push-".len());
        stable.push_str(before);
        let id: String = after
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        rest = after;
        // Random parts have six characters; names of containers have a node's number behind.
        if id.len() == 6 || (id.len() == 7 && id.ends_with('0')) {
            stable.push_str("[ID]");
            rest = after.get(6..).unwrap_or_default();
        }
    }
    stable.push_str(rest);
    let lines: Vec<String> = stable.split('\n').map(times).collect();
    lines.join("\n")
}

/// Replaces `in 1.2 s`, `after 3 s` and the seconds before a step's output.
fn times(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |word: &&str| word.parse::<f64>().is_ok();
    let mut replaced = words.clone();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| words.get(index));
        let unit = words
            .get(index + 1)
            .is_some_and(|unit| ["s", "ms"].contains(unit));
        let after_step = index == 1 && before.is_some_and(|word| word.starts_with('#'));
        if number(word) && (unit || (after_step && word.contains('.'))) {
            replaced[index] = "[TIME]";
        }
    }
    replaced.join(" ")
}
