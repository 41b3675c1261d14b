//! One timings file, untrusted.
//!
//! In: a path. Out: its [`Sample`]s, one for each image, or a [`FileError`]. Format: `docs/timings.schema.json`; unknown fields are ignored.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::timings::Phase;
use crate::timings::schema::{Ended, Runner, SCHEMA};

/// Limit for a file (bytes): 100,000 steps take about 30 MB.
const LARGEST: u64 = 64 * 1024 * 1024;

/// One build of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// A description of the machine, or the name given to the file.
    pub runner: String,
    pub driver: String,
    pub result: Ended,
    /// `registry/repository`, if it was pushed.
    pub image: Option<String>,
    pub total_ms: u64,
    /// The partition of each of [`Phase::ALL`], in that order.
    pub phases_ms: Vec<u64>,
}

#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("could not read `{}`", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("`{}` is larger than 64 MiB", .0.display())]
    Large(PathBuf),
    #[error("`{}` is not a timings file", .0.display())]
    Parse(PathBuf, #[source] serde_json::Error),
    #[error("`{}` has schema version {found}, this program reads version {SCHEMA}", path.display())]
    Version { path: PathBuf, found: String },
    #[error("`{}` contains no image", .0.display())]
    Empty(PathBuf),
}

#[derive(Deserialize)]
struct Head {
    schema: Value,
}

#[derive(Deserialize)]
struct Contents {
    #[serde(default)]
    runner: Runner,
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    result: Ended,
    total_ms: u64,
    phases: BTreeMap<String, Times>,
}

#[derive(Deserialize)]
struct Times {
    partition_ms: u64,
}

/// Reads a file; `name` replaces the description of the machine.
pub(super) fn read(path: &Path, name: Option<&str>) -> Result<Vec<Sample>, FileError> {
    let failed = |error| FileError::Read(path.to_owned(), error);
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(FileError::Large(path.to_owned()));
    }
    parse(&text, name, path)
}

pub(super) fn parse(
    text: &[u8],
    name: Option<&str>,
    path: &Path,
) -> Result<Vec<Sample>, FileError> {
    let failed = |error| FileError::Parse(path.to_owned(), error);
    let head: Head = serde_json::from_slice(text).map_err(failed)?;
    if head.schema != SCHEMA {
        return Err(FileError::Version {
            path: path.to_owned(),
            found: head.schema.to_string().chars().take(40).collect(),
        });
    }
    let contents: Contents = serde_json::from_slice(text).map_err(failed)?;
    if contents.images.is_empty() {
        return Err(FileError::Empty(path.to_owned()));
    }
    let runner = name.map_or_else(|| described(&contents.runner), str::to_owned);
    let sample = |image: Image| {
        let name = image.image.as_deref();
        let time = |phase: &Phase| image.phases.get(phase.name());
        let phases = Phase::ALL.iter().map(time);
        Sample {
            runner: runner.clone(),
            result: image.result,
            image: name.and_then(|name| Some(name.split('@').next()?.to_owned())),
            total_ms: image.total_ms,
            phases_ms: phases
                .map(|time| time.map_or(0, |time| time.partition_ms))
                .collect(),
            driver: image.driver,
        }
    };
    Ok(contents.images.into_iter().map(sample).collect())
}

/// `self-hosted, 2 cores, x86_64`.
fn described(runner: &Runner) -> String {
    let cores = runner.cores.map(|cores| format!("{cores} cores"));
    let architecture = Some(runner.architecture.clone()).filter(|name| !name.is_empty());
    let parts = [runner.environment.clone(), cores, architecture];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return "unknown".to_owned();
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timings::schema::{ImageTimings, TimingsFile};
    use crate::timings::tests::recording::Recording;

    fn written() -> (String, u64) {
        let timings = Recording::open("cold-push").timings();
        let runner = Runner {
            cores: Some(2),
            architecture: "x86_64".to_owned(),
            environment: Some("self-hosted".to_owned()),
            memory_bytes: None,
        };
        let total = u64::try_from(timings.total.as_millis()).unwrap();
        let image = ImageTimings {
            image: Some("r.example/a@sha256:0".to_owned()),
            driver: "docker".to_owned(),
            builder: "default".to_owned(),
            result: Ended::Failure,
            build: timings,
            layers: Vec::new(),
            warnings: Vec::new(),
            image_bytes: None,
            pushed_bytes: None,
            reused_bytes: None,
        };
        let file = TimingsFile {
            schema: SCHEMA,
            runner,
            images: vec![image],
        };
        (serde_json::to_string(&file).unwrap(), total)
    }

    #[test]
    fn what_the_action_writes_is_read_back() {
        let (text, total) = written();
        let samples = parse(text.as_bytes(), None, Path::new("x")).unwrap();
        let [sample] = samples.as_slice() else {
            panic!("{samples:?}");
        };
        assert_eq!(sample.runner, "self-hosted, 2 cores, x86_64");
        assert_eq!(sample.driver, "docker");
        assert_eq!(sample.result, Ended::Failure);
        assert_eq!(sample.image.as_deref(), Some("r.example/a"));
        assert_eq!(sample.total_ms, total);
        assert_eq!(sample.phases_ms.iter().sum::<u64>(), total);
    }

    #[test]
    fn endless_files_are_refused() {
        let error = read(Path::new("/dev/zero"), None).unwrap_err();
        assert_eq!(error.to_string(), "`/dev/zero` is larger than 64 MiB");
    }

    #[test]
    fn a_file_cut_anywhere_is_said_in_words() {
        let (text, _) = written();
        for kept in (0..text.len() - 1).step_by(97) {
            let error = parse(&text.as_bytes()[..kept], None, Path::new("x")).unwrap_err();
            assert_eq!(error.to_string(), "`x` is not a timings file", "{kept}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_a_damaged_file(at in 0usize..4000, byte in any::<u8>()) {
            let mut text = written().0.into_bytes();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            let _ = parse(&text, None, Path::new("x")).map(super::super::table::Table::new);
        }
    }
}
