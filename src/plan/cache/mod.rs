//! Where the build's cache is read and written.
//!
//! In: inputs, builder, what the event tells of the run, what is known of repositories. Out: a
//! [`CachePlan`] with its reason in words, and buildx's arguments for it. `auto` takes the builder's
//! own disk where it outlives the run, with the inline cache for others, else the registry. What
//! strangers' code makes is never exported, and an export that fails never fails the push.
//! Backends: <https://docs.docker.com/build/cache/backends/>.

mod choose;
mod job;
mod kinds;
mod leg;
mod names;
mod obstacles;
mod raw;
mod scope;
#[cfg(test)]
mod tests;

use image::ImageRef;
use serde::{Serialize, Serializer};

use super::{BuilderPlan, Context, Diagnostics, Driver};
use crate::facts::Facts;
use crate::inputs::cache::{Backend, CacheEntry};
use crate::inputs::output_spec::OutputSpec;
use crate::inputs::{Cache, Inputs};
use crate::runner::origin::Origin;
use crate::runner::workflow::WorkflowRun;
use choose::Choice;
pub(crate) use scope::CACHE_TAGS;

/// Where a cache is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    None,
    /// In the image itself.
    Inline,
    Registry,
    /// GitHub's cache service.
    Gha,
    /// As `cache-from` and `cache-to` say.
    Given,
}

impl Kind {
    /// The name that the input has for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Inline => "inline",
            Self::Registry => "registry",
            Self::Gha => "gha",
            Self::Given => "as given",
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CachePlan {
    pub kind: Kind,
    /// Why, in words; empty where it was asked for.
    pub reason: String,
    /// One more tag of the image, under which the next run finds its inline cache.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub tag: Option<ImageRef>,
    /// The name that the cache is written to, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub written: Option<ImageRef>,
    /// Whether it is written by a command of its own, once the image is pushed.
    #[serde(skip)]
    pub afterwards: bool,
    /// Whether it is written for the later steps of this job alone.
    #[serde(skip)]
    pub for_job: bool,
}

fn text<S: Serializer>(name: &Option<ImageRef>, to: S) -> Result<S::Ok, S::Error> {
    name.as_ref().map(ToString::to_string).serialize(to)
}

/// The plan, and buildx's arguments for it.
#[derive(Debug)]
pub(super) struct Chosen {
    pub plan: CachePlan,
    pub from: Vec<CacheEntry>,
    pub to: Vec<CacheEntry>,
}

/// What there is to decide on.
pub(super) struct Situation<'a> {
    pub inputs: &'a Inputs,
    pub run: Option<&'a WorkflowRun>,
    pub facts: &'a Facts,
    pub builder: &'a BuilderPlan,
    pub context: &'a Context,
    /// The image under all its names.
    pub references: &'a [ImageRef],
    pub outputs: &'a [OutputSpec],
}

/// Decides.
pub(super) fn choose(situation: &Situation<'_>, diagnostics: &mut Diagnostics) -> Chosen {
    let inputs = situation.inputs;
    check(inputs, diagnostics);
    if !inputs.cache_from.is_empty() || !inputs.cache_to.is_empty() {
        return given(inputs, diagnostics);
    }
    let nothing = |reason: &str| Chosen::nothing(reason.to_owned());
    if inputs.call.is_some() {
        return nothing("");
    }
    if inputs.cache == Cache::None {
        return nothing("");
    }
    let origin = situation.run.map(Origin::of);
    let mut choice = Choice::new(situation, origin.as_ref());
    choice.settle(diagnostics);
    let mut chosen = match choice.kind {
        Kind::Registry => choice.registry(diagnostics),
        Kind::Inline => choice.inline(diagnostics),
        Kind::Gha => choice.gha(diagnostics),
        Kind::None | Kind::Given => nothing(""),
    };
    chosen.plan.afterwards = is_written_afterwards(situation, &chosen);
    if inputs.no_cache {
        // Every step is built anew; the cache is, too.
        chosen.from.clear();
    }
    job::add(situation, &mut chosen);
    chosen
}

/// Tags for something else that each line of development has one of, named as caches are: the one to write, and those to read.
pub(super) fn line_tags(prefix: &str, situation: &Situation<'_>) -> (Option<String>, Vec<String>) {
    let origin = situation.run.map(Origin::of);
    let scopes = scope::scopes(prefix, origin.as_ref(), &leg::parts(situation));
    (scopes.own, scopes.imports)
}

