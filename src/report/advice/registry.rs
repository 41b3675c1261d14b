//! What the registry keeps.

use std::time::Duration;

use super::{Advice, Facts};
use crate::report::markdown::code;
use crate::report::units;

/// Smaller images take long to pile up to anything (bytes, compressed).
const LARGE: u64 = 100_000_000;

/// Amazon ECR keeps, and bills, every image until a lifecycle policy says otherwise
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>).
pub(super) fn no_lifecycle_policy(facts: &Facts<'_>) -> Option<Advice> {
    let bytes = facts.bytes.filter(|bytes| *bytes >= LARGE)?;
    let repositories: Vec<String> = facts
        .without_lifecycle_policy
        .iter()
        .map(|name| code(name))
        .collect();
    let has = match repositories.len() {
        0 => return None,
        1 => "has",
        _ => "have",
    };
    Some(Advice {
        text: format!(
            "{} {has} no lifecycle policy: every push is kept and billed, this one with up to {}. Let Amazon ECR expire the \
             images that you no longer need (`aws ecr put-lifecycle-policy`).",
            repositories.join(" and "),
            units::bytes(bytes)
        ),
        // It costs money, not time.
        concerns: Duration::ZERO,
    })
}
