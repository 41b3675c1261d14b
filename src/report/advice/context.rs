//! The size of the build context.

use super::{Advice, Facts};
use crate::report::markdown::code;
use crate::report::units;
use crate::timings::Phase;

/// Contexts from here on are worth a word (bytes).
pub(in crate::report) const LARGE: u64 = 200_000_000;

/// Entries that are named.
const NAMED: usize = 3;

/// Hundreds of megabytes were sent to the builder.
pub(super) fn large_context(facts: &Facts<'_>) -> Option<Advice> {
    let sent = facts.timings.context_bytes();
    if sent < LARGE {
        return None;
    }
    let time = facts.timings.phase(Phase::Context).union;
    let named: Vec<String> = facts
        .context
        .iter()
        .take(NAMED)
        .map(|entry| format!("{} {}", code(&entry.name), units::bytes(entry.bytes)))
        .collect();
    let largest = if named.is_empty() {
        String::new()
    } else {
        format!(" Largest: {}.", named.join(", "))
    };
    Some(Advice {
        text: format!(
            "The build context is {}, sent in {}: name what the image does not need in `.dockerignore`.{largest}",
            units::bytes(sent),
            units::duration(time)
        ),
        concerns: time,
    })
}
