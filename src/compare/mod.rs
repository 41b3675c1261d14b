//! `compare`: timings files of several runs as one table.
//!
//! In: files written by `timings-file`, each possibly with a name (`NAME=PATH`), or folders of them. Out: a table as Markdown, CSV or JSON,
//! with a row for each runner and driver (and image, if there are several), medians over repeated runs, and percent of the slowest. Unreadable
//! files and unsuccessful builds are reported and left out.

mod file;
mod render;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::timings::schema::Ended;
use file::FileError;
use table::Table;

pub(crate) use table::median;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Markdown,
    Csv,
    Json,
}

impl Format {
    /// Names on the command line.
    pub(crate) const NAMES: [&str; 3] = ["markdown", "csv", "json"];

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "csv" => Self::Csv,
            "json" => Self::Json,
            _ => Self::Markdown,
        }
    }
}

/// There is no table.
#[derive(Debug, Error)]
pub(crate) enum CompareError {
    #[error("none of the given files is a timings file of a successful build")]
    Nothing,
    #[error("could not write the table")]
    Csv(#[source] csv::Error),
    #[error("could not write the table")]
    Json(#[source] serde_json::Error),
}

/// The result for the given files.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The rendered table.
    pub text: Result<String, CompareError>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Total {
    pub driver: String,
    /// `registry/repository`, if it was pushed.
    pub image: Option<String>,
    pub total: Duration,
}

/// The successful builds of a timings file; none if the text is not a timings file.
pub(crate) fn totals(text: &[u8], path: &Path) -> Option<Vec<Total>> {
    let mut samples = file::parse(text, None, path).ok()?;
    samples.retain(|sample| sample.result == Ended::Success);
    let total = |sample: file::Sample| Total {
        driver: sample.driver,
        image: sample.image,
        total: Duration::from_millis(sample.total_ms),
    };
    Some(samples.into_iter().map(total).collect())
}

/// Reads the files and joins them.
pub(crate) fn compare(given: &[String], format: Format) -> Comparison {
    let mut samples = Vec::new();
    let mut left_out = Vec::new();
    for argument in given {
        let (name, path) = split(argument);
        for path in files(&path) {
            match file::read(&path, name) {
                Ok(found) => {
                    for sample in found {
                        // A build that failed after a moment would be the fastest of all.
                        let why = match sample.result {
                            Ended::Success => {
                                samples.push(sample);
                                continue;
                            }
                            Ended::Failure => "is of a failed build",
                            Ended::Cancelled => "is of a cancelled build",
                        };
                        left_out.push(format!("`{}` {why}", path.display()));
                    }
                }
                Err(error) => left_out.push(with_cause(&error)),
            }
        }
    }
    let text = if samples.is_empty() {
        Err(CompareError::Nothing)
    } else {
        render::render(&Table::new(samples), format)
    };
    Comparison { text, left_out }
}

/// `NAME=PATH`, unless a file has that whole name.
fn split(argument: &str) -> (Option<&str>, PathBuf) {
    match argument.split_once('=') {
        Some((name, path)) if !name.is_empty() && !Path::new(argument).exists() => {
            (Some(name), PathBuf::from(path))
        }
        _ => (None, PathBuf::from(argument)),
    }
}

/// The path, or the JSON files in a folder and its subfolders: actions/download-artifact makes one for each artifact.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let nested = |entry: PathBuf| {
        if entry.is_dir() {
            entries(&entry)
        } else {
            vec![entry]
        }
    };
    let mut found: Vec<PathBuf> = entries(path).into_iter().flat_map(nested).collect();
    found.retain(|path| path.extension().is_some_and(|name| name == "json"));
    found
}

fn with_cause(error: &FileError) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"schema":1,"runner":{"architecture":"x86_64","cores":2},"images":[{"driver":"docker","total_ms":2000,"phases":{"build":{"union_ms":1500,"partition_ms":1500}}}]}"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn bad_files_are_said_in_words_and_the_good_ones_compared() {
        let folder = folder(&[
            ("a/good.json", GOOD),
            ("a/cut.json", GOOD.split_at(60).0),
            ("b.json", "not JSON"),
            ("c.json", r#"{"schema":7,"images":[]}"#),
            ("d.json", r#"{"schema":1,"images":[]}"#),
            ("e.json", "[]"),
            ("f.txt", "no timings"),
        ]);
        let given = [
            folder.path().to_string_lossy().into_owned(),
            "/no/such.json".to_owned(),
        ];
        let comparison = compare(&given, Format::Markdown);
        assert!(comparison.text.unwrap().contains("2.0 s"));
        let expected = [
            "cut.json` is not a timings file: EOF",
            "b.json` is not a timings file: expected",
            "c.json` has schema version 7, this program reads version 1",
            "d.json` contains no image",
            "e.json` is not a timings file",
            "could not read `/no/such.json`: No such file",
        ];
        assert_eq!(
            comparison.left_out.len(),
            expected.len(),
            "{:?}",
            comparison.left_out
        );
        for (found, expected) in comparison.left_out.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        let comparison = compare(&["/no/such.json".to_owned()], Format::Csv);
        assert!(matches!(comparison.text, Err(CompareError::Nothing)));
    }

    #[test]
    fn what_did_not_end_well_is_no_earlier_time() {
        let with = |result: &str| GOOD.replace("\"total_ms\"", &format!("{result}\"total_ms\""));
        let count = |text: String| totals(text.as_bytes(), Path::new("x")).unwrap().len();
        assert_eq!(count(with("")), 1);
        assert_eq!(count(with("\"result\":\"success\",")), 1);
        assert_eq!(count(with("\"result\":\"failure\",")), 0);
        assert_eq!(count(with("\"result\":\"cancelled\",")), 0);
    }

    #[test]
    fn files_may_be_named() {
        let folder = folder(&[("x=1.json", GOOD)]);
        let path = folder
            .path()
            .join("x=1.json")
            .to_string_lossy()
            .into_owned();
        let named = compare(&[format!("on EKS={path}")], Format::Markdown)
            .text
            .unwrap();
        assert!(named.contains("on EKS"), "{named}");
        let whole = compare(&[path], Format::Markdown);
        assert_eq!(whole.left_out, [] as [&str; 0]);
    }
}
