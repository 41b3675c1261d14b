//! The runner's files: outputs, state and the job summary, which are appended to, and the event's payload.
//!
//! In: names and arbitrary values. Out: heredoc blocks whose delimiter does not occur in the value. Limits and format:
//! <https://github.com/actions/runner/blob/main/src/Runner.Worker/FileCommandManager.cs>.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

/// The runner drops a larger summary (bytes).
pub(crate) const LARGEST_SUMMARY: usize = 1024 * 1024;

#[derive(Debug, Error)]
#[error("could not append to the runner's file `{}`", path.display())]
pub(crate) struct FileCommandError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Appends pairs to a `GITHUB_OUTPUT` or `GITHUB_STATE` file.
pub(crate) fn append_values<'a>(
    path: &Path,
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), FileCommandError> {
    let values = values.into_iter();
    let text: String = values.map(|(name, value)| heredoc(name, value)).collect();
    append(path, &text)
}

/// Appends Markdown of at most [`LARGEST_SUMMARY`] bytes to the `GITHUB_STEP_SUMMARY` file.
pub(crate) fn append_summary(path: &Path, markdown: &str) -> Result<(), FileCommandError> {
    append(path, markdown)
}

/// The event's payload; null if it cannot be read.
pub(crate) fn event_payload(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn append(path: &Path, text: &str) -> Result<(), FileCommandError> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let appended = file.and_then(|mut file| file.write_all(text.as_bytes()));
    appended.map_err(|source| FileCommandError {
        path: path.to_owned(),
        source,
    })
}

fn heredoc(name: &str, value: &str) -> String {
    let mut delimiter = "fast_ecr_push_end".to_owned();
    // The runner ends a value at the first line that equals the delimiter.
    while value.contains(&delimiter) {
        delimiter.push('_');
    }
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads heredoc blocks as the runner does.
    fn read_back(text: &str) -> Vec<(String, String)> {
        let mut values = Vec::new();
        let mut rest = text;
        while let Some((head, tail)) = rest.split_once('\n') {
            let (name, delimiter) = head.split_once("<<").expect("heredoc head");
            let mut value = Vec::new();
            let mut left = tail;
            loop {
                let (line, next) = left.split_once('\n').expect("end of heredoc");
                left = next;
                if line == delimiter {
                    break;
                }
                value.push(line);
            }
            values.push((name.to_owned(), value.join("\n")));
            rest = left;
        }
        values
    }

    #[test]
    fn a_value_that_looks_like_a_delimiter_stays_inside() {
        let value = "x\nfast_ecr_push_end\nother=1\nfast_ecr_push_end_\n";
        assert_eq!(
            read_back(&heredoc("a", value)),
            [("a".to_owned(), value.to_owned())]
        );
    }

    #[test]
    fn appends_after_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        append_values(&path, [("a", "1")]).unwrap();
        append_values(&path, [("b", "2\n3")]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            read_back(&text),
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "2\n3".to_owned())
            ]
        );
    }

    proptest! {
        #[test]
        fn any_value_is_read_back_as_it_was(value in "(fast_ecr_push_end|_|\n|=|<<|[a-z]){0,30}") {
            prop_assert_eq!(read_back(&heredoc("n", &value)), [("n".to_owned(), value)]);
        }
    }
}
