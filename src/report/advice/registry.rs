//! Storage in the registry.

use std::time::Duration;

use super::{Advice, Facts};
use crate::runner::markdown::code;
use crate::timings::units;

/// Smaller images cost little (bytes, compressed).
const LARGE: u64 = 100_000_000;

/// Amazon ECR keeps, and bills, every image unless a lifecycle policy expires it
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>).
pub(super) fn no_lifecycle_policy(facts: &Facts<'_>) -> Option<Advice> {
    let bytes = facts.bytes.filter(|bytes| *bytes >= LARGE)?;
    let names = facts.without_lifecycle_policy.iter();
    let names: Vec<String> = names.map(|name| code(name)).collect();
    let have = match names.len() {
        0 => return None,
        1 => "has",
        _ => "have",
    };
    Some(Advice {
        text: format!(
            "{} {have} no lifecycle policy: every push is kept and billed, this one with up to {}. Let Amazon ECR expire the \
             images that you no longer need (`aws ecr put-lifecycle-policy`).",
            names.join(" and "),
            units::bytes(bytes)
        ),
        // It costs money, not time.
        concerns: Duration::ZERO,
    })
}