impl Chosen {
    fn nothing(reason: String) -> Self {
        Self {
            plan: CachePlan {
                kind: Kind::None,
                reason,
                tag: None,
                written: None,
                afterwards: false,
                for_job: false,
            },
            from: Vec::new(),
            to: Vec::new(),
        }
    }
}

/// The raw inputs win.
fn given(inputs: &Inputs, diagnostics: &mut Diagnostics) -> Chosen {
    let ours = [
        (
            "cache",
            inputs.cache != Cache::Auto && inputs.cache != Cache::None,
        ),
        ("cache-ref", inputs.cache_ref.is_some()),
        ("cache-mode", inputs.cache_mode.is_some()),
    ];
    let ignored: Vec<String> = ours
        .iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if !ignored.is_empty() {
        diagnostics.notices.push(format!(
            "{} is ignored beside `cache-from` and `cache-to`, which win",
            ignored.join(", ")
        ));
    }
    Chosen {
        plan: CachePlan {
            kind: Kind::Given,
            reason: String::new(),
            tag: None,
            written: None,
            afterwards: false,
            for_job: false,
        },
        from: inputs.cache_from.clone(),
        to: match inputs.call {
            Some(_) => Vec::new(),
            None => raw::exports(&inputs.cache_to, diagnostics),
        },
    }
}

/// What contradicts itself.
fn check(inputs: &Inputs, diagnostics: &mut Diagnostics) {
    let max = inputs.cache_mode == Some(crate::inputs::CacheMode::Max);
    if inputs.cache == Cache::Inline && max {
        diagnostics.wrong(
            "cache-mode",
            "max",
            "`min` or nothing beside `cache: inline`: an image holds the cache of its own layers only",
        );
    }
    if inputs.cache == Cache::Gha
        && let Some(name) = &inputs.cache_ref
    {
        diagnostics.wrong(
            "cache-ref",
            name,
            "nothing beside `cache: gha`, which is in no registry",
        );
    }
}

/// Whether the builder's disk is there in the next run: a named builder's in a cluster, and the
/// Engine's own outside of workflows. A runner may be new for every job, and nothing tells.
pub(super) fn disk_lasts(situation: &Situation<'_>) -> bool {
    match (&situation.builder.kubernetes, situation.builder.driver) {
        (Some(kubernetes), _) => kubernetes.kept,
        (None, driver) => driver == Driver::Docker && situation.run.is_none(),
    }
}

/// Whether the builder can write caches at all, but for that in the image: not the Engine's own
/// BuildKit over the classic image store
/// (<https://docs.docker.com/build/builders/drivers/docker/>).
fn exports(situation: &Situation<'_>) -> bool {
    !situation.builder.has_classic_store()
}

/// Whether the cache is written once the image is pushed: BuildKit from 0.28 does both at the same time, and uploads
/// twice what is new in both (<https://github.com/moby/buildkit/commit/88ef66c6b30e3b8dc5a2cab815b8dea91e16fcde>).
/// The second command finds all steps done, which takes one BuildKit that did them, and none that are done anew each
/// time. The Engine's own is older.
fn is_written_afterwards(situation: &Situation<'_>, chosen: &Chosen) -> bool {
    let inputs = situation.inputs;
    let one = match (&situation.builder.kubernetes, situation.builder.driver) {
        (Some(kubernetes), _) => {
            matches!(kubernetes.nodes.as_slice(), [node] if node.replicas == 1)
        }
        (None, driver) => driver == Driver::DockerContainer,
    };
    one && chosen.plan.kind == Kind::Registry
        && chosen.plan.written.is_some()
        && !inputs.no_cache
        && inputs.no_cache_filters.is_empty()
}

/// Variables for a build whose cache is GitHub's: buildx asks for the service's second version only
/// when told to, and GitHub Enterprise Server has none
/// (<https://docs.docker.com/build/cache/backends/gha/>).
pub(super) fn variables(
    from: &[CacheEntry],
    to: &[CacheEntry],
    run: Option<&WorkflowRun>,
) -> Vec<(String, String)> {
    let mut caches = from.iter().chain(to);
    let asked = caches.any(|cache| cache.backend == Backend::Gha);
    match run {
        Some(run) if asked && !run.is_enterprise_server() => {
            vec![("ACTIONS_CACHE_SERVICE_V2".to_owned(), "true".to_owned())]
        }
        _ => Vec::new(),
    }
}
