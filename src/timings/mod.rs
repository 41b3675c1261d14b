//! Where the time of a build went.
//!
//! In: BuildKit's progress ([`SolveStatus`](crate::buildx::rawjson::SolveStatus)) and the intervals of our own stages. Out: [`BuildTimings`].
//! Pure: every time is passed in.
//!
//! [`Recorder`] follows the stream and keeps a record per vertex (`vertex`). `clock` corrects BuildKit's clock, `classify` maps names to
//! phases, `partition` turns overlapping intervals into durations.
//!
//! [`PhaseTime`] has two views of a phase:
//! - **union**: how long anything of the phase ran. Phases overlap, so unions may add up to more than the total;
//! - **partition**: every instant belongs to exactly one phase, so partitions add up to the total. Where several phases run at once, the
//!   first of [`Phase::ALL`] gets the instant: the rest waits for it.
//!
//! All times are whole milliseconds since the start, so sums are exact in the printed unit.

mod classify;
mod clock;
mod label;
mod partition;
mod recorder;
pub(crate) mod schema;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod units;
mod vertex;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use strum::VariantArray;

pub(crate) use label::command;
pub(crate) use recorder::Recorder;

/// The durations of earlier runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Earlier {
    pub median: Duration,
    pub runs: usize,
}

/// What an instant of the build was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, VariantArray)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// `RUN`, `COPY`, `ADD`, `WORKDIR`.
    Build,
    /// Base images and cached layers: metadata, download, extraction.
    Pull,
    /// Dockerfile, `.dockerignore`, build context, Git or HTTP context.
    Context,
    /// Reading cache manifests.
    CacheImport,
    /// Compressing layers, writing manifests, unpacking, sending the image to the Engine.
    Export,
    /// Sending layers and manifests to the registry.
    Push,
    /// Writing the cache to a registry, directory or service.
    CacheExport,
    /// Work that no rule matches.
    Other,
    /// The builder's start and removal.
    Builder,
    /// Our own work: inputs, credentials, checks.
    Setup,
    /// Nothing runs.
    Waiting,
}

impl Phase {
    /// The usual order in a build.
    pub(crate) const ORDER: [Self; 11] = [
        Self::Setup,
        Self::Builder,
        Self::Context,
        Self::CacheImport,
        Self::Pull,
        Self::Build,
        Self::Export,
        Self::Push,
        Self::CacheExport,
        Self::Other,
        Self::Waiting,
    ];

    /// All phases. In the partition an instant belongs to the first of these that runs.
    pub(crate) const ALL: &'static [Self] = Self::VARIANTS;

    pub(crate) fn title(self) -> &'static str {
        self.names().1
    }

    /// The name in outputs (`cache-import` in `cache-import-seconds`) and in the timings file.
    pub(crate) fn name(self) -> &'static str {
        self.names().0
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Build => ("build", "Build"),
            Self::Pull => ("pull", "Pull"),
            Self::Context => ("context", "Context"),
            Self::CacheImport => ("cache-import", "Cache import"),
            Self::Export => ("export", "Export"),
            Self::Push => ("push", "Push"),
            Self::CacheExport => ("cache-export", "Cache export"),
            Self::Other => ("other", "Unclassified"),
            Self::Builder => ("builder", "Builder"),
            Self::Setup => ("setup", "Set-up"),
            Self::Waiting => ("waiting", "Waiting"),
        }
    }
}

/// Time since the start of the build; `start <= end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Interval {
    #[serde(rename = "start_ms", serialize_with = "schema::milliseconds")]
    pub start: Duration,
    #[serde(rename = "end_ms", serialize_with = "schema::milliseconds")]
    pub end: Duration,
}

impl Interval {
    pub(crate) fn length(self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// Work of our own process, timed by its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub name: String,
    pub phase: Phase,
    pub started: Timestamp,
    pub ended: Timestamp,
}

/// Work that failed with a transient error and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// The work, as in `the push`.
    pub what: String,
    /// The error, on one line.
    pub why: String,
    pub failed: Timestamp,
    /// The pause before the next attempt.
    pub wait: Duration,
}

/// A [`Retry`] with its time since the start of the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RetryTime {
    pub what: String,
    pub why: String,
    #[serde(rename = "failed_ms", serialize_with = "schema::milliseconds")]
    pub failed: Duration,
    #[serde(rename = "wait_ms", serialize_with = "schema::milliseconds")]
    pub wait: Duration,
}

