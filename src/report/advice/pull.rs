//! What is pulled before the build: base images, and the builder's own.

use std::time::Duration;

use super::{Advice, Facts, matters};
use crate::runner::markdown::code;
use crate::timings::{Phase, Step, units};

/// The base image came over the network; a persistent builder would have it.
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
            "Pulling took {}, most of it for {} ({}): keep the builder between runs (`builder`), use a registry in the same region, or choose a \
             smaller base image.",
            units::duration(pull),
            code(name.trim()),
            units::bytes(longest.bytes)
        ),
        concerns: pull,
    })
}

/// A boot stage that can be shortened: the beginnings of its names, what it is, and what to do. buildx's names for a container
/// (<https://github.com/docker/buildx/blob/v0.29.1/driver/docker-container/driver.go>), ours for a pod.
const BOOT: [(&[&str], &str, &str); 2] = [
    (
        &["pulling image", "pull the builder's image"],
        "pulling BuildKit's image",
        "use a mirror in the same region (`driver-opts: image=…`), or put the image on the nodes",
    ),
    (
        &["wait for a node"],
        "waiting for a node",
        "keep a node free for builds, lower `requests` in `driver-opts`, or keep the builder between runs (`builder`)",
    ),
];

/// Most of the builder's boot went into one thing that can be changed.
pub(super) fn builder_boot(facts: &Facts<'_>) -> Option<Advice> {
    let boot = facts.timings.phase(Phase::Builder).partition;
    if !matters(boot, facts) {
        return None;
    }
    BOOT.into_iter().find_map(|(names, what, how)| {
        let stages = facts.timings.boot.iter();
        let stages = stages.filter(|stage| names.iter().any(|name| stage.name.starts_with(name)));
        // Nodes boot in parallel: the slowest decides.
        let time = stages.map(|stage| stage.duration).max()?;
        (time * 2 > boot).then(|| Advice {
            text: format!(
                "The builder took {} to boot, {} of it {what}: {how}.",
                units::duration(boot),
                units::duration(time)
            ),
            concerns: Duration::min(time, boot),
        })
    })
}
