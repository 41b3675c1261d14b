//! The cache's price.

use super::{Advice, Facts, matters};
use crate::report::units;
use crate::timings::Phase;

/// Writing the cache took longer than all that a full hit could spare.
pub(super) fn export_costs_more_than_it_gains(facts: &Facts<'_>) -> Option<Advice> {
    let export = facts.timings.phase(Phase::CacheExport).partition;
    let build = facts.timings.phase(Phase::Build).partition;
    let steps = facts.timings.steps.iter();
    // What cached steps would have taken is not known, so that nothing is said where there are any.
    let cached = steps
        .filter(|step| step.phase == Phase::Build && step.cached)
        .count();
    if !matters(export, facts) || cached > 0 || export <= build {
        return None;
    }
    Some(Advice {
        text: format!(
            "Writing the cache took {}, but all steps together only {}, which is the most a later run can save: leave `cache-to` out, or use `mode=min` and the \
             image's own compression.",
            units::duration(export),
            units::duration(build)
        ),
        concerns: export,
    })
}
