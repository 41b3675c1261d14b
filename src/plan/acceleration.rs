//! Whether the push engine pushes instead of BuildKit.
//!
//! The engine is a build step of ours that reads the image's files where BuildKit keeps them. It makes one image for each platform,
//! with layers of its own. What needs BuildKit's export stays with BuildKit, and so does what is not known well enough. More
//! reasons come to light when the Dockerfile is read, which is not the plan's to do.

use std::path::PathBuf;

use image::{ImageRef, is_loopback};
use protocol::Destination;
use semver::Version;
use serde::{Serialize, Serializer};

use super::cache::Kind;
use super::memory::Limit;
use super::{
    BuilderPlan, CachePlan, Diagnostics, Driver, EngineFiles, Fallback, Hidden, Level, Naming,
    Node, PushPlan, Sources, annotations,
};
use crate::facts::{Address, Engine};
use crate::inputs::cache::{Backend, CacheEntry};
use crate::inputs::{Accelerate, Cache, Compression, Inputs, LayerTimes, Number};
use crate::runner::origin::{Line, Origin};
use crate::runner::workflow::WorkflowRun;

/// How the image gets into its registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acceleration {
    /// By BuildKit's export. Why, where that is worth a word.
    Plain(Option<Fallback>),
    /// By the push engine, if the Dockerfile allows.
    Engine(Box<EnginePlan>),
}

/// What the push engine is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnginePlan {
    /// Whether the run fails where BuildKit would take over otherwise.
    pub is_required: bool,
    pub compression: protocol::Compression,
    pub destinations: Vec<Destination>,
    pub times: protocol::LayerTimes,
    /// Tags of the first destination under which an earlier image may be, the nearest first.
    pub previous: Vec<String>,
    /// What it pushes: the image, or one for each of its platforms, and an index of them.
    pub parts: Vec<EnginePart>,
    /// Annotations of that index.
    pub index_annotations: Vec<(String, String)>,
    /// The folder with the build step's binaries.
    pub step: PathBuf,
    /// Variables of proxies between BuildKit and the registries.
    pub proxies: Vec<(String, Hidden)>,
    /// Certificates of authorities that BuildKit trusts besides the usual ones, PEM.
    pub authorities: String,
    /// The Engine whose BuildKit exports to its classic image store, if the image is built there.
    pub engine: Option<Address>,
    /// The run's own files for it.
    pub files: EngineFiles,
}

/// An image that a build step pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnginePart {
    /// None: the builder's own.
    pub platform: Option<String>,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
    /// Annotations of the manifest's descriptor in an index.
    pub descriptor_annotations: Vec<(String, String)>,
    /// Whether BuildKit may run the platform's programs under an emulator of its own, which can't run the step's (`getEmulator` in
    /// <https://github.com/moby/buildkit/blob/v0.32.0/solver/llbsolver/ops/exec_binfmt.go>). Builders of the Engine list only platforms that
    /// the kernel runs, and we refuse others. In a cluster we name the platforms of each node ourselves.
    pub is_emulated: bool,
    /// The step's share of the memory to which its node is limited (bytes); none for no limit.
    pub memory: Option<u64>,
}

impl EnginePlan {
    /// The parts, each with its place if there are several.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Option<usize>, &EnginePart)> {
        let are_several = self.parts.len() > 1;
        let parts = self.parts.iter().enumerate();
        parts.map(move |(place, part)| (are_several.then_some(place), part))
    }
}

/// More platforms are not pushed: the steps run at the same time.
const MOST_PLATFORMS: usize = 4;

/// The oldest buildx that the engine was tried with: its `bake` allows what is asked of it by flags.
const OLDEST_BUILDX: Version = Version::new(0, 29, 0);

/// The default level of zstd, BuildKit's too. On two cores 1 takes 0.7 of the time of 3 and makes a tenth more bytes.
pub(super) const ZSTD_LEVEL: u32 = 1;

/// gzip's own default.
const GZIP_LEVEL: u32 = 6;

