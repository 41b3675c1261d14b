//! Where the time of a build went.
//!
//! In: BuildKit's progress ([`SolveStatus`](crate::buildx::rawjson::SolveStatus), one a line) and the intervals of our own stages.
//! Out: [`BuildTimings`]: phases, the timeline, steps. Pure: every time comes in as a value.
//!
//! The way through: `recorder` hears the stream and `vertex` keeps what is needed of each vertex, `clock` puts BuildKit's clock
//! right, `classify` turns names into phases, `partition` turns overlapping intervals into durations.
//!
//! Two views of the phases, both in [`PhaseTime`]:
//! - **union**: how long anything of the phase ran. Phases overlap, so unions may add up to more than the total;
//! - **partition**: every instant from start to end belongs to exactly one phase, so these add up to the total. Where several phases
//!   run at once, the first of [`Phase::ALL`] has the instant: what stands earlier in a build is what the rest waits for.
//!
//! Times are cut to whole milliseconds since the start before anything is computed, so sums are exact in the printed unit too.

mod classify;
mod clock;
mod label;
mod partition;
mod recorder;
pub(crate) mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod vertex;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub(crate) use recorder::Recorder;

/// How long earlier runs took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// Of the last runs, five at most.
    pub median: Duration,
    pub runs: usize,
}

/// What a moment of the build was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// `RUN`, `COPY`, `ADD`, `WORKDIR`.
    Build,
    /// Base images and cached layers: metadata, download, extraction.
    Pull,
    /// Dockerfile, `.dockerignore`, build context, Git or HTTP context: upload or download.
    Context,
    /// Reading cache manifests.
    CacheImport,
    /// Layers compressed, manifests written, image named, unpacked or sent to the Engine.
    Export,
    /// Layers and manifests sent to the registry.
    Push,
    /// Cache written to a registry, directory or service.
    CacheExport,
    /// Work that no rule knows.
    Other,
    /// The builder starts.
    Builder,
    /// Our own work before, between and after: inputs, credentials, checks.
    Setup,
    /// Nothing runs: buildx connects, starts and ends, the solver thinks.
    Waiting,
}

impl Phase {
    /// In the order in which they usually come.
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

    /// The name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Setup => "Set-up",
            Self::Builder => "Builder",
            Self::Context => "Context",
            Self::CacheImport => "Cache import",
            Self::Pull => "Pull",
            Self::Build => "Build",
            Self::Export => "Export",
            Self::Push => "Push",
            Self::CacheExport => "Cache export",
            Self::Other => "Unclassified",
            Self::Waiting => "Waiting",
        }
    }

    /// All phases; in the partition an instant belongs to the first of these that runs:
    /// build > pull > context > cache import > export > push > cache export > other > builder > setup > waiting.
    pub(crate) const ALL: [Self; 11] = [
        Self::Build,
        Self::Pull,
        Self::Context,
        Self::CacheImport,
        Self::Export,
        Self::Push,
        Self::CacheExport,
        Self::Other,
        Self::Builder,
        Self::Setup,
        Self::Waiting,
    ];

    /// The name in outputs (`cache-import` in `cache-import-seconds`) and in the timings file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Pull => "pull",
            Self::Context => "context",
            Self::CacheImport => "cache-import",
            Self::Export => "export",
            Self::Push => "push",
            Self::CacheExport => "cache-export",
            Self::Other => "other",
            Self::Builder => "builder",
            Self::Setup => "setup",
            Self::Waiting => "waiting",
        }
    }
}

/// A stretch of the build, as time since its start; `start <= end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interval {
    pub start: Duration,
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

/// Work that failed in a way that passes, and is done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// What is done again, as a person would call it: `the push`, `asking Amazon ECR for a token`.
    pub what: String,
    /// What went wrong, on one line.
    pub why: String,
    /// When it had gone wrong.
    pub failed: Timestamp,
    /// How long is waited before it is done again.
    pub wait: Duration,
}

/// A [`Retry`] on the build's own scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RetryTime {
    pub what: String,
    pub why: String,
    /// Since the start of the build.
    pub failed: Duration,
    pub wait: Duration,
}

/// Where the time of one build went; all durations are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildTimings {
    pub started: Timestamp,
    pub total: Duration,
    /// One entry for each of [`Phase::ALL`], in that order.
    pub phases: Vec<PhaseTime>,
    /// The partition in time's order: touching stretches from 0 to `total`, neighbours of different phases.
    pub timeline: Vec<Stretch>,
    /// Everything that ran, by start.
    pub steps: Vec<Step>,
    /// What the builder's boot consisted of, by start; may overlap.
    pub boot: Vec<BootStage>,
    /// What was done again, in time's order.
    pub retries: Vec<RetryTime>,
    /// As `buildx history inspect` counts.
    pub cached_steps: usize,
    /// As `buildx history inspect` counts.
    pub total_steps: usize,
    /// What was added to the builder's timestamps; zero where there were none.
    pub clock_offset: SignedDuration,
    /// What went over a cluster's API server, where it was counted.
    pub api_traffic: Option<Traffic>,
}

/// Bytes between buildx and its builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Traffic {
    /// The context, for the most part.
    pub sent: u64,
    /// Images and files that are not pushed, for the most part.
    pub received: u64,
}

/// How long one phase took, in both views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PhaseTime {
    pub phase: Phase,
    pub union: Duration,
    pub partition: Duration,
}

/// A piece of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub phase: Phase,
    pub interval: Interval,
}

/// A part of the builder's boot: an image pulled, a container created, a pod scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootStage {
    pub name: String,
    /// Since the start of the build.
    pub started: Duration,
    pub duration: Duration,
}

/// A vertex of the build graph that ran, or a stage of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// BuildKit's name of it, cut at [`vertex::LONGEST_NAME`] bytes.
    pub name: String,
    /// The stage of the Dockerfile, if the name tells it.
    pub stage: Option<String>,
    /// The platform, if the name tells it (builds for several platforms).
    pub platform: Option<String>,
    /// What most of it was: for an export the phase of the vertex, not of the push inside it.
    pub phase: Phase,
    /// Since the start of the build.
    pub started: Duration,
    /// How long it ran; pauses between two runs don't count.
    pub duration: Duration,
    pub cached: bool,
    /// The error, if it failed or was cancelled.
    pub error: Option<String>,
    /// False if the stream ended before the step did.
    pub completed: bool,
    /// Bytes that its transfers reported (context sent, layers downloaded); zero where BuildKit tells none.
    pub bytes: u64,
}

impl BuildTimings {
    /// The times of one phase.
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

    /// Steps by duration, slowest first; equally slow ones in the order in which they started.
    pub(crate) fn slowest_steps(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by_key(|step| std::cmp::Reverse(step.duration));
        steps
    }
}
