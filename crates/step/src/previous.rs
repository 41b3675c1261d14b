//! What the image before this one was made of.
//!
//! Two things of it save work: which file was in which layer, so that a change moves no other file; and the digests of its layers, so that a layer
//! with the same tar is neither compressed nor sent, whatever made its blob. They come from the manifest under the first of the job's references that
//! the engine wrote, or, where there is none, from that of the last image that this builder pushed.
//!
//! All of it is in the registry. The builder only notes the image's digest, since other builds on it may write the note. So only those who may
//! push to the repository can write what is read here. A false assignment makes other layers of the same files. A false digest makes an image
//! that no runtime unpacks, since runtimes compare what they unpack with the configuration.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use image::Digest;
use layers::{Assignment, Headers, Packages, shared_file};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use upload::{Descriptor, Fetched, Repository};

/// The manifest's annotation.
pub(crate) const ANNOTATION: &str = "com.github.fast-ecr-push.layers";

/// A longer annotation is not written and not read (bytes). 300 packages take 20 KB.
const LONGEST: usize = 512 * 1024;

/// The longest configuration that is read (bytes).
const LONGEST_CONFIGURATION: u64 = 4 << 20;

/// The longest digest (bytes).
const LONGEST_NOTE: u64 = 200;

/// What is kept with an image.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub assignment: Assignment,
    pub packages: Packages,
    /// What the headers of a layer's tar say, by the tar's digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// The image before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Previous {
    pub kept: Kept,
    layers: Vec<Known>,
}

/// A layer of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    diff_id: String,
    digest: String,
    size: u64,
    media_type: String,
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
    /// Reads that of the first reference that has one, or the one that is noted. What can't be read is passed over: it costs time
    /// only. An index is read if there is a platform: its image of that.
    pub(crate) fn read(
        repository: &Repository,
        references: &[String],
        platform: Option<&str>,
        note: &Path,
    ) -> Self {
        let asked: Vec<_> = references
            .iter()
            .map(|reference| repository.manifest(reference))
            .collect();
        let fetched = asked.into_iter().filter_map(|it| it.wait().ok().flatten());
        let mut found = fetched.filter_map(|fetched| {
            let digest = platform.and_then(|platform| part_of_index(&fetched, platform));
            digest.map_or_else(
                || Self::of(repository, &fetched),
                |digest| Self::image(repository, &digest),
            )
        });
        found
            .next()
            .or_else(|| Self::image(repository, &noted(note)?))
            .unwrap_or_default()
    }

    /// That of an image of ours, by its digest.
    pub(crate) fn image(repository: &Repository, digest: &Digest) -> Option<Self> {
        let fetched = repository.manifest(digest.as_str()).wait().ok().flatten()?;
        Self::of(repository, &fetched)
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

    /// Whether there was one, so that a layer may be as it was.
    pub(crate) fn is_known(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Whether it may have a layer with these headers: an image that an earlier version pushed says nothing of headers.
    pub(crate) fn has_headers(&self, headers: &Headers) -> bool {
        let hex = headers.hex();
        let mut noted = self.kept.headers.values();
        self.is_known() && (self.kept.headers.is_empty() || noted.any(|noted| *noted == hex))
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

    /// The same, if a tar of this digest has these headers.
    pub(crate) fn blob_with(
        &self,
        diff_id: &Digest,
        headers: &Headers,
        media_type: &str,
    ) -> Option<Descriptor> {
        let noted = self.kept.headers.get(diff_id.as_str())?;
        let blob = self.blob(diff_id, media_type)?;
        (*noted == headers.hex()).then_some(blob)
    }
}

impl Kept {
    /// The annotation's value, unless it would be too long.
    pub(crate) fn annotation(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text.len() <= LONGEST).then_some(text)
    }
}

fn parse(text: &str) -> Option<Kept> {
    if text.len() > LONGEST {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The digest of a platform's image, if the manifest is an index that names one.
fn part_of_index(fetched: &Fetched, platform: &str) -> Option<Digest> {
    let index: Value = serde_json::from_slice(&fetched.bytes).ok()?;
    let mut parts = index.get("manifests")?.as_array()?.iter();
    let part = parts.find(|part| platform_of(part).as_deref() == Some(platform))?;
    part.get("digest")?.as_str()?.parse().ok()
}

/// The platform of an index's descriptor: `linux/arm64`, `linux/arm/v7`.
fn platform_of(descriptor: &Value) -> Option<String> {
    let platform = descriptor.get("platform")?;
    let field = |name: &str| platform.get(name)?.as_str();
    let variant = field("variant").map(|variant| format!("/{variant}"));
    Some(format!(
        "{}/{}{}",
        field("os")?,
        field("architecture")?,
        variant.unwrap_or_default()
    ))
}

fn noted(path: &Path) -> Option<Digest> {
    let text = shared_file::read(path, LONGEST_NOTE).ok()?;
    str::from_utf8(&text).ok()?.parse().ok()
}

/// Notes an image's digest for the next one on this builder. Without it, that takes longer.
pub(crate) fn note(path: &Path, image: &Digest) {
    let _ = shared_file::replace(path, image.as_str().as_bytes());
}

/// Where a builder notes the last image of a repository, for a platform if there are several.
pub(crate) fn note_path(
    folder: &Path,
    registry: &str,
    repository: &str,
    platform: Option<&str>,
) -> PathBuf {
    let platform = platform.map(|platform| format!(" {platform}"));
    let platform = platform.unwrap_or_default();
    let name = Sha256::digest(format!("{registry}/{repository}{platform}"));
    let name = Digest::sha256(name.into()).to_string();
    folder.join(name.replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use layers::{Diff, Layer, LayerState, Times, Tree, Workers};

    use super::*;

    const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

    fn digest(of: &str) -> Digest {
        Digest::sha256(Sha256::digest(of).into())
    }

    /// Those of a layer that is one file.
    fn headers(content: &str) -> Headers {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), content).unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        let diff = Diff::new(&tree, None, &Workers::new(1, 8 << 20).unwrap()).unwrap();
        LayerState::new(&diff, &Times::kept(), &Layer::whole(&diff)).headers
    }

    #[test]
    fn a_tar_is_believed_with_its_headers_only() {
        let known = |tar: &str| Known {
            diff_id: digest(tar).to_string(),
            digest: digest(&format!("blob of {tar}")).to_string(),
            size: 7,
            media_type: ZSTD.to_owned(),
        };
        let (app, other) = (headers("app"), headers("other"));
        let previous = Previous {
            kept: Kept {
                headers: [
                    (digest("app").to_string(), app.hex()),
                    (digest("not there").to_string(), app.hex()),
                ]
                .into(),
                ..Kept::default()
            },
            layers: vec![known("app"), known("without headers")],
        };
        let blob = |tar, headers, media_type| {
            let blob = previous.blob_with(&digest(tar), headers, media_type)?;
            Some((blob.digest, blob.size))
        };
        assert_eq!(blob("app", &app, ZSTD), Some((digest("blob of app"), 7)));
        assert_eq!(blob("app", &other, ZSTD), None);
        assert_eq!(blob("app", &app, "application/x"), None);
        assert_eq!(blob("without headers", &app, ZSTD), None);
        assert_eq!(blob("not there", &app, ZSTD), None);
    }

    #[test]
    fn a_note_is_a_digest_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = note_path(folder.path(), "registry", "repository", None);
        assert_eq!(noted(&path), None);
        note(&path, &digest("image"));
        assert_eq!(noted(&path), Some(digest("image")));
        for text in ["latest", "", "sha256:../../x", "\u{fffd}"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(noted(&path), None, "{text}");
        }
    }
}
