//! Layers of an uneven size.

use super::{Advice, Facts};
use crate::report::markdown::code;
use crate::report::{tables, units};
use crate::timings::Phase;

/// A layer smaller than this is quick whatever its share (bytes, compressed).
const LARGE: u64 = 100_000_000;

/// A layer is compressed by one thread and sent as one stream, so one that holds most of the image sets the time of all.
pub(super) fn one_layer_holds_most(facts: &Facts<'_>) -> Option<Advice> {
    let total: u64 = facts.layers.iter().map(|layer| layer.size).sum();
    let largest = facts.layers.iter().max_by_key(|layer| layer.size)?;
    let alone = facts.layers.len() < 2;
    if alone || largest.size < LARGE || u128::from(largest.size) * 5 < u128::from(total) * 3 {
        return None;
    }
    let export = facts.timings.phase(Phase::Export).partition;
    let push = facts.timings.phase(Phase::Push).partition;
    Some(Advice {
        text: format!(
            "One layer holds {} % of the image ({} of {}): {}. One thread compresses it and one stream pushes it: split its step in two or \
             more, what rarely changes first.",
            u128::from(largest.size) * 100 / u128::from(total),
            units::bytes(largest.size),
            units::bytes(total),
            code(&tables::name(largest))
        ),
        concerns: export + push,
    })
}
