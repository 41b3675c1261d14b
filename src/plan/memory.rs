//! The memory to which the builder is limited.

use super::driver_options::amount;
use super::{Diagnostics, Node};
use crate::inputs::driver_options::DriverOption;
use crate::inputs::grammar::size;

/// With some 80 MiB or less, BuildKit reads its own program from disk again and again: a push of 200 MB that takes 9 s takes minutes or
/// does not end, or the kernel kills BuildKit. The rest is for the build (bytes).
const LEAST: u64 = 96 << 20;

/// A limit of the builder's memory, which is not 0.
#[derive(Debug)]
pub(super) struct Limit<'a> {
    /// Where it was given, and what.
    option: &'static str,
    text: &'a str,
    bytes: u64,
}

impl<'a> Limit<'a> {
    /// Of a builder's container.
    pub(super) fn of_container(options: &'a [DriverOption]) -> Option<Self> {
        let option = options.iter().find(|option| option.name == "memory")?;
        Self::new("memory", &option.value, size(&option.value)?)
    }

    /// Of each pod of a node.
    pub(super) fn of_node(node: &'a Node) -> Option<Self> {
        let text = node.limits.get("memory")?;
        Self::new("limits.memory", text, amount(text)?)
    }

    /// Docker takes 0 for no limit. Kubernetes takes parts of a byte, and rounds up: `512m` is one byte.
    fn new(option: &'static str, text: &'a str, bytes: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and what is too large becomes the largest"
        )]
        let bytes = bytes.ceil() as u64;
        (bytes > 0).then_some(Self {
            option,
            text,
            bytes,
        })
    }

    /// What one of so many steps of the push engine has that run at a time (bytes).
    pub(super) fn share(&self, steps: usize) -> Option<u64> {
        self.bytes.checked_div(steps as u64)
    }
}

/// Warns of limits with which a build may never end.
pub(super) fn check<'a>(
    limits: impl IntoIterator<Item = Limit<'a>>,
    diagnostics: &mut Diagnostics,
) {
    for Limit { option, text, .. } in limits.into_iter().filter(|limit| limit.bytes < LEAST) {
        let warning = format!(
            "`{option}={text}` is less memory than BuildKit needs: a build may take hours, or end when the memory is exhausted; set at \
             least {} MiB, and more for what the build's steps need",
            LEAST >> 20
        );
        if !diagnostics.warnings.contains(&warning) {
            diagnostics.warnings.push(warning);
        }
    }
}
