//! The cost of the cache.

use super::{Advice, Facts, matters};
use crate::timings::{Phase, units};

/// Writing the cache took longer than a full hit could save. Silent if a step was cached: how long it would have taken is unknown.
pub(super) fn export_costs_more_than_it_gains(facts: &Facts<'_>) -> Option<Advice> {
    let export = facts.timings.phase(Phase::CacheExport).partition;
    let build = facts.timings.phase(Phase::Build).partition;
    let mut steps = facts.timings.steps.iter();
    let cached = steps.any(|step| step.phase == Phase::Build && step.cached);
    if !matters(export, facts) || cached || export <= build {
        return None;
    }
    Some(Advice {
        text: format!(
            "Writing the cache took {}, but all steps together only {}, which is the most a later run can save: remove `cache-to`, or use \
             `mode=min` and the image's own compression.",
            units::duration(export),
            units::duration(build)
        ),
        concerns: export,
    })
}
