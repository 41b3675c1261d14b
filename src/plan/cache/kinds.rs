//! One kind of cache after the other: what buildx is told of it.

use image::ImageRef;

use super::choose::Choice;
use super::leg::{former_parts, parts};
use super::raw::AS_IMAGE;
use super::scope::{CACHE_TAGS, Scopes, service_scope};
use super::{CachePlan, Chosen, Diagnostics};
use crate::inputs::cache::{Backend, CacheEntry};
use crate::inputs::{Cache, CacheMode};

/// What the tags of images begin with that are found by their inline cache. They are no
/// [`CACHE_TAGS`], which a lifecycle policy removes: these name images.
const INLINE_TAGS: &str = "inlinecache";

/// More tags than this are not asked for an inline cache: each is a request.
const MOST_IMPORTS: usize = 4;

impl Choice<'_> {
    /// The registry's cache: read from the branch's tag, its base's and the default branch's,
    /// written to the branch's.
    pub(super) fn registry(self, diagnostics: &mut Diagnostics) -> Chosen {
        let Some((repository, Scopes { own, imports })) = self.names(CACHE_TAGS, diagnostics)
        else {
            return Chosen::nothing("no name to keep it under".to_owned());
        };
        let mut written = own.map(|tag| repository.with_tag(&tag));
        if let Some(name) = &written
            && self.may_move(name) == Some(false)
        {
            written = None;
        }
        if !self.pushes() {
            written = None;
        }
        if self.untrusted(diagnostics) {
            written = None;
        }
        let from = imports.iter().map(|tag| import(&repository.with_tag(tag)));
        let to = written.as_ref().map(|name| self.export(name));
        Chosen {
            from: from.collect(),
            to: to.into_iter().collect(),
            plan: self.plan(None, written.as_ref()),
        }
    }

    /// The image's own cache: read from tags that an earlier image may have had.
    pub(super) fn inline(self, diagnostics: &mut Diagnostics) -> Chosen {
        let asked = self.situation.inputs.cache == Cache::Inline;
        let named = self.situation.inputs.cache_ref.is_some();
        let moving = self.moving_tags();
        let mut tag = None;
        let mut imports = Vec::new();
        let by_its_tags = !named && (!moving.is_empty() || !asked);
        if by_its_tags {
            imports = moving.iter().take(MOST_IMPORTS).cloned().collect();
        } else if let Some((repository, scopes)) = self.names(INLINE_TAGS, diagnostics) {
            imports = scopes
                .imports
                .iter()
                .map(|tag| repository.with_tag(tag))
                .collect();
            let own = scopes.own.map(|tag| repository.with_tag(&tag));
            tag = own.filter(|name| self.may_be_added(name));
            if let Some(name) = tag.take_if(|name| self.may_move(name) == Some(false)) {
                diagnostics.warnings.push(format!(
                    "`{name}` is not pushed: the repository's tags are immutable, and the next run would not find its \
                     cache; exclude `{}*` from the rule",
                    name.tag.as_deref().unwrap_or_default()
                ));
            }
        }
        if !asked
            && !self
                .situation
                .references
                .iter()
                .any(|name| self.is_worth_asking(name))
        {
            imports.clear();
        }
        let writes = self.pushes() && !self.untrusted(diagnostics);
        Chosen {
            from: imports.iter().map(import).collect(),
            to: writes
                .then(|| CacheEntry::new(Backend::Inline))
                .into_iter()
                .collect(),
            plan: self.plan(tag.filter(|_| writes).as_ref(), None),
        }
    }

    /// GitHub's cache service, which keeps branches and forks apart by itself.
    pub(super) fn gha(self, diagnostics: &mut Diagnostics) -> Chosen {
        let served = self.situation.run.is_some_and(|run| run.cache_service);
        if !served {
            diagnostics.notices.push(
                "no cache: `cache: gha` needs GitHub's cache service, whose address and token the runner gives to \
                 actions (ACTIONS_RESULTS_URL, ACTIONS_RUNTIME_TOKEN)"
                    .to_owned(),
            );
            return Chosen::nothing("GitHub's cache service is not there".to_owned());
        }
        let image = self.situation.references.first();
        let image = image.map(|name| name.repository.as_str());
        let scope = service_scope(image, &parts(self.situation));
        let former = service_scope(image, &former_parts(self.situation));
        // The service's own scope is one for all images of a repository.
        let scoped = |mut cache: CacheEntry, scope: &str| {
            if !scope.is_empty() {
                cache.attributes.set("scope", scope);
            }
            cache
        };
        let to = CacheEntry::new(Backend::Gha).with("mode", self.mode());
        let to = scoped(to.with("ignore-error", "true"), &scope);
        let mut from = vec![scoped(CacheEntry::new(Backend::Gha), &scope)];
        if former != scope {
            from.push(scoped(CacheEntry::new(Backend::Gha), &former));
        }
        Chosen {
            from,
            to: vec![to],
            plan: self.plan(None, None),
        }
    }

    fn plan(self, tag: Option<&ImageRef>, written: Option<&ImageRef>) -> CachePlan {
        CachePlan {
            kind: self.kind,
            reason: self.reason,
            tag: tag.cloned(),
            written: written.or(tag).cloned(),
            afterwards: false,
            for_job: false,
        }
    }

    /// Whether nothing may be written, which is said.
    fn untrusted(&self, diagnostics: &mut Diagnostics) -> bool {
        let reason = self.origin.and_then(|origin| origin.untrusted.as_ref());
        if let Some(reason) = reason {
            diagnostics
                .notices
                .push(format!("the cache is read and not written: {reason}"));
        }
        reason.is_some()
    }

    /// The export to a registry, compressed as the image is: else every layer would be compressed
    /// and uploaded a second time.
    fn export(&self, name: &ImageRef) -> CacheEntry {
        let mut cache = import(name).with("mode", self.mode());
        for (attribute, value) in AS_IMAGE {
            cache.attributes.set(attribute, value);
        }
        let pushed = self.situation.outputs.iter().find(|output| output.pushes());
        for attribute in ["compression", "compression-level"] {
            if let Some(value) = pushed.and_then(|output| output.attribute(attribute)) {
                cache.attributes.set(attribute, value);
            }
        }
        cache.with("ignore-error", "true")
    }

    fn mode(&self) -> &'static str {
        let mode = self.situation.inputs.cache_mode;
        mode.unwrap_or(CacheMode::Max).into()
    }
}

fn import(name: &ImageRef) -> CacheEntry {
    CacheEntry::new(Backend::Registry).with("ref", name.to_string())
}
