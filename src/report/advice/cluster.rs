//! Traffic to a builder in a cluster.

use super::{Advice, Facts};
use crate::report::traffic;
use crate::timings::Phase;

pub(super) fn over_the_api(facts: &Facts<'_>) -> Option<Advice> {
    let text = traffic::warning(facts.timings.api_traffic?)?;
    let time = |phase| facts.timings.phase(phase).union;
    Some(Advice {
        text: format!("{text}."),
        concerns: time(Phase::Context).max(time(Phase::Export)),
    })
}
