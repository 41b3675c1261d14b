//! The files through which a step hands values to the runner, read as `FileCommandManager.cs` does
//! (<https://github.com/actions/runner/blob/258d6c857db3519913f7deb6004b60172f8043ae/src/Runner.Worker/FileCommandManager.cs>).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Variable, and prefix of the file's name.
const FILES: [(&str, &str); 5] = [
    ("GITHUB_PATH", "add_path_"),
    ("GITHUB_ENV", "set_env_"),
    ("GITHUB_STEP_SUMMARY", "step_summary_"),
    ("GITHUB_STATE", "save_state_"),
    ("GITHUB_OUTPUT", "set_output_"),
];
/// A larger summary is dropped (`AttachmentSizeLimit`).
const LARGEST_SUMMARY: usize = 1024 * 1024;
/// All outputs of a job, in UTF-16 units of two bytes
/// (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs>).
const LARGEST_OUTPUTS: usize = 1024 * 1024;

/// The files of one stage of a step.
#[derive(Debug)]
pub(crate) struct Files(BTreeMap<&'static str, PathBuf>);

/// What a stage handed over.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub outputs: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    pub state: BTreeMap<String, String>,
    pub path: Vec<String>,
    pub summary: String,
    /// What the runner refuses, in words; it fails the step.
    pub refused: Vec<String>,
}

impl Files {
    /// Makes them, empty.
    pub(crate) fn create(folder: &Path, suffix: &str) -> Self {
        let files =
            FILES.map(|(variable, prefix)| (variable, folder.join(format!("{prefix}{suffix}"))));
        for (_, path) in &files {
            fs::write(path, "").unwrap();
        }
        Self(files.into())
    }

    /// The variables that name them.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0
            .iter()
            .map(|(name, path)| ((*name).to_owned(), path.to_str().unwrap().to_owned()))
    }

    /// Reads and removes them.
    pub(crate) fn process(self) -> Values {
        let text = |name: &str| fs::read_to_string(&self.0[name]).unwrap();
        let mut values = Values {
            path: text("GITHUB_PATH").lines().map(str::to_owned).collect(),
            summary: text("GITHUB_STEP_SUMMARY"),
            ..Values::default()
        };
        for (name, target) in [
            ("GITHUB_OUTPUT", &mut values.outputs),
            ("GITHUB_ENV", &mut values.env),
            ("GITHUB_STATE", &mut values.state),
        ] {
            match pairs(&text(name)) {
                Ok(pairs) => *target = pairs,
                Err(reason) => values.refused.push(format!("{name}: {reason}")),
            }
        }
        if values.summary.len() > LARGEST_SUMMARY {
            values
                .refused
                .push(format!("a summary of {} bytes", values.summary.len()));
        }
        let outputs: usize = values
            .outputs
            .values()
            .map(|value| value.encode_utf16().count() * 2)
            .sum();
        if outputs > LARGEST_OUTPUTS {
            values.refused.push(format!("outputs of {outputs} bytes"));
        }
        if values.env.contains_key("NODE_OPTIONS") {
            values.refused.push("NODE_OPTIONS".to_owned());
        }
        for path in self.0.into_values() {
            fs::remove_file(path).unwrap();
        }
        values
    }
}

/// `NAME=value`, or `NAME<<END`, lines, `END`.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (plain, heredoc) = (line.split_once('='), line.split_once("<<"));
        let (name, value) = match (plain, heredoc) {
            (Some((name, value)), heredoc)
                if heredoc.is_none_or(|(other, _)| name.len() < other.len()) =>
            {
                (name, value.to_owned())
            }
            (_, Some((name, delimiter))) if !name.is_empty() && !delimiter.is_empty() => {
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        Some(line) if line == delimiter => break,
                        Some(line) => value.push(line),
                        None => return Err(format!("matching delimiter not found `{delimiter}`")),
                    }
                }
                (name, value.join("\n"))
            }
            _ => return Err(format!("invalid format `{line}`")),
        };
        pairs.insert(name.to_owned(), value);
    }
    Ok(pairs)
}

#[test]
fn values_are_read_in_both_forms() {
    let read = pairs("a=b<<c\n\nlist<<END\n1\n=2\nEND\nempty<<E\nE\n").unwrap();
    assert_eq!(read["a"], "b<<c");
    assert_eq!(read["list"], "1\n=2");
    assert_eq!(read["empty"], "");
    for wrong in ["name", "<<END\nEND", "a<<END\n1"] {
        assert!(pairs(wrong).is_err(), "{wrong}");
    }
}
