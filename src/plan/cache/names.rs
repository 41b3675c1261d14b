//! What a cache of this build is called, and which tags of the image may move.

use image::ImageRef;

use super::Diagnostics;
use super::choose::Choice;
use super::leg::{former_parts, parts};
use super::scope::{CACHE_TAGS, Scopes, scopes};
use crate::inputs::Cache;
use crate::inputs::output_spec::OutputSpec;

/// Digits of a commit that tags have at least (docker/metadata-action's `type=sha`).
const SHORT_COMMIT: usize = 7;

const DOCKER_HUB: &str = "docker.io";

impl Choice<'_> {
    /// The repository of the cache, and the tags in it.
    pub(super) fn names(
        &self,
        prefix: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<(ImageRef, Scopes)> {
        let repository = match self.named() {
            Some(Ok(name)) => match name.tag.clone() {
                Some(tag) => {
                    let scopes = Scopes {
                        own: Some(tag.clone()),
                        imports: vec![tag],
                    };
                    return Some((name, scopes));
                }
                None => name,
            },
            Some(Err(expected)) => {
                let given = self.situation.inputs.cache_ref.clone().unwrap_or_default();
                diagnostics.wrong("cache-ref", given, expected);
                return None;
            }
            None => {
                let asked = self.situation.inputs.cache != Cache::Auto;
                let first = self.situation.references.first()?;
                (asked || self.is_worth_asking(first)).then(|| first.clone())?
            }
        };
        let mut scopes = scopes(prefix, self.origin, &parts(self.situation));
        scopes.import_former(prefix, self.origin, &former_parts(self.situation));
        Some((repository, scopes))
    }

    /// The input `cache-ref`; without a host it is in the registry of `repository`.
    fn named(&self) -> Option<Result<ImageRef, &'static str>> {
        let given = self.situation.inputs.cache_ref.as_deref()?;
        let host = self
            .situation
            .references
            .first()
            .map(|name| name.host.as_str());
        let has_host = given
            .parse::<ImageRef>()
            .is_ok_and(|name| given.starts_with(&name.host));
        let whole = match host {
            Some(host) if self.situation.inputs.repository.is_some() && !has_host => {
                format!("{host}/{given}")
            }
            _ => given.to_owned(),
        };
        let name = whole
            .parse::<ImageRef>()
            .ok()
            .filter(|name| name.digest.is_none());
        Some(
            name.ok_or("a repository, or an image's name with a tag, as `registry/team/app:cache`"),
        )
    }

    /// What the registry's cache would be written to.
    pub(super) fn registry_target(&self) -> Option<ImageRef> {
        let (repository, scopes) = self.names(CACHE_TAGS, &mut Diagnostics::default())?;
        Some(repository.with_tag(&scopes.own?))
    }

    /// Tags of the image that an earlier one may have had, and that may be given to another.
    pub(super) fn moving_tags(&self) -> Vec<ImageRef> {
        let commit = self.situation.run.and_then(|run| run.sha.as_deref());
        let commit = commit.and_then(|commit| commit.get(..SHORT_COMMIT));
        let moves = |name: &&ImageRef| {
            let has_commit = |tag: &str| commit.is_some_and(|commit| tag.contains(commit));
            !name.tag.as_deref().is_some_and(has_commit) && self.may_move(name) != Some(false)
        };
        self.situation
            .references
            .iter()
            .filter(moves)
            .cloned()
            .collect()
    }

    /// Whether a tag may be given to another image, where it is known.
    pub(super) fn may_move(&self, name: &ImageRef) -> Option<bool> {
        let mutability = self.situation.facts.repositories.get(&name.name())?;
        let tag = name.tag.as_deref()?;
        Some(mutability.may_move(tag))
    }

    /// Whether the image can have one more tag: not when it is pushed by its digest, or under names
    /// that outputs give.
    pub(super) fn may_be_added(&self, name: &ImageRef) -> bool {
        let outputs = self.situation.outputs;
        let named = outputs
            .iter()
            .any(|output| output.pushes() && !output.names().is_empty());
        !named && !self.situation.references.contains(name)
    }

    /// A name without registry that is not pushed is one of this machine's.
    pub(super) fn is_worth_asking(&self, name: &ImageRef) -> bool {
        self.pushes() || name.host != DOCKER_HUB
    }

    pub(super) fn pushes(&self) -> bool {
        self.situation.outputs.iter().any(OutputSpec::pushes)
    }
}
