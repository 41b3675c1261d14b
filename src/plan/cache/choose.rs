//! Which kind of cache, and what stands in its way.

use super::names::CACHE_TAGS;
use super::{Diagnostics, Kind, Situation, disk_lasts, exports};
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

    /// Takes the inline cache where the builder can write no other.
    pub(super) fn settle(&mut self, diagnostics: &mut Diagnostics) {
        if matches!(self.kind, Kind::Registry | Kind::Gha) && !exports(self.situation) {
            self.fall_back_to_inline(
                "the Engine's own BuildKit writes other caches only with containerd's image store",
                diagnostics,
            );
        }
        if self.kind == Kind::Registry && self.has_nodes() {
            self.settle_nodes(diagnostics);
        }
        if self.kind == Kind::Registry
            && let Some(name) = self.registry_target()
            && self.may_move(&name) == Some(false)
        {
            let why = format!(
                "the tags of `{}` are immutable, so that `{}` could be written once only",
                name.name(),
                name.tag.as_deref().unwrap_or_default()
            );
            if self.moving_tags().is_empty() {
                diagnostics.warnings.push(format!(
                    "no cache is written: {why}; exclude `{CACHE_TAGS}*` from the rule, or name a \
                     repository with mutable tags in `cache-ref`"
                ));
                self.reason = why;
            } else {
                self.fall_back_to_inline(&why, diagnostics);
            }
        }
    }

    /// buildx gives every node the same export (`toSolveOpt` in its `build/opt.go`), so that the last
    /// one's stays.
    fn settle_nodes(&mut self, diagnostics: &mut Diagnostics) {
        let why = "every platform has a BuildKit of its own, and in the registry the last one's would stay alone";
        if self.situation.inputs.cache == Cache::Auto && !self.moving_tags().is_empty() {
            self.fall_back_to_inline(why, diagnostics);
        } else {
            diagnostics.notices.push(format!(
                "the cache holds the steps of one platform: {why}; `cache: inline` keeps all"
            ));
        }
    }

    fn has_nodes(&self) -> bool {
        let kubernetes = self.situation.builder.kubernetes.as_ref();
        kubernetes.is_some_and(|kubernetes| kubernetes.nodes.len() > 1)
    }

    fn fall_back_to_inline(&mut self, why: &str, diagnostics: &mut Diagnostics) {
        diagnostics
            .notices
            .push(format!("the cache is kept in the image (inline): {why}"));
        self.kind = Kind::Inline;
        why.clone_into(&mut self.reason);
    }
}
