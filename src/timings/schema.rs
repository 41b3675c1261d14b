//! The timings JSON, schema version 1, as described in `docs/timings.schema.json`.
//!
//! Every duration and offset is an integer number of milliseconds and its name ends in `_ms`; points in time are RFC 3339 in UTC. Fields may
//! be added within a version; renaming or removing one needs a new version.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize, Serializer};

use super::{BuildTimings, PhaseTime};

/// Version of the format, in the field `schema`.
pub(crate) const SCHEMA: u32 = 1;

/// Longer texts are cut (characters).
const LONGEST_TEXT: usize = 512;

/// Limit for the warnings of an image.
pub(crate) const MOST_WARNINGS: usize = 100;

/// The whole file: one entry for each image of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TimingsFile {
    pub schema: u32,
    pub runner: Runner,
    pub images: Vec<ImageTimings>,
}

/// The machine that ran the action. Unknown values are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runner {
    /// Cores that this process may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Rust's and Linux' name: `x86_64`, `aarch64`.
    #[serde(default)]
    pub architecture: String,
    /// `github-hosted` or `self-hosted`; none outside of GitHub Actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// How a build ended, in GitHub's terms
/// (<https://docs.github.com/actions/reference/workflows-and-actions/contexts#job-context>, `job.status`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// The default: files of older versions have no such field.
    #[default]
    Success,
    Failure,
    Cancelled,
}

/// One image; `image` is its reference, if it has one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ImageTimings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    pub driver: String,
    pub builder: String,
    pub result: Ended,
    #[serde(flatten)]
    pub build: BuildTimings,
    /// Layers of the pushed image in its order, platform by platform; empty if the manifest could not be read.
    pub layers: Vec<LayerBytes>,
    pub warnings: Vec<WarningText>,
    /// Compressed size of all layers and configs, each counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_bytes: Option<u64>,
    /// Bytes of layers that the push engine sent, if it pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_bytes: Option<u64>,
    /// Bytes of layers that did not have to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reused_bytes: Option<u64>,
}

/// A warning; `place` is `FILE:LINE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct WarningText {
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LayerBytes {
    pub digest: String,
    /// Compressed.
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

impl WarningText {
    pub(crate) fn new(text: &str, place: Option<&str>) -> Self {
        Self {
            text: cut(text),
            place: place.map(cut),
        }
    }
}

impl LayerBytes {
    pub(crate) fn new(
        digest: &str,
        bytes: u64,
        created_by: Option<&str>,
        platform: Option<&str>,
    ) -> Self {
        Self {
            digest: digest.to_owned(),
            bytes,
            created_by: created_by.filter(|text| !text.is_empty()).map(cut),
            platform: platform.map(str::to_owned),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

pub(super) fn milliseconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn signed_milliseconds<S: Serializer>(
    duration: &SignedDuration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(i64::try_from(duration.as_millis()).unwrap_or_default())
}

pub(super) fn by_name<S: Serializer>(
    phases: &[PhaseTime],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let names: BTreeMap<&str, &PhaseTime> = phases
        .iter()
        .map(|time| (time.phase.name(), time))
        .collect();
    names.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::timings::{Phase, Recorder, Retry, Stage};

    #[test]
    fn names_the_unit_in_every_duration() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let mut recorder = Recorder::new(at(0));
        recorder.add(Stage {
            name: "credentials".to_owned(),
            phase: Phase::Setup,
            started: at(0),
            ended: at(300),
        });
        recorder.retried(Retry {
            what: "the push".to_owned(),
            why: "503 Service Unavailable".to_owned(),
            failed: at(400),
            wait: Duration::from_micros(200_900),
        });
        let build = recorder.finish(at(1_000));
        let runner = Runner {
            cores: Some(4),
            memory_bytes: Some(16_000_000_000),
            architecture: "x86_64".to_owned(),
            environment: Some("self-hosted".to_owned()),
        };
        let layer = LayerBytes::new("sha256:a", 7, Some("RUN make"), None);
        let warning = WarningText::new(&"x".repeat(600), Some("Dockerfile:3"));
        let image = ImageTimings {
            image: Some("registry/app:1".to_owned()),
            driver: "docker".to_owned(),
            builder: "default".to_owned(),
            result: Ended::Cancelled,
            build,
            layers: vec![layer],
            warnings: vec![warning],
            image_bytes: Some(9),
            pushed_bytes: None,
            reused_bytes: None,
        };
        let file = TimingsFile {
            schema: SCHEMA,
            runner,
            images: vec![image],
        };
        let mut json = serde_json::to_value(file).unwrap();
        let phases = json["images"][0]["phases"].take();
        assert_eq!(
            phases["setup"],
            json!({ "union_ms": 300, "partition_ms": 300 })
        );
        assert_eq!(phases.as_object().unwrap().len(), Phase::ALL.len());
        let expected = json!({
            "schema": 1,
            "runner": {
                "cores": 4,
                "memory_bytes": 16_000_000_000_u64,
                "architecture": "x86_64",
                "environment": "self-hosted",
            },
            "images": [{
                "image": "registry/app:1",
                "driver": "docker",
                "builder": "default",
                "result": "cancelled",
                "started": "1970-01-01T00:00:00Z",
                "total_ms": 1_000,
                "clock_offset_ms": 0,
                "cached_steps": 0,
                "total_steps": 0,
                "phases": null,
                "timeline": [
                    { "phase": "setup", "start_ms": 0, "end_ms": 300 },
                    { "phase": "waiting", "start_ms": 300, "end_ms": 1_000 },
                ],
                "steps": [{
                    "name": "credentials",
                    "phase": "setup",
                    "started_ms": 0,
                    "duration_ms": 300,
                    "cached": false,
                    "completed": true,
                    "bytes": 0,
                }],
                "boot": [],
                "layers": [{ "digest": "sha256:a", "bytes": 7, "created_by": "RUN make" }],
                "retries": [{ "what": "the push", "why": "503 Service Unavailable", "failed_ms": 400, "wait_ms": 200 }],
                "warnings": [{ "text": "x".repeat(512), "place": "Dockerfile:3" }],
                "image_bytes": 9,
            }],
        });
        assert_eq!(json, expected);
    }
}
