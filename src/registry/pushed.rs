//! What is now in the registry: the pushed manifest, read back.
//!
//! In: the plan and buildx's metadata. Out: a [`PushedImage`] with its layers. BuildKit pushes
//! during the build; this stage only looks. The registry is asked through `buildx imagetools`,
//! which has the builder's settings and the run's logins. Not every registry can be read from
//! here (`localhost` is another machine inside of a container), so that layers are optional.

use std::collections::{BTreeMap, BTreeSet};

use image::{Digest, ImageRef, is_loopback};
use jiff::Timestamp;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};

use crate::buildx::imagetools::Imagetools;
use crate::buildx::metadata::Metadata;
use crate::plan::{CacheKind, ImagePlan, Naming};
use crate::runner::redact::Redactor;

/// At most so many platforms of an index are looked at.
const MOST_PLATFORMS: usize = 8;

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PushedImage {
    /// `registry/repository@digest`.
    pub reference: String,
    pub registry: String,
    /// In the order of the image, platform by platform; empty when it could not be read.
    pub layers: Vec<Layer>,
    /// Compressed size of all layers and configs, each counted once (bytes).
    pub bytes: Option<u64>,
    /// Whether all tags were at this digest before the push began.
    pub unchanged: bool,
}

/// More tags than this are not looked at before the push: each is a request.
const MOST_TAGS_BEFORE: usize = 3;

/// What all tags of an image named at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Before {
    digest: Digest,
    asked: Timestamp,
}

impl Before {
    /// Whether the push found its own image there.
    pub(crate) fn is(&self, metadata: &Metadata) -> bool {
        metadata.digest.as_ref() == Some(&self.digest)
            && metadata.push_started.is_some_and(|push| self.asked < push)
    }
}

/// Asks what the image's tags name, while it is built; `None` where they name nothing, not the same,
/// or can't be asked, and where nothing comes from a cache.
pub(crate) async fn before(
    image: &ImagePlan,
    imagetools: &Imagetools<'_>,
    isolated: bool,
) -> Option<Before> {
    let push = image.push.as_ref();
    let push =
        push.filter(|push| push.naming == Naming::Tags && image.cache.kind != CacheKind::None)?;
    if push.names.len() > MOST_TAGS_BEFORE {
        return None;
    }
    let mut found: Option<Digest> = None;
    for name in &push.names {
        if isolated && is_loopback(&name.host) {
            return None;
        }
        let digest = imagetools.digest(name).await?;
        if found.as_ref().is_some_and(|found| *found != digest) {
            return None;
        }
        found = Some(digest);
    }
    Some(Before {
        digest: found?,
        asked: Timestamp::now(),
    })
}

/// A layer of a pushed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub digest: String,
    /// Compressed size in bytes.
    pub size: u64,
    /// What made it, as the image's history tells.
    pub created_by: Option<String>,
    /// Only in images for several platforms.
    pub platform: Option<String>,
}

/// What the registry had under a digest. The push engine's image is looked at while its build still comes to an end.
#[derive(Debug)]
pub(crate) struct Looked {
    digest: Digest,
    contents: Option<Contents>,
}

/// Looks at an image that was pushed. From a container of our own (`isolated`) a registry on the Engine's loopback is not asked:
/// `localhost` is another machine here.
pub(crate) async fn look(
    image: &ImagePlan,
    digest: Digest,
    imagetools: &Imagetools<'_>,
    isolated: bool,
) -> Option<Looked> {
    let first = image.push.as_ref()?.names.first()?;
    let reference = by_digest(first, &digest);
    let contents = if isolated && is_loopback(&first.host) {
        tracing::debug!("`{}` can't be reached from this container", first.host);
        None
    } else {
        Contents::read(&reference, imagetools).await
    };
    if contents.is_none() {
        tracing::debug!("could not read the manifest of `{reference}` back");
    }
    Some(Looked { digest, contents })
}

/// The image of buildx's metadata, as it is in the registry; `None` when nothing was pushed. Looks at it, unless it was `looked` at already.
pub(crate) async fn confirm(
    image: &ImagePlan,
    metadata: &Metadata,
    looked: Option<Looked>,
    imagetools: &Imagetools<'_>,
    isolated: bool,
    redactor: &Redactor,
) -> Option<PushedImage> {
    let digest = metadata.digest.as_ref()?;
    let first = image.push.as_ref()?.names.first()?;
    let looked = match looked.filter(|looked| looked.digest == *digest) {
        Some(looked) => looked,
        None => look(image, digest.clone(), imagetools, isolated).await?,
    };
    let mut contents = looked.contents.unwrap_or_default();
    for layer in &mut contents.layers {
        layer.created_by = layer.created_by.as_deref().map(|made| redactor.text(made));
    }
    Some(PushedImage {
        reference: by_digest(first, digest),
        registry: first.host.clone(),
        bytes: (!contents.blobs.is_empty()).then(|| contents.bytes()),
        layers: contents.layers,
        unchanged: false,
    })
}

