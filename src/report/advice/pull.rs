//! What is fetched before anything is built: base images, and the builder's own.

use std::time::Duration;

use super::{Advice, Facts, matters};
use crate::report::markdown::code;
use crate::report::units;
use crate::timings::{Phase, Step};

/// The base image came over the network, which a builder that stays would have had.
pub(super) fn base_image(facts: &Facts<'_>) -> Option<Advice> {
    let pull = facts.timings.phase(Phase::Pull).partition;
    if !matters(pull, facts) {
        return None;
    }
    let base =
        |step: &&Step| step.phase == Phase::Pull && step.bytes > 0 && step.name.contains("FROM ");
    let steps = facts.timings.steps.iter();
    let longest = steps.filter(base).max_by_key(|step| step.duration)?;
    let name = longest.name.split("FROM ").nth(1)?;
    let name = name.split("@sha256:").next().unwrap_or(name);
    Some(Advice {
        text: format!(
            "Pulling took {}, most of it for {} ({}): keep the builder between runs (`builder`), take the image from a registry in the same region, or choose a \
             smaller one.",
            units::duration(pull),
            code(name.trim()),
            units::bytes(longest.bytes)
        ),
        concerns: pull,
    })
}

/// Names of boot stages: buildx's for a container
/// (<https://github.com/docker/buildx/blob/v0.29.1/driver/docker-container/driver.go>), ours for a pod.
const PULLS: [&str; 2] = ["pulling image", "pull the builder's image"];
const WAITS_FOR_A_NODE: [&str; 1] = ["wait for a node"];

/// Most of the builder's boot went into one thing that can be changed.
pub(super) fn builder_boot(facts: &Facts<'_>) -> Option<Advice> {
    let boot = facts.timings.phase(Phase::Builder).partition;
    if !matters(boot, facts) {
        return None;
    }
    // Nodes boot side by side: the slowest is what is waited for.
    let most = |names: &[&str]| -> Option<Duration> {
        let stages = facts.timings.boot.iter();
        let stages = stages.filter(|stage| names.iter().any(|name| stage.name.starts_with(name)));
        stages
            .map(|stage| stage.duration)
            .max()
            .filter(|longest| *longest * 2 > boot)
    };
    let (what, time, how) = if let Some(time) = most(&PULLS) {
        let how = "name a mirror in the same region with `driver-opts: image=…`, or put the image on the nodes";
        ("pulling BuildKit's image", time, how)
    } else if let Some(time) = most(&WAITS_FOR_A_NODE) {
        let how = "keep a node free for builds, lower `requests` in `driver-opts`, or keep the builder between runs (`builder`)";
        ("waiting for a node", time, how)
    } else {
        return None;
    };
    Some(Advice {
        text: format!(
            "The builder needed {} to boot, {} of it {what}: {how}.",
            units::duration(boot),
            units::duration(time)
        ),
        concerns: Duration::min(time, boot),
    })
}
