//! What the image before this one was made of.
//!
//! Two things of it save work: which file was in which layer, so that a change moves no other file; and the digests of its layers, so that a layer
//! with the same tar is neither compressed nor sent, whatever made its blob. They come from the manifest under the first of the job's references that
//! the engine wrote, or, where there is none, from this builder's own notes.
//!
//! Whoever may push to the repository can write what is read here. A false assignment makes other layers of the same files. A false digest makes an image
//! that no runtime unpacks, since runtimes compare what they unpack with the configuration.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use image::Digest;
use layers::{Assignment, Packages};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use upload::{Descriptor, Fetched, Repository};

use crate::compose::NewLayer;

/// The manifest's annotation.
pub(crate) const ANNOTATION: &str = "com.github.fast-ecr-push.layers";

/// A longer annotation is not written and not read (bytes). 300 packages take 20 KB.
const LONGEST: usize = 512 * 1024;

/// The longest configuration that is read (bytes).
const LONGEST_CONFIGURATION: u64 = 4 << 20;

/// What is kept with an image.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub assignment: Assignment,
    pub packages: Packages,
}

/// The image before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Previous {
    pub kept: Kept,
    layers: Vec<Known>,
}

/// A layer of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    diff_id: String,
    digest: String,
    size: u64,
    media_type: String,
}

/// This builder's notes.
#[derive(Serialize, Deserialize)]
struct Notes {
    kept: Kept,
    layers: Vec<Known>,
}

#[derive(Deserialize)]
struct Manifest {
    config: ManifestDescriptor,
    layers: Vec<ManifestDescriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDescriptor {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl Previous {
    /// Reads that of the first reference that has one. What can't be read is passed over: it costs time only.
    pub(crate) fn read(repository: &Repository, references: &[String], notes: &Path) -> Self {
        let asked: Vec<_> = references
            .iter()
            .map(|reference| repository.manifest(reference))
            .collect();
        let fetched = asked.into_iter().filter_map(|it| it.wait().ok().flatten());
        let mut found = fetched.filter_map(|fetched| Self::of(repository, &fetched));
        found
            .next()
            .or_else(|| Self::noted(notes))
            .unwrap_or_default()
    }

    fn of(repository: &Repository, fetched: &Fetched) -> Option<Self> {
        let manifest: Manifest = serde_json::from_slice(&fetched.bytes).ok()?;
        let kept = manifest.annotations.get(ANNOTATION)?;
        let kept = parse(kept)?;
        let descriptor = Descriptor {
            digest: manifest.config.digest.parse().ok()?,
            size: manifest.config.size,
        };
        let mut text = Vec::new();
        let configuration = repository.open(&descriptor);
        configuration
            .take(LONGEST_CONFIGURATION)
            .read_to_end(&mut text)
            .ok()?;
        let is_whole = Digest::sha256(Sha256::digest(&text).into()) == descriptor.digest;
        let configuration: Configuration = serde_json::from_slice(&text).ok()?;
        let diff_ids = configuration.rootfs.diff_ids;
        if !is_whole || diff_ids.len() != manifest.layers.len() {
            return None;
        }
        let layers = manifest.layers.into_iter().zip(diff_ids);
        let layers = layers.map(|(layer, diff_id)| Known {
            diff_id,
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type,
        });
        Some(Self {
            kept,
            layers: layers.collect(),
        })
    }

    fn noted(path: &Path) -> Option<Self> {
        let mut text = String::new();
        let limit = LONGEST_CONFIGURATION;
        File::open(path)
            .ok()?
            .take(limit)
            .read_to_string(&mut text)
            .ok()?;
        let Notes { kept, layers } = serde_json::from_str(&text).ok()?;
        Some(Self { kept, layers })
    }

    /// Whether there was one, so that a layer may be as it was.
    pub(crate) fn is_known(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whether it has a layer of this name, which may have the same content.
    pub(crate) fn has(&self, layer: &str) -> bool {
        self.kept.assignment.has(layer)
    }

    /// The blob of a tar, compressed by the same method.
    pub(crate) fn blob(&self, diff_id: &Digest, media_type: &str) -> Option<Descriptor> {
        let same =
            |known: &&Known| known.diff_id == diff_id.as_str() && known.media_type == media_type;
        let known = self.layers.iter().find(same)?;
        Some(Descriptor {
            digest: known.digest.parse().ok()?,
            size: known.size,
        })
    }
}

impl Kept {
    /// The annotation's value, unless it would be too long.
    pub(crate) fn annotation(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text.len() <= LONGEST).then_some(text)
    }

    /// Leaves notes for the next image on this builder. Without them it takes longer.
    pub(crate) fn note(self, layers: &[NewLayer], path: &Path) {
        let layers = layers.iter().map(|layer| Known {
            diff_id: layer.diff_id.to_string(),
            digest: layer.digest.to_string(),
            size: layer.size,
            media_type: layer.media_type.to_owned(),
        });
        let notes = Notes {
            kept: self,
            layers: layers.collect(),
        };
        let text = serde_json::to_vec(&notes).unwrap_or_default();
        let beside = path.with_extension(std::process::id().to_string());
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
    }
}

fn parse(text: &str) -> Option<Kept> {
    if text.len() > LONGEST {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Where a builder notes the last image of a repository.
pub(crate) fn notes(folder: &Path, registry: &str, repository: &str) -> PathBuf {
    let name = Sha256::digest(format!("{registry}/{repository}"));
    let name = Digest::sha256(name.into()).to_string();
    folder.join(name.replace(':', "-"))
}