impl PushedImage {
    /// An image of an earlier run, from its manifest and, for an index, those of its platforms by digest. What made its layers is in
    /// no manifest. None if it cannot be read.
    pub(crate) fn existing(
        name: &ImageRef,
        digest: &Digest,
        manifest: &str,
        platforms: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let mut contents = Contents::default();
        if let Ok(manifest) = serde_json::from_str::<ImageManifest>(manifest) {
            contents.add(&manifest, &[], None);
        } else {
            let index: ImageIndex = serde_json::from_str(manifest).ok()?;
            let entries = images(&index);
            let several = entries.len() > 1;
            for (platform, descriptor) in entries {
                let manifest = platforms.get(&descriptor.digest().to_string())?;
                let manifest: ImageManifest = serde_json::from_str(manifest).ok()?;
                contents.add(&manifest, &[], several.then_some(platform.as_str()));
            }
        }
        Some(Self {
            reference: by_digest(name, digest),
            registry: name.host.clone(),
            bytes: Some(contents.bytes()),
            layers: contents.layers,
            unchanged: true,
        })
    }
}

/// The digests of an index's images; none for a manifest.
pub(crate) fn children(manifest: &str) -> Vec<String> {
    let index = serde_json::from_str::<ImageIndex>(manifest);
    let images = index.iter().flat_map(images);
    images
        .map(|(_, descriptor)| descriptor.digest().to_string())
        .collect()
}

/// An index's images with their platforms, without attestations.
fn images(index: &ImageIndex) -> Vec<(String, &Descriptor)> {
    let entries = index.manifests().iter();
    entries
        .filter_map(|descriptor| Some((platform(descriptor)?, descriptor)))
        .take(MOST_PLATFORMS)
        .collect()
}

fn by_digest(reference: &ImageRef, digest: &Digest) -> String {
    format!("{}@{digest}", reference.name())
}

/// Layers, and all blobs by digest and size.
#[derive(Debug, Default)]
struct Contents {
    layers: Vec<Layer>,
    blobs: BTreeSet<(String, u64)>,
}

impl Contents {
    async fn read(reference: &str, imagetools: &Imagetools<'_>) -> Option<Self> {
        let (raw, config) = tokio::join!(
            imagetools.raw(reference),
            imagetools.configuration(reference)
        );
        let raw = raw?;
        let mut contents = Self::default();
        if let Ok(manifest) = serde_json::from_str::<ImageManifest>(&raw) {
            let history = config.as_deref().map(created_by).unwrap_or_default();
            contents.add(&manifest, &history, None);
            return Some(contents);
        }
        let index: ImageIndex = serde_json::from_str(&raw).ok()?;
        let platforms = images(&index);
        let several = platforms.len() > 1;
        let config = config.unwrap_or_default();
        let configs: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        for (name, descriptor) in platforms {
            let (repository, _) = reference.split_once('@')?;
            let manifest = format!("{repository}@{}", descriptor.digest());
            let raw = imagetools.raw(&manifest).await?;
            let manifest: ImageManifest = serde_json::from_str(&raw).ok()?;
            let history = match configs.get(&name).filter(|_| several) {
                Some(config) => created_by(&config.to_string()),
                None if several => Vec::new(),
                None => created_by(&config),
            };
            contents.add(&manifest, &history, several.then_some(name.as_str()));
        }
        Some(contents)
    }

    fn bytes(&self) -> u64 {
        let sizes = self.blobs.iter().map(|blob| blob.1);
        // A registry may say anything.
        sizes.fold(0, u64::saturating_add)
    }

    fn add(&mut self, manifest: &ImageManifest, history: &[String], platform: Option<&str>) {
        let config = manifest.config();
        self.blobs
            .insert((config.digest().to_string(), config.size()));
        for (index, layer) in manifest.layers().iter().enumerate() {
            self.blobs
                .insert((layer.digest().to_string(), layer.size()));
            self.layers.push(Layer {
                digest: layer.digest().to_string(),
                size: layer.size(),
                created_by: history.get(index).cloned(),
                platform: platform.map(str::to_owned),
            });
        }
    }
}

/// The comment of history entries that BuildKit makes up for layers without one. It appends them,
/// while the layers without history are those of the base image
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/exporter/containerimage/writer.go>,
/// `normalizeLayersAndHistory`).
const MADE_UP: &str = "buildkit.exporter.image.v0";

/// What made each layer, in the order of the layers: the history's entries that are not empty.
pub(super) fn created_by(config: &str) -> Vec<String> {
    let Ok(config) = serde_json::from_str::<ImageConfiguration>(config) else {
        return Vec::new();
    };
    let entries: Vec<_> = config
        .history()
        .iter()
        .flatten()
        .filter(|entry| !entry.empty_layer().unwrap_or(false))
        .collect();
    let made_up = entries
        .iter()
        .rev()
        .take_while(|entry| entry.comment().as_deref() == Some(MADE_UP))
        .count();
    let told = entries.iter().take(entries.len() - made_up);
    std::iter::repeat_n(String::new(), made_up)
        .chain(
            told.map(|entry| without_arguments(entry.created_by().as_deref().unwrap_or_default())),
        )
        .collect()
}

