//! Which kind of cache suits the builder.

use super::{Kind, Situation, disk_lasts};
use crate::inputs::Cache;
use crate::runner::origin::Origin;

/// A decision in the making.
pub(super) struct Choice<'a> {
    pub situation: &'a Situation<'a>,
    pub origin: Option<&'a Origin>,
    pub kind: Kind,
    pub reason: String,
}

impl<'a> Choice<'a> {
    pub(super) fn new(situation: &'a Situation<'a>, origin: Option<&'a Origin>) -> Self {
        let (kind, reason) = match situation.inputs.cache {
            Cache::Auto if disk_lasts(situation) => (
                Kind::Inline,
                "the builder's own disk, and the image for others",
            ),
            Cache::Auto => (Kind::Registry, "the builder's disk is new in every run"),
            Cache::Inline => (Kind::Inline, ""),
            Cache::Registry => (Kind::Registry, ""),
            Cache::Gha => (Kind::Gha, ""),
            Cache::None => (Kind::None, ""),
        };
        Self {
            situation,
            origin,
            kind,
            reason: reason.to_owned(),
        }
    }
}