/// What the plan has decided by then.
pub(super) struct Situation<'a> {
    pub sources: &'a Sources<'a>,
    pub builder: &'a BuilderPlan,
    pub engine: &'a Engine,
    pub push: Option<&'a PushPlan>,
    pub cache: &'a CachePlan,
    pub cache_to: &'a [CacheEntry],
    pub attests: bool,
    pub annotations: &'a [String],
    /// Whether a tag exists that can't move.
    pub is_taken: bool,
    /// Whether the builder's disk is there in the next run.
    pub disk_lasts: bool,
}

/// Decides.
pub(super) fn choose(situation: &Situation<'_>, diagnostics: &mut Diagnostics) -> Acceleration {
    let inputs = situation.sources.inputs;
    let asked = inputs.accelerate;
    let Some(push) = situation.push.filter(|_| asked != Accelerate::Off) else {
        return Acceleration::Plain(None);
    };
    match engine(situation, push) {
        Ok(engine) => Acceleration::Engine(Box::new(engine)),
        Err(reason) if asked == Accelerate::On => {
            diagnostics.wrong("accelerate", "on", format!("`auto` or `off`: {reason}"));
            Acceleration::Plain(None)
        }
        Err(reason) => Acceleration::Plain(Some(reason)),
    }
}

/// The engine's plan, or why BuildKit pushes.
fn engine(situation: &Situation<'_>, push: &PushPlan) -> Result<EnginePlan, Fallback> {
    let Situation {
        sources,
        builder,
        engine,
        ..
    } = situation;
    let inputs = sources.inputs;
    let facts = sources.facts;
    let is_required = inputs.accelerate == Accelerate::On;
    if facts.buildx.version < OLDEST_BUILDX {
        return Err(Fallback::Buildx(facts.buildx.version.to_string()));
    }
    let step = facts.step.as_ref().ok_or(Fallback::NoStep)?;
    let missing = architectures(builder).find(|name| !step.architectures.contains(*name));
    if let Some(architecture) = missing {
        return Err(Fallback::NoStepFor(architecture.to_owned()));
    }
    check_export(situation)?;
    check_builder(builder)?;
    check_cache(situation, is_required)?;
    if inputs.cgroup_parent.is_some() {
        return Err(Fallback::CgroupParent);
    }
    let compression = compression(inputs)?;
    let mut platforms: Vec<String> = Vec::new();
    for platform in inputs.platforms.iter().map(ToString::to_string) {
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    annotations::check(situation.annotations, &platforms)?;
    Ok(EnginePlan {
        is_required,
        compression,
        previous: previous(&push.names, sources.run),
        destinations: destinations(&push.names),
        times: inputs.layer_times.into(),
        parts: parts(&platforms, situation.annotations, builder),
        index_annotations: annotations::of(situation.annotations, Level::Index, None),
        step: step.folder.clone(),
        proxies: proxies(builder, sources),
        authorities: authorities(builder, sources),
        engine: builder.has_classic_store().then(|| engine.address.clone()),
        files: sources.dir.engine(),
    })
}

/// The architectures of the builder's nodes that are known before it is there.
fn architectures(builder: &BuilderPlan) -> impl Iterator<Item = &str> {
    let own = builder.platform.split('/').nth(1);
    let nodes = builder.kubernetes.iter().flat_map(|it| &it.nodes);
    own.into_iter().chain(nodes.filter_map(Node::architecture))
}

/// One image for each platform.
fn parts(platforms: &[String], annotations: &[String], builder: &BuilderPlan) -> Vec<EnginePart> {
    let of = |level, platform: Option<&String>| {
        annotations::of(annotations, level, platform.map(String::as_str))
    };
    let part = |platform: Option<&String>| {
        let node = node_for(platform, builder);
        let shares = |other: &&String| node_for(Some(*other), builder) == node;
        let steps = platforms.iter().filter(shares).count().max(1);
        let memory = match node {
            Some(node) => Limit::of_node(node),
            None => Limit::of_container(&builder.options),
        };
        EnginePart {
            platform: platform.cloned(),
            annotations: of(Level::Manifest, platform),
            descriptor_annotations: of(Level::ManifestDescriptor, platform),
            is_emulated: node.is_some_and(|node| may_be_emulated(platform, node)),
            memory: memory.and_then(|limit| limit.share(steps)),
        }
    };
    match platforms {
        [] => vec![part(None)],
        given => given.iter().map(|platform| part(Some(platform))).collect(),
    }
}

/// The node of a cluster that builds for a platform.
fn node_for<'a>(platform: Option<&String>, builder: &'a BuilderPlan) -> Option<&'a Node> {
    let nodes = &builder.kubernetes.as_ref()?.nodes;
    let is_for = |node: &&Node| platform.is_some_and(|it| node.platforms.contains(it));
    nodes.iter().find(is_for).or(nodes.first())
}