/// `RUN |1 TOKEN=x /bin/sh -c make # buildkit` without the values of build arguments, which may be secrets, and without what says nothing
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/frontend/dockerfile/dockerfile2llb/convert.go>, `dispatchRun`).
fn without_arguments(created_by: &str) -> String {
    const SHELL: &str = "/bin/sh -c ";
    let made = created_by.strip_suffix(" # buildkit").unwrap_or(created_by);
    let Some(run) = made.strip_prefix("RUN ") else {
        return made.to_owned();
    };
    // Values may hold anything, so the last shell counts; with another shell the command can't be told from the values.
    let command = match (run.starts_with('|'), run.rsplit_once(SHELL)) {
        (true, Some((_, command))) => command,
        (true, None) => "…",
        (false, _) => run.strip_prefix(SHELL).unwrap_or(run),
    };
    format!("RUN {command}")
}

/// The platform of an index's entry; attestations have the platform `unknown/unknown`.
fn platform(descriptor: &Descriptor) -> Option<String> {
    let platform = descriptor.platform().as_ref()?;
    let (os, architecture) = (platform.os(), platform.architecture());
    let name = match platform.variant() {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    };
    (name != "unknown/unknown").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(character: char, size: u64) -> serde_json::Value {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
            "digest": format!("sha256:{}", character.to_string().repeat(64)),
            "size": size,
        })
    }

    #[test]
    fn layers_get_their_step_and_shared_blobs_count_once() {
        let manifest: ImageManifest = serde_json::from_value(serde_json::json!({
            "schemaVersion": 2,
            "config": descriptor('a', 10),
            "layers": [descriptor('b', 100), descriptor('c', 1000)],
        }))
        .unwrap();
        let history = created_by(
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
                "history":[{"created_by":"base"},{"created_by":"ENV A=1","empty_layer":true},{"created_by":"RUN pip"}]}"#,
        );
        let mut contents = Contents::default();
        contents.add(&manifest, &history, None);
        contents.add(&manifest, &history, Some("linux/arm64"));
        assert_eq!(contents.blobs.iter().map(|blob| blob.1).sum::<u64>(), 1110);
        assert_eq!(contents.layers.len(), 4);
        assert_eq!(contents.layers[1].created_by.as_deref(), Some("RUN pip"));
    }

    #[test]
    fn sizes_that_no_blob_has_are_added_up_without_harm() {
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "config": descriptor('a', u64::MAX),
            "layers": [descriptor('b', 1), descriptor('c', 1 << 63)],
        });
        let name = "r.example/a:1".parse().unwrap();
        let digest = Digest::sha256([7; 32]);
        let none = BTreeMap::new();
        let image = PushedImage::existing(&name, &digest, &manifest.to_string(), &none);
        assert_eq!(image.unwrap().bytes, Some(u64::MAX));
    }

    #[test]
    fn values_of_build_arguments_are_not_kept() {
        let cases = [
            (
                "RUN |2 TOKEN=hush A=b c /bin/sh -c make x # buildkit",
                "RUN make x",
            ),
            (
                "RUN |1 A=/bin/sh -c hush /bin/sh -c make # buildkit",
                "RUN make",
            ),
            (
                "RUN |1 TOKEN=hush /bin/bash -o pipefail -c make # buildkit",
                "RUN …",
            ),
            ("RUN /bin/sh -c make # buildkit", "RUN make"),
            ("COPY . . # buildkit", "COPY . ."),
            ("", ""),
        ];
        for (created_by, expected) in cases {
            assert_eq!(without_arguments(created_by), expected);
        }
    }

    #[test]
    fn a_base_without_history_does_not_shift_the_steps() {
        let history = created_by(
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
                "history":[{"created_by":"RUN a"},{"created_by":"COPY b"},
                           {"created_by":"[3/3] COPY b","comment":"buildkit.exporter.image.v0"}]}"#,
        );
        assert_eq!(history, ["", "RUN a", "COPY b"]);
    }

    #[test]
    fn an_attestation_is_no_platform() {
        let index: ImageIndex = serde_json::from_value(serde_json::json!({
            "schemaVersion": 2,
            "manifests": [
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                 "digest": format!("sha256:{}", "a".repeat(64)),
                 "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                 "digest": format!("sha256:{}", "b".repeat(64)),
                 "platform": {"os": "unknown", "architecture": "unknown"}},
            ],
        }))
        .unwrap();
        let names: Vec<String> = index.manifests().iter().filter_map(platform).collect();
        assert_eq!(names, ["linux/arm/v7"]);
    }
}
