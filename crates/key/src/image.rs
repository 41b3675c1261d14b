//! The key of an image.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::Source;

use crate::hash::{Fields, Hash};
use crate::stage::{PlatformBuild, Sources, StepKey};
use crate::unknown::Unknown;

/// More paths than this are one part.
const MOST_PATHS: usize = 40;

/// Everything that an image is made from.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The Dockerfile as it is.
    pub dockerfile: &'a [u8],
    /// The ignore file as it is, if there is one.
    pub ignore: Option<&'a [u8]>,
    /// What is set beside the Dockerfile, each with its values.
    pub settings: &'a BTreeMap<String, Vec<String>>,
    /// One for each platform.
    pub platforms: &'a [PlatformBuild<'a>],
    /// What the steps read.
    pub sources: &'a Sources<'a>,
    /// Whether all of the context counts, not only what instructions name: a base may have triggers that read more, and so may
    /// attestations.
    pub whole_context: bool,
    /// Whether build arguments count that no instruction uses: provenance lists them.
    pub all_arguments: bool,
}

/// The key of an image, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub hash: Hash,
    /// Short hashes of what goes in, by name, to say later what changed. Build arguments are left out: a short hash of one value could
    /// be tried out.
    pub parts: BTreeMap<String, String>,
    /// The keys of the steps, for each platform.
    pub steps: Vec<(String, Vec<StepKey>)>,
}

impl Image<'_> {
    /// The key.
    ///
    /// # Errors
    /// The first thing that is not known.
    pub fn key(&self) -> Result<Key, Unknown> {
        let mut fields = Fields::of("image")
            .bytes("dockerfile", self.dockerfile)
            .list("ignore file", self.ignore.as_slice());
        for (name, values) in self.settings {
            fields = fields.text("setting", name).list("values", values);
        }
        if self.whole_context {
            fields = fields.hash("context", &self.sources.context.whole());
        }
        let mut steps = Vec::new();
        for build in self.platforms {
            let keys = build.keys(self.sources)?;
            let target = keys.last().map_or_else(|| Hash::of(b""), |step| step.key);
            fields = fields
                .text("platform", build.platform)
                .hash("target", &target);
            if let Some(frontend) = &build.graph.frontend {
                let digest = self.sources.images.get(frontend);
                let digest = digest.ok_or_else(|| Unknown::Image(frontend.clone()))?;
                fields = fields.text("frontend", digest);
            }
            let arguments: Vec<(&str, &str)> = if self.all_arguments {
                let all = build.graph.build.args.iter();
                all.map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect()
            } else {
                build.graph.used_args().into_iter().collect()
            };
            for (name, value) in arguments {
                fields = fields
                    .text("argument", name)
                    .hash("value", &target.keyed(name, value));
            }
            steps.push((build.platform.to_owned(), keys));
        }
        Ok(Key {
            hash: fields.end(),
            parts: self.parts(&steps),
            steps,
        })
    }

    fn parts(&self, steps: &[(String, Vec<StepKey>)]) -> BTreeMap<String, String> {
        let mut parts = BTreeMap::new();
        let mut add = |name: String, hash: Hash| {
            parts.insert(name, hash.short());
        };
        add("dockerfile".to_owned(), Hash::of(self.dockerfile));
        if let Some(ignore) = self.ignore {
            add("ignore file".to_owned(), Hash::of(ignore));
        }
        if self.whole_context {
            add("context".to_owned(), self.sources.context.whole());
        }
        let paths = self.context_paths();
        if paths.len() <= MOST_PATHS {
            for path in paths {
                let files = self.sources.context.at(path);
                add(format!("files {path}"), files);
            }
        } else {
            let files: Vec<[u8; 32]> = paths
                .iter()
                .map(|path| self.sources.context.at(path).0)
                .collect();
            add(
                "files".to_owned(),
                Fields::of("files").list("files", &files).end(),
            );
        }
        for (name, content) in self.sources.contexts {
            add(format!("context {name}"), content.whole());
        }
        for (name, digest) in self.sources.images {
            add(format!("image {name}"), Hash::of(digest.as_bytes()));
        }
        for (name, values) in self.settings {
            let values = Fields::of("setting").list(name, values);
            add(name.clone(), values.end());
        }
        let platforms: Vec<&str> = steps
            .iter()
            .map(|(platform, _)| platform.as_str())
            .collect();
        let platforms = Fields::of("setting").list("platforms", &platforms);
        add("platforms".to_owned(), platforms.end());
        parts
    }

    /// What instructions name in the context.
    fn context_paths(&self) -> BTreeSet<&str> {
        let steps = self.platforms.iter().flat_map(|build| build.steps);
        let sources = steps.flat_map(|step| &step.sources);
        sources
            .filter_map(|source| match source {
                Source::Context(path) => Some(path.as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Key {
    /// The parts that are not as they were, by name, also those that are new or gone.
    #[must_use]
    pub fn changed(&self, earlier: &BTreeMap<String, String>) -> Vec<String> {
        let names = self.parts.keys().chain(earlier.keys());
        let names: BTreeSet<&String> = names.collect();
        names
            .into_iter()
            .filter(|name| self.parts.get(*name) != earlier.get(*name))
            .cloned()
            .collect()
    }
}
