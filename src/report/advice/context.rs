//! The size of the build context.

use super::{Advice, Facts};
use crate::report::observed::LARGE_CONTEXT;
use crate::runner::markdown::code;
use crate::timings::{Phase, units};

const LISTED: usize = 3;

pub(super) fn large_context(facts: &Facts<'_>) -> Option<Advice> {
    let sent = facts.timings.context_bytes();
    if sent < LARGE_CONTEXT {
        return None;
    }
    let time = facts.timings.phase(Phase::Context).union;
    let largest = facts.context.iter().take(LISTED);
    let largest: Vec<String> = largest
        .map(|entry| format!("{} {}", code(&entry.name), units::bytes(entry.bytes)))
        .collect();
    let mut text = format!(
        "The build context is {}, sent in {}: list what the image does not need in `.dockerignore`.",
        units::bytes(sent),
        units::duration(time)
    );
    if !largest.is_empty() {
        text.push_str(&format!(" Largest: {}.", largest.join(", ")));
    }
    Some(Advice {
        text,
        concerns: time,
    })
}
