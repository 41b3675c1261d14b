//! The timings JSON, schema version 1.
//!
//! Out: [`TimingsFile`] as JSON. Every duration and offset is an integer number of milliseconds and says so in its name (`_ms`); points in time are
//! RFC 3339 in UTC. Fields may be added within a version; renaming or removing one makes a new version.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{BuildTimings, Phase, Step, Stretch};

/// Version of the format, in the field `schema`.
const SCHEMA: u32 = 1;

/// The whole file: one entry for each image of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TimingsFile {
    pub schema: u32,
    pub images: Vec<ImageTimings>,
}

/// One image; `image` is its reference, if it has one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ImageTimings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    pub started: Timestamp,
    pub total_ms: u64,
    /// What was added to the builder's timestamps.
    pub clock_offset_ms: i64,
    pub cached_steps: usize,
    pub total_steps: usize,
    pub phases: BTreeMap<&'static str, PhaseMilliseconds>,
    pub timeline: Vec<StretchMilliseconds>,
    pub steps: Vec<StepMilliseconds>,
}

/// Both views of one phase; `partition_ms` adds up to `total_ms` over all phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PhaseMilliseconds {
    pub union_ms: u64,
    pub partition_ms: u64,
}

/// A piece of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StretchMilliseconds {
    pub phase: Phase,
    pub start_ms: u64,
    pub end_ms: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StepMilliseconds {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    pub phase: Phase,
    pub started_ms: u64,
    pub duration_ms: u64,
    pub cached: bool,
    pub completed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub bytes: u64,
}

impl TimingsFile {
    /// The file for these builds, each with the reference of its image.
    pub(crate) fn new<'a>(
        builds: impl IntoIterator<Item = (Option<String>, &'a BuildTimings)>,
    ) -> Self {
        let images = builds
            .into_iter()
            .map(|(image, build)| ImageTimings::new(image, build));
        Self {
            schema: SCHEMA,
            images: images.collect(),
        }
    }
}

impl ImageTimings {
    fn new(image: Option<String>, build: &BuildTimings) -> Self {
        let phase = |time: &super::PhaseTime| {
            let both = PhaseMilliseconds {
                union_ms: milliseconds(time.union),
                partition_ms: milliseconds(time.partition),
            };
            (time.phase.name(), both)
        };
        Self {
            image,
            started: build.started,
            total_ms: milliseconds(build.total),
            clock_offset_ms: i64::try_from(build.clock_offset.as_millis()).unwrap_or_default(),
            cached_steps: build.cached_steps,
            total_steps: build.total_steps,
            phases: build.phases.iter().map(phase).collect(),
            timeline: build
                .timeline
                .iter()
                .map(StretchMilliseconds::new)
                .collect(),
            steps: build.steps.iter().map(StepMilliseconds::new).collect(),
        }
    }
}

impl StretchMilliseconds {
    fn new(stretch: &Stretch) -> Self {
        Self {
            phase: stretch.phase,
            start_ms: milliseconds(stretch.interval.start),
            end_ms: milliseconds(stretch.interval.end),
        }
    }
}

impl StepMilliseconds {
    fn new(step: &Step) -> Self {
        Self {
            name: step.name.clone(),
            stage: step.stage.clone(),
            platform: step.platform.clone(),
            phase: step.phase,
            started_ms: milliseconds(step.started),
            duration_ms: milliseconds(step.duration),
            cached: step.cached,
            completed: step.completed,
            error: step.error.clone(),
            bytes: step.bytes,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::timings::{Recorder, Stage};

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
        let build = recorder.finish(at(1_000));
        let file = TimingsFile::new([(Some("registry/app:1".to_owned()), &build)]);
        let mut json = serde_json::to_value(file).unwrap();
        let phases = json["images"][0]["phases"].take();
        assert_eq!(
            phases["setup"],
            json!({ "union_ms": 300, "partition_ms": 300 })
        );
        assert_eq!(phases.as_object().unwrap().len(), Phase::ALL.len());
        let expected = json!({
            "schema": 1,
            "images": [{
                "image": "registry/app:1",
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
            }],
        });
        assert_eq!(json, expected);
    }
}