/// Whether a platform, if one is given, may not be that of its node.
fn may_be_emulated(platform: Option<&String>, node: &Node) -> bool {
    let architecture = node.architecture().map(|name| format!("linux/{name}"));
    platform.is_some_and(|platform| architecture.as_ref() != Some(platform))
}

/// What only BuildKit exports.
fn check_export(situation: &Situation<'_>) -> Result<(), Fallback> {
    let inputs = situation.sources.inputs;
    Err(if !inputs.outputs.is_empty() {
        Fallback::Outputs
    } else if situation
        .push
        .is_some_and(|push| push.naming == Naming::Digest)
    {
        Fallback::Digest
    } else if inputs.load {
        Fallback::Load
    } else if situation.attests {
        Fallback::Attestations
    } else if situation.is_taken {
        Fallback::Taken
    } else if inputs.platforms.len() > MOST_PLATFORMS {
        Fallback::Platforms(inputs.platforms.len().to_string())
    } else if inputs.platforms.len() > 1 && situation.builder.has_classic_store() {
        Fallback::ClassicPlatforms
    } else {
        return Ok(());
    })
}

/// Builders that cannot run the step. BuildKit without root can: tried by hand under rootlesskit, since the BuildKit of the tests is
/// dockerd's and has root.
fn check_builder(builder: &BuilderPlan) -> Result<(), Fallback> {
    let flags = builder.buildkitd_flags.as_deref();
    let nodes = builder.kubernetes.iter().flat_map(|it| &it.nodes);
    let may_use_network = |node: &Node| {
        let mut flags = node.buildkitd_flags.iter();
        flags.any(|flag| flag.contains("network.host"))
    };
    Err(
        if flags.is_some_and(|flags| !flags.contains("network.host"))
            || !nodes.clone().all(may_use_network)
        {
            Fallback::HostNetwork
        } else if nodes.clone().any(|node| node.replicas != 1) {
            Fallback::Replicas
        } else {
            return Ok(());
        },
    )
}

/// A cache that BuildKit exports needs the layers that BuildKit makes. The image would be there sooner, and the job would end
/// later.
fn check_cache(situation: &Situation<'_>, is_required: bool) -> Result<(), Fallback> {
    let inline = |entry: &CacheEntry| entry.backend == Backend::Inline;
    let asked = situation.sources.inputs.cache == Cache::Inline
        || (situation.cache.kind == Kind::Given && situation.cache_to.iter().any(inline));
    if asked {
        return Err(Fallback::InlineCache);
    }
    let exports = situation.cache_to.iter().any(|entry| !inline(entry));
    let lost = situation.cache.kind == Kind::Inline && !situation.disk_lasts;
    if (exports || lost) && !is_required {
        return Err(Fallback::Cache);
    }
    Ok(())
}

impl From<LayerTimes> for protocol::LayerTimes {
    fn from(times: LayerTimes) -> Self {
        match times {
            LayerTimes::Keep => Self::Keep,
            LayerTimes::Packages => Self::Packages,
        }
    }
}

fn compression(inputs: &Inputs) -> Result<protocol::Compression, Fallback> {
    let level = inputs.compression_level.map(Number::get);
    match inputs.compression {
        Compression::Auto | Compression::Zstd => {
            let level = level.unwrap_or(ZSTD_LEVEL).max(1);
            let level = i32::try_from(level).unwrap_or(i32::MAX);
            Ok(protocol::Compression::Zstd { level })
        }
        Compression::Gzip => Ok(protocol::Compression::Gzip {
            level: level.unwrap_or(GZIP_LEVEL),
        }),
        Compression::Estargz | Compression::Uncompressed => Err(Fallback::Compression(
            inputs.compression.name().unwrap_or_default().to_owned(),
        )),
    }
}

