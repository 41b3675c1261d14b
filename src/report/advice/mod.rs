//! Advice from the facts of this run.
//!
//! In: [`Facts`]. Out: [`Advice`], the one about most time first. Each rule is a pure function with a threshold; its text has the number
//! behind it and something the user can change.

mod cache;
mod cluster;
mod context;
mod export;
mod layers;
mod order;
mod pull;
mod registry;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::observed::Entry;
use super::outcome::Image;
use super::part::Part;
use crate::registry::pushed::Layer;
use crate::timings::BuildTimings;

/// Pieces of advice in a summary.
const MOST: usize = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub timings: &'a BuildTimings,
    /// Layers of the pushed image; empty if they could not be read.
    pub layers: &'a [Layer],
    /// Compression of new layers; none if no image is exported.
    pub compression: Option<&'a str>,
    /// The largest entries of the context's folder, if they were measured.
    pub context: &'a [Entry],
    /// Compressed size of the pushed image.
    pub bytes: Option<u64>,
    /// Repositories that keep every image.
    pub without_lifecycle_policy: &'a [String],
}

/// One piece of advice, as Markdown on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advice {
    pub text: String,
    /// The time it is about.
    pub concerns: Duration,
}

type Rule = fn(&Facts<'_>) -> Option<Advice>;

const RULES: [Rule; 10] = [
    layers::one_layer_holds_most,
    order::dependencies_behind_the_whole_context,
    export::export_longer_than_build,
    export::zstd_would_save,
    pull::builder_boot,
    pull::base_image,
    cache::export_costs_more_than_it_gains,
    context::large_context,
    registry::no_lifecycle_policy,
    cluster::over_the_api,
];

/// The advice of all rules, the one about most time first.
pub(super) fn advise(facts: &Facts<'_>) -> Vec<Advice> {
    let mut advice: Vec<Advice> = RULES.iter().filter_map(|rule| rule(facts)).collect();
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.concerns));
    advice
}

pub(super) fn part(image: &Image<'_>) -> Part {
    if image.built.is_none() {
        return Part::default();
    }
    let mut outputs = image.plan.outputs.iter();
    let exported = outputs.find(|output| output.is_image() || output.is_archive());
    let pushed = image.pushed();
    let facts = Facts {
        timings: image.timings,
        layers: pushed.map_or(&[], |pushed| &pushed.layers),
        // BuildKit's default: https://docs.docker.com/build/exporters/image-registry/
        compression: exported.map(|output| output.attribute("compression").unwrap_or("gzip")),
        context: image.context,
        bytes: pushed.and_then(|pushed| pushed.bytes),
        without_lifecycle_policy: &image.run.observed.registries.without_lifecycle_policy,
    };
    let advice = advise(&facts).into_iter().take(MOST);
    let rows = advice.map(|advice| format!("- {}\n", advice.text));
    Part::rows("#### What would help\n\n", rows.collect())
}

/// Whether a time is worth advice: five seconds, and a tenth of the total.
fn matters(time: Duration, facts: &Facts<'_>) -> bool {
    time >= Duration::from_secs(5) && time * 10 >= facts.timings.total
}
