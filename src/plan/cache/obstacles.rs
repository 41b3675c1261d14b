//! Why a kind of cache cannot be used, and which one is used instead.

use super::choose::Choice;
use super::scope::CACHE_TAGS;
use super::{Diagnostics, Kind, exports};
use crate::inputs::Cache;

impl Choice<'_> {
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
