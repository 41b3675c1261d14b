//! The memory to which the builder is limited.

use super::driver_options::amount;
use super::{Diagnostics, Node};
use crate::inputs::driver_options::DriverOption;
use crate::inputs::grammar::size;

/// With less (bytes), BuildKit reads its own program from disk again and again: a push of 200 MB that takes 9 s takes minutes or does
/// not end, or the kernel kills BuildKit.
const LEAST: u64 = 96 << 20;

/// Warns of a limit with which a build may never end.
pub(super) fn check(options: &[DriverOption], nodes: &[Node], diagnostics: &mut Diagnostics) {
    let owners = nodes.iter().map(Some).chain([None]);
    let small = owners.filter(|node| limit(options, *node).is_some_and(|limit| limit < LEAST));
    let mut texts: Vec<_> = small
        .filter_map(|node| Some((option(node), text(options, node)?)))
        .collect();
    texts.dedup();
    for (option, text) in texts {
        diagnostics.warnings.push(format!(
            "`{option}={text}` is less memory than BuildKit needs: a build may take hours, or end when the memory is exhausted; set at \
             least 96 MiB, and more for what the build's steps need"
        ));
    }
}

fn option(node: Option<&Node>) -> &'static str {
    if node.is_some() {
        "limits.memory"
    } else {
        "memory"
    }
}

/// The share of one of `steps` steps of the push engine that run at a time on a node (bytes). None for no limit.
pub(super) fn share(options: &[DriverOption], node: Option<&Node>, steps: usize) -> Option<u64> {
    limit(options, node)?.checked_div(steps as u64)
}

/// The limit of a node of a cluster, or of the builder's container, as it was given.
fn text<'a>(options: &'a [DriverOption], node: Option<&'a Node>) -> Option<&'a str> {
    if let Some(node) = node {
        return node.limits.get("memory").map(String::as_str);
    }
    let option = options.iter().find(|option| option.name == "memory");
    option.map(|option| option.value.as_str())
}

/// In bytes.
fn limit(options: &[DriverOption], node: Option<&Node>) -> Option<u64> {
    let text = text(options, node)?;
    let bytes = if node.is_some() {
        amount(text)
    } else {
        size(text)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and what is too large becomes the largest"
    )]
    let bytes = bytes? as u64;
    // Docker takes 0 for no limit.
    Some(bytes).filter(|bytes| *bytes > 0)
}
