//! Keys of instructions and stages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dockerfile::{Graph, Origin, Source, Step, Value};

use crate::folder::Folder;
use crate::hash::{Fields, Hash};
use crate::unknown::Unknown;

/// Files from outside of the Dockerfile.
#[derive(Clone, Debug)]
pub enum Content {
    /// A folder that was read.
    Folder(Arc<Folder>),
    /// Something known by a name of its content alone: a Git tree, an image's digest.
    Named(String),
}

impl Content {
    /// Everything in it.
    #[must_use]
    pub fn whole(&self) -> Hash {
        match self {
            Self::Folder(folder) => folder.hash(),
            Self::Named(name) => Fields::of("named content").text("name", name).end(),
        }
    }

    /// What a path or pattern may name, or more than that.
    pub(crate) fn at(&self, path: &str) -> Hash {
        match self {
            Self::Folder(folder) => folder.at(path),
            Self::Named(_) => self.whole(),
        }
    }
}

/// What steps read.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The build's context.
    pub context: &'a Content,
    /// Named contexts.
    pub contexts: &'a BTreeMap<String, Content>,
    /// Digests of images, by the names that the graph has for them.
    pub images: &'a BTreeMap<String, String>,
    /// Names of the secrets that the build is given. A secret that is not given has no content.
    pub secrets: &'a BTreeSet<String>,
    /// Whether the build is given SSH keys or agents.
    pub has_ssh: bool,
}

/// The build for one platform.
#[derive(Clone, Copy, Debug)]
pub struct PlatformBuild<'a> {
    /// `linux/amd64`.
    pub platform: &'a str,
    /// What the target needs.
    pub graph: &'a Graph<'a>,
    /// Its steps, of [`Graph::steps`].
    pub steps: &'a [Step],
}

/// The key of a `FROM` or of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepKey {
    /// The stage's place in the Dockerfile.
    pub stage: usize,
    /// Its first line.
    pub line: usize,
    /// It includes all that the step depends on.
    pub key: Hash,
}

impl PlatformBuild<'_> {
    /// The keys of all steps, in their order; the last is the target's.
    ///
    /// # Errors
    /// The first thing that is not known.
    pub fn keys(&self, sources: &Sources<'_>) -> Result<Vec<StepKey>, Unknown> {
        let mut stages: BTreeMap<usize, Hash> = BTreeMap::new();
        let mut keys = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            let before = stages.get(&step.stage).copied();
            let mut fields = Fields::of("step").text("content", &step.content);
            fields = match &before {
                Some(before) => fields.hash("before", before),
                None => fields.text("platform", self.platform),
            };
            // Values cannot be tried without everything that comes before.
            let secret = before.unwrap_or_else(|| Hash::of(self.platform.as_bytes()));
            for (name, value) in &step.arguments {
                let (origin, value) = match value {
                    Value::Given(value) => ("given", value.as_str()),
                    Value::Global(value) => ("global", value.as_str()),
                    Value::Default => ("default", ""),
                };
                fields = fields
                    .text("argument", name)
                    .text("origin", origin)
                    .hash("value", &secret.keyed(name, value));
            }
            for source in &step.sources {
                fields = source_fields(fields, source, step.lines.first, sources, &stages)?;
            }
            let key = fields.end();
            stages.insert(step.stage, key);
            keys.push(StepKey {
                stage: step.stage,
                line: step.lines.first,
                key,
            });
        }
        Ok(keys)
    }
}

fn source_fields(
    fields: Fields,
    source: &Source,
    line: usize,
    sources: &Sources<'_>,
    stages: &BTreeMap<usize, Hash>,
) -> Result<Fields, Unknown> {
    Ok(match source {
        Source::Context(path) => fields
            .text("context", path)
            .hash("files", &sources.context.at(path)),
        Source::Files { origin, path } => {
            let fields = fields.text("path", path);
            match origin {
                Origin::Scratch => fields.text("scratch", ""),
                Origin::Stage(stage) => {
                    let key = stages.get(stage).ok_or(Unknown::Stage(*stage))?;
                    fields.hash("stage", key)
                }
                Origin::Image(image) => {
                    let digest = sources.images.get(&image.reference);
                    let digest = digest.ok_or_else(|| Unknown::Image(image.reference.clone()))?;
                    let platform = image.platform.as_ref().map(ToString::to_string);
                    // The name does not count, what it names does.
                    fields
                        .text("image", digest)
                        .list("platform", platform.as_slice())
                }
                Origin::Context(name) => {
                    let content = sources.contexts.get(name);
                    let content = content.ok_or_else(|| Unknown::Context(name.clone()))?;
                    fields.hash("named context", &content.at(path))
                }
            }
        }
        Source::Http { url, checksum } => {
            let checksum = checksum.as_ref().ok_or(Unknown::Address { line })?;
            fields.text("address", url).text("checksum", checksum)
        }
        Source::Git { url, checksum } => {
            let checksum = checksum.as_ref().ok_or(Unknown::Repository { line })?;
            fields.text("repository", url).text("checksum", checksum)
        }
        Source::Secret(id) if sources.secrets.contains(id) => {
            let id = id.clone();
            return Err(Unknown::Secret { line, id });
        }
        Source::Secret(id) => fields.text("no secret", id),
        Source::Ssh if sources.has_ssh => return Err(Unknown::Ssh { line }),
        Source::Ssh => fields.text("no ssh", ""),
        Source::Cache(id) => fields.text("cache", id),
    })
}