/// The repositories, each with its tags.
fn destinations(names: &[ImageRef]) -> Vec<Destination> {
    let mut destinations: Vec<Destination> = Vec::new();
    for name in names {
        let known = destinations
            .iter_mut()
            .find(|known| known.registry == name.host && known.repository == name.repository);
        match known {
            Some(known) => known.tags.extend(name.tag.clone()),
            None => destinations.push(Destination {
                registry: name.host.clone(),
                repository: name.repository.clone(),
                tags: name.tag.clone().into_iter().collect(),
                is_plain: is_loopback(&name.host),
                mount_from: Vec::new(),
            }),
        }
    }
    destinations
}

/// Where the image before this one may be: under this run's own tags, or under those that docker/metadata-action gives to the branch, the branch to
/// merge into and the default branch, and `latest`.
fn previous(names: &[ImageRef], run: Option<&WorkflowRun>) -> Vec<String> {
    let Some(first) = names.first() else {
        return Vec::new();
    };
    let same =
        |name: &&ImageRef| (&name.host, &name.repository) == (&first.host, &first.repository);
    let tags = names
        .iter()
        .filter(same)
        .filter_map(|name| name.tag.clone());
    let origin = run.map(Origin::of);
    let branches = origin.into_iter().flat_map(|origin| {
        let own = match origin.line {
            Line::Branch(name) => Some(name),
            Line::Tags | Line::Queue | Line::Unknown => None,
        };
        [own, origin.base, origin.default_branch]
    });
    let branches = branches.flatten().map(|branch| {
        let is_allowed =
            |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
        branch.replace(|character| !is_allowed(character), "-")
    });
    let mut references: Vec<String> = Vec::new();
    for tag in tags.chain(branches).chain(["latest".to_owned()]) {
        if !references.contains(&tag) {
            references.push(tag);
        }
    }
    references
}

/// The proxies that BuildKit uses: the Engine's own has the Engine's, which are taken to be this machine's.
fn proxies(builder: &BuilderPlan, sources: &Sources<'_>) -> Vec<(String, Hidden)> {
    let is_proxy = |name: &str| {
        let name = name.to_ascii_uppercase();
        matches!(
            name.as_str(),
            "HTTP_PROXY" | "HTTPS_PROXY" | "NO_PROXY" | "ALL_PROXY"
        )
    };
    let hidden = |name: &str, value: &str| (name.to_owned(), Hidden(value.into()));
    match builder.driver {
        Driver::Docker => {
            let variables = sources.facts.network.proxy.iter();
            variables
                .map(|variable| hidden(variable.name, &variable.value))
                .collect()
        }
        _ => builder
            .variables()
            .filter(|(name, _)| is_proxy(name))
            .map(|(name, value)| hidden(name, value))
            .collect(),
    }
}

/// The authorities that BuildKit trusts.
fn authorities(builder: &BuilderPlan, sources: &Sources<'_>) -> String {
    let nodes = builder.kubernetes.iter().flat_map(|it| &it.nodes);
    let mut of_nodes: Vec<&str> = nodes.filter_map(|it| it.certificates.as_deref()).collect();
    of_nodes.dedup();
    match builder.driver {
        Driver::Docker => sources.facts.network.certificates.clone(),
        Driver::DockerContainer => {
            let file = builder.certificates.as_ref();
            file.map_or_else(String::new, |file| file.text.clone())
        }
        _ => of_nodes.concat(),
    }
}

/// As the printed plan has it.
impl Serialize for Acceleration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        enum Printed<'a> {
            Plain(Option<String>),
            Engine {
                required: bool,
                compression: protocol::Compression,
                destinations: &'a [Destination],
            },
        }
        let printed = match self {
            Self::Plain(reason) => Printed::Plain(reason.as_ref().map(ToString::to_string)),
            Self::Engine(engine) => Printed::Engine {
                required: engine.is_required,
                compression: engine.compression,
                destinations: &engine.destinations,
            },
        };
        printed.serialize(to)
    }
}
