//! One kind of cache after the other: its names, its arguments, and what stands in its way.

use super::raw::AS_IMAGE;
use super::scope::{Scopes, scopes};
use super::{CachePlan, Chosen, Kind, Remarks, Situation, disk_lasts, exports};
use crate::github::origin::Origin;
use crate::image::ImageRef;
use crate::image::lifecycle::CACHE_TAGS;
use crate::inputs::attributes;
use crate::inputs::output_spec::OutputSpec;
use crate::inputs::{Cache, CacheMode};

/// What the tags of images begin with that are found by their inline cache. They are no
/// [`CACHE_TAGS`], which a lifecycle policy removes: these name images.
const INLINE_TAGS: &str = "inlinecache";

/// More tags than this are not asked for an inline cache: each is a request.
const MOST_IMPORTS: usize = 4;

/// Digits of a commit that tags have at least (docker/metadata-action's `type=sha`).
const SHORT_COMMIT: usize = 7;

const DOCKER_HUB: &str = "docker.io";

/// A decision in the making.
pub(super) struct Choice<'a> {
    situation: &'a Situation<'a>,
    origin: Option<&'a Origin>,
    pub kind: Kind,
    reason: String,
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
    pub(super) fn settle(&mut self, remarks: &mut Remarks) {
        if matches!(self.kind, Kind::Registry | Kind::Gha) && !exports(self.situation) {
            self.fall_back_to_inline(
                "the Engine's own BuildKit writes other caches only with containerd's image store",
                remarks,
            );
        }
        if self.kind == Kind::Registry && self.has_nodes() {
            self.settle_nodes(remarks);
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
                remarks.warnings.push(format!(
                    "no cache is written: {why}; exclude `{CACHE_TAGS}*` from the rule, or name a \
                     repository with mutable tags in `cache-ref`"
                ));
                self.reason = why;
            } else {
                self.fall_back_to_inline(&why, remarks);
            }
        }
    }

    /// buildx gives every node the same export (`toSolveOpt` in its `build/opt.go`), so that the last
    /// one's stays.
    fn settle_nodes(&mut self, remarks: &mut Remarks) {
        let why = "every platform has a BuildKit of its own, and in the registry the last one's would stay alone";
        if self.situation.inputs.cache == Cache::Auto && !self.moving_tags().is_empty() {
            self.fall_back_to_inline(why, remarks);
        } else {
            remarks.notices.push(format!(
                "the cache holds the steps of one platform: {why}; `cache: inline` keeps all"
            ));
        }
    }

    fn has_nodes(&self) -> bool {
        let kubernetes = self.situation.builder.kubernetes.as_ref();
        kubernetes.is_some_and(|kubernetes| kubernetes.nodes.len() > 1)
    }

    fn fall_back_to_inline(&mut self, why: &str, remarks: &mut Remarks) {
        remarks
            .notices
            .push(format!("the cache is kept in the image (inline): {why}"));
        self.kind = Kind::Inline;
        why.clone_into(&mut self.reason);
    }

    /// The registry's cache: read from the branch's tag, its base's and the default branch's,
    /// written to the branch's.
    pub(super) fn registry(self, remarks: &mut Remarks) -> Chosen {
        let Some((repository, Scopes { own, imports })) = self.names(CACHE_TAGS, remarks) else {
            return Chosen::nothing("no name to keep it under".to_owned());
        };
        let mut written = own.map(|tag| with_tag(&repository, &tag));
        if let Some(name) = &written
            && self.may_move(name) == Some(false)
        {
            written = None;
        }
        if !self.pushes() {
            written = None;
        }
        if self.untrusted(remarks) {
            written = None;
        }
        let from = imports
            .iter()
            .map(|tag| import(&with_tag(&repository, tag)));
        let to = written.as_ref().map(|name| self.export(name));
        Chosen {
            from: from.collect(),
            to: to.into_iter().collect(),
            plan: self.plan(None, written.as_ref()),
        }
    }

    /// The image's own cache: read from tags that an earlier image may have had.
    pub(super) fn inline(self, remarks: &mut Remarks) -> Chosen {
        let asked = self.situation.inputs.cache == Cache::Inline;
        let named = self.situation.inputs.cache_ref.is_some();
        let moving = self.moving_tags();
        let mut tag = None;
        let mut imports = Vec::new();
        let by_its_tags = !named && (!moving.is_empty() || !asked);
        if by_its_tags {
            imports = moving.iter().take(MOST_IMPORTS).cloned().collect();
        } else if let Some((repository, scopes)) = self.names(INLINE_TAGS, remarks) {
            imports = scopes
                .imports
                .iter()
                .map(|tag| with_tag(&repository, tag))
                .collect();
            let own = scopes.own.map(|tag| with_tag(&repository, &tag));
            tag = own.filter(|name| self.may_be_added(name));
            if let Some(name) = tag.take_if(|name| self.may_move(name) == Some(false)) {
                remarks.warnings.push(format!(
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
        let writes = self.pushes() && !self.untrusted(remarks);
        Chosen {
            from: imports.iter().map(import).collect(),
            to: if writes {
                vec!["type=inline".to_owned()]
            } else {
                Vec::new()
            },
            plan: self.plan(tag.filter(|_| writes).as_ref(), None),
        }
    }

    /// GitHub's cache service, which keeps branches and forks apart by itself.
    pub(super) fn gha(self, remarks: &mut Remarks) -> Chosen {
        let served = self.situation.run.is_some_and(|run| run.cache_service);
        if !served {
            remarks.notices.push(
                "no cache: `cache: gha` needs GitHub's cache service, whose address and token the runner gives to \
                 actions (ACTIONS_RESULTS_URL, ACTIONS_RUNTIME_TOKEN)"
                    .to_owned(),
            );
            return Chosen::nothing("GitHub's cache service is not there".to_owned());
        }
        let references = self.situation.references.iter();
        let mut scope: Vec<String> = references
            .take(1)
            .map(|name| name.repository.clone())
            .collect();
        scope.extend(self.parts());
        // Images of one workflow would overwrite each other's.
        let scope = (!scope.is_empty()).then(|| format!("scope={}", scope.join("-")));
        let fields = |more: &[String]| {
            let all = std::iter::once("type=gha".to_owned()).chain(more.iter().cloned());
            attributes::join(all.chain(scope.clone()))
        };
        Chosen {
            from: vec![fields(&[])],
            to: vec![fields(&[self.mode(), "ignore-error=true".to_owned()])],
            plan: self.plan(None, None),
        }
    }

    fn plan(self, tag: Option<&ImageRef>, written: Option<&ImageRef>) -> CachePlan {
        CachePlan {
            kind: self.kind,
            reason: self.reason,
            tag: tag.map(ToString::to_string),
            written: written.or(tag).map(ToString::to_string),
            afterwards: false,
        }
    }

    /// The repository of the cache, and the tags in it.
    fn names(&self, prefix: &str, remarks: &mut Remarks) -> Option<(ImageRef, Scopes)> {
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
                remarks.wrong("cache-ref", given, expected);
                return None;
            }
            None => {
                let asked = self.situation.inputs.cache != Cache::Auto;
                let first = self.situation.references.first()?;
                (asked || self.is_worth_asking(first)).then(|| first.clone())?
            }
        };
        Some((repository, scopes(prefix, self.origin, &self.parts())))
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
    fn registry_target(&self) -> Option<ImageRef> {
        let (repository, scopes) = self.names(CACHE_TAGS, &mut Remarks::default())?;
        Some(with_tag(&repository, &scopes.own?))
    }

    /// What tells this build's cache from others of the same repository and branch: legs of a
    /// matrix over stages, and over platforms, which push by digest.
    fn parts(&self) -> Vec<String> {
        let inputs = self.situation.inputs;
        let mut parts: Vec<String> = inputs.target.iter().cloned().collect();
        if self.situation.outputs.iter().any(OutputSpec::is_by_digest) {
            parts.extend(inputs.platforms.iter().cloned());
        }
        parts
    }

    /// Tags of the image that an earlier one may have had, and that may be given to another.
    fn moving_tags(&self) -> Vec<ImageRef> {
        let commit = self.situation.run.and_then(|run| run.sha.as_deref());
        let commit = commit.and_then(|commit| commit.get(..SHORT_COMMIT));
        let moves = |name: &&ImageRef| {
            let tag = name.tag.as_deref().unwrap_or("latest");
            !commit.is_some_and(|commit| tag.contains(commit)) && self.may_move(name) != Some(false)
        };
        self.situation
            .references
            .iter()
            .filter(moves)
            .cloned()
            .collect()
    }

    /// Whether a tag may be given to another image, where it is known.
    fn may_move(&self, name: &ImageRef) -> Option<bool> {
        let mutability = self.situation.facts.repositories.get(&name.name())?;
        Some(mutability.may_move(name.tag.as_deref().unwrap_or("latest")))
    }

    /// Whether the image can have one more tag: not when it is pushed by its digest, or under names
    /// that outputs give.
    fn may_be_added(&self, name: &ImageRef) -> bool {
        let outputs = self.situation.outputs;
        let named = outputs
            .iter()
            .any(|output| output.pushes() && !output.names().is_empty());
        !named && !self.situation.references.contains(name)
    }

    /// A name without registry that is not pushed is one of this machine's.
    fn is_worth_asking(&self, name: &ImageRef) -> bool {
        self.pushes() || name.host != DOCKER_HUB
    }

    fn pushes(&self) -> bool {
        self.situation.outputs.iter().any(OutputSpec::pushes)
    }

    /// Whether nothing may be written, which is said.
    fn untrusted(&self, remarks: &mut Remarks) -> bool {
        let reason = self.origin.and_then(|origin| origin.untrusted.as_ref());
        if let Some(reason) = reason {
            remarks
                .notices
                .push(format!("the cache is read and not written: {reason}"));
        }
        reason.is_some()
    }

    /// The export to a registry, compressed as the image is: else every layer would be compressed
    /// and uploaded a second time.
    fn export(&self, name: &ImageRef) -> String {
        let mut fields = vec![
            "type=registry".to_owned(),
            format!("ref={name}"),
            self.mode(),
        ];
        let pushed = self.situation.outputs.iter().find(|output| output.pushes());
        let of_image = ["compression", "compression-level"].map(|attribute| {
            let value = pushed?.attribute(attribute)?;
            Some(format!("{attribute}={value}"))
        });
        fields.extend(AS_IMAGE.map(|(name, value)| format!("{name}={value}")));
        fields.extend(of_image.into_iter().flatten());
        fields.push("ignore-error=true".to_owned());
        attributes::join(fields)
    }

    fn mode(&self) -> String {
        let mode = match self.situation.inputs.cache_mode {
            Some(CacheMode::Min) => "min",
            Some(CacheMode::Max) | None => "max",
        };
        format!("mode={mode}")
    }
}

fn with_tag(repository: &ImageRef, tag: &str) -> ImageRef {
    ImageRef {
        tag: Some(tag.to_owned()),
        digest: None,
        ..repository.clone()
    }
}

fn import(name: &ImageRef) -> String {
    attributes::join(["type=registry".to_owned(), format!("ref={name}")])
}
