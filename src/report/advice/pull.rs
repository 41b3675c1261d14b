//! What is fetched before anything is built: base images, and the builder's own.

use std::time::Duration;

use super::{Advice, Facts, matters};
use crate::report::markdown::code;
use crate::report::units;
use crate::timings::{BootStage, Phase, Step};

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

/// Most of the builder's boot went into one thing that can be changed.
pub(super) fn builder_boot(facts: &Facts<'_>) -> Option<Advice> {
    let boot = facts.timings.phase(Phase::Builder).partition;
    if !matters(boot, facts) {
        return None;
    }
    let most = |words: &[&str]| -> Option<&BootStage> {
        let stages = facts.timings.boot.iter();
        stages
            .filter(|stage| words.iter().any(|word| stage.name.contains(word)))
            .max_by_key(|stage| stage.duration)
            .filter(|stage| stage.duration * 2 > boot)
    };
    let (what, time, how) = if let Some(stage) = most(&["pulling image", "pulling"]) {
        let how = "name a mirror in the same region with `driver-opts: image=…`, or put the image on the nodes";
        ("pulling BuildKit's image", stage.duration, how)
    } else if let Some(stage) = most(&["schedul"]) {
        let how = "keep a node free for builds, or keep the builder between runs (`builder`)";
        ("waiting for a node", stage.duration, how)
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