/// Where the time of one build went; all durations are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BuildTimings {
    pub started: Timestamp,
    #[serde(rename = "total_ms", serialize_with = "schema::milliseconds")]
    pub total: Duration,
    /// Added to the builder's timestamps; zero if it sent none.
    #[serde(
        rename = "clock_offset_ms",
        serialize_with = "schema::signed_milliseconds"
    )]
    pub clock_offset: SignedDuration,
    /// The Dockerfile's steps that came from the cache.
    pub cached_steps: usize,
    /// The Dockerfile's steps, without `FROM`.
    pub total_steps: usize,
    /// One entry for each of [`Phase::ALL`], in that order. Partitions add up to the total.
    #[serde(serialize_with = "schema::by_name")]
    pub phases: Vec<PhaseTime>,
    /// The partition in time order, from 0 to `total` without gaps; neighbours have different phases.
    pub timeline: Vec<Segment>,
    /// Everything that ran, by start.
    pub steps: Vec<Step>,
    /// Parts of the builder's start, by start; they may overlap.
    pub boot: Vec<BootStage>,
    /// In time order.
    pub retries: Vec<RetryTime>,
    /// Traffic through a cluster's API server, if it was counted.
    #[serde(
        rename = "kubernetes_api_bytes",
        skip_serializing_if = "Option::is_none"
    )]
    pub api_traffic: Option<Traffic>,
}

/// Bytes between buildx and its builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Traffic {
    /// Mostly the build context.
    pub sent: u64,
    /// Mostly images and files that are not pushed.
    pub received: u64,
}

/// How long one phase took, in both views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PhaseTime {
    #[serde(skip)]
    pub phase: Phase,
    #[serde(rename = "union_ms", serialize_with = "schema::milliseconds")]
    pub union: Duration,
    #[serde(rename = "partition_ms", serialize_with = "schema::milliseconds")]
    pub partition: Duration,
}

/// A piece of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Segment {
    pub phase: Phase,
    #[serde(flatten)]
    pub interval: Interval,
}

/// A part of the builder's start: an image pulled, a container created, a pod scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BootStage {
    pub name: String,
    #[serde(rename = "started_ms", serialize_with = "schema::milliseconds")]
    pub started: Duration,
    #[serde(rename = "duration_ms", serialize_with = "schema::milliseconds")]
    pub duration: Duration,
}

/// A vertex of the build graph that ran, or one of our own stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// BuildKit's name, cut at [`vertex::LONGEST_NAME`] bytes.
    pub name: String,
    /// The Dockerfile's stage, if the name has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The platform, if the name has it (builds for several platforms).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The phase of the vertex; an export's push inside it is counted apart.
    pub phase: Phase,
    /// Since the start of the build.
    #[serde(rename = "started_ms", serialize_with = "schema::milliseconds")]
    pub started: Duration,
    /// Without pauses between two runs.
    #[serde(rename = "duration_ms", serialize_with = "schema::milliseconds")]
    pub duration: Duration,
    pub cached: bool,
    /// False if the stream ended before the step did.
    pub completed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Bytes of its transfers (context sent, layers downloaded); zero if BuildKit does not say.
    pub bytes: u64,
}

impl Step {
    /// Whether BuildKit stopped it: another step failed, or a step of another platform did the same work
    /// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/util/progress/progressui/display.go>, `CANCELED`).
    pub(crate) fn is_cancelled(&self) -> bool {
        let error = self.error.as_deref();
        error.is_some_and(|error| error.ends_with("context canceled"))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some() && !self.is_cancelled()
    }
}

impl BuildTimings {
    pub(crate) fn phase(&self, phase: Phase) -> PhaseTime {
        let found = self.phases.iter().find(|time| time.phase == phase);
        found.copied().unwrap_or(PhaseTime {
            phase,
            union: Duration::ZERO,
            partition: Duration::ZERO,
        })
    }

    /// Bytes of the build context that were sent to the builder.
    pub(crate) fn context_bytes(&self) -> u64 {
        let context = |step: &&Step| {
            step.phase == Phase::Context && step.name.ends_with("load build context")
        };
        let sizes = self.steps.iter().filter(context).map(|step| step.bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// Steps by duration, slowest first; equally slow ones by start.
    pub(crate) fn slowest_steps(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by_key(|step| std::cmp::Reverse(step.duration));
        steps
    }
}
