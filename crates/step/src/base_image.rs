//! A base image as its registry has it: layers with the digests under which nodes know them.
//!
//! The Engine's classic store keeps layers unpacked. It remembers how a layer was compressed where it was pulled from, and sends
//! others compressed anew. So the layers are read from the base image's own manifest, and belong to it if the configuration begins
//! with the same `diff_ids`.

use std::io::Read as _;

use anyhow::{Context as _, anyhow, ensure};
use image::Digest;
use serde::Deserialize;
use upload::{Descriptor, MANIFEST_LIMIT, Repository};

use crate::compose::BaseLayer;

/// An image that may be the base: an index names one for each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub layers: Vec<BaseLayer>,
    /// Digests of the layers' tars.
    pub diff_ids: Vec<String>,
}

/// A manifest, or an index of some.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
}

impl Part {
    fn descriptor(&self) -> anyhow::Result<Descriptor> {
        Ok(Descriptor {
            digest: self.digest.parse()?,
            size: self.size,
        })
    }
}

/// The images of an architecture that a digest names. Blocks.
pub(crate) fn read(
    repository: &Repository,
    digest: &Digest,
    architecture: Option<&str>,
) -> anyhow::Result<Vec<Candidate>> {
    let architecture = architecture.unwrap_or_else(|| own_architecture());
    let named = manifest(repository, digest.as_str())?;
    if named.config.is_some() {
        return Ok(vec![candidate(repository, &named)?]);
    }
    let images = named.images(architecture)?;
    let images = images.iter();
    images
        .map(|digest| candidate(repository, &manifest(repository, digest.as_str())?))
        .collect()
}

impl Manifest {
    pub(crate) fn read(text: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(text).context("could not read the base image's manifest")
    }

    /// The digests of an index's images for an architecture.
    pub(crate) fn images(&self, architecture: &str) -> anyhow::Result<Vec<Digest>> {
        let here = self.manifests.iter().filter(|part| {
            let platform = part.platform.as_ref();
            platform.is_none_or(|platform| platform.architecture == architecture)
        });
        here.map(|part| Ok(part.digest.parse()?)).collect()
    }
}

/// The layers of the candidate with which an image of these `diff_ids` begins: of several the one with most, since any image begins with one
/// that has none.
pub(crate) fn layers_of(
    candidates: &[Candidate],
    diff_ids: &[String],
) -> anyhow::Result<Vec<BaseLayer>> {
    let found = candidates
        .iter()
        .filter(|candidate| diff_ids.starts_with(&candidate.diff_ids))
        .max_by_key(|candidate| candidate.diff_ids.len());
    let found = found.ok_or_else(|| {
        anyhow!("the base image in its registry is not the one that the image was built on")
    })?;
    Ok(found.layers.clone())
}

fn manifest(repository: &Repository, reference: &str) -> anyhow::Result<Manifest> {
    let fetched = repository.manifest(reference).wait()?;
    let missing = || {
        anyhow!(
            "the base image `{}@{reference}` is not in its registry",
            repository.name()
        )
    };
    let fetched = fetched.ok_or_else(missing)?;
    Manifest::read(&fetched.bytes)
}

fn candidate(repository: &Repository, manifest: &Manifest) -> anyhow::Result<Candidate> {
    let config = manifest.config.as_ref();
    let config = config.ok_or_else(|| anyhow!("the base image's manifest is no image's"))?;
    let config = config.descriptor()?;
    let mut text = Vec::new();
    let limit = MANIFEST_LIMIT as u64;
    repository
        .open(&config)
        .take(limit)
        .read_to_end(&mut text)
        .context("could not read the base image's configuration")?;
    ensure!(
        Descriptor::of(&text) == config,
        "the base image's configuration is not the one that its manifest names"
    );
    Candidate::new(manifest, &text)
}

impl Candidate {
    /// The image of a manifest and its configuration.
    pub(crate) fn new(manifest: &Manifest, configuration: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Configuration {
            rootfs: RootFs,
        }
        #[derive(Deserialize)]
        struct RootFs {
            #[serde(default)]
            diff_ids: Vec<String>,
        }
        let configuration: Configuration = serde_json::from_slice(configuration)
            .context("could not read the base image's configuration")?;
        let diff_ids = configuration.rootfs.diff_ids;
        ensure!(
            diff_ids.len() == manifest.layers.len(),
            "the base image's manifest and configuration have different numbers of layers"
        );
        let layers = manifest.layers.iter().map(|part| {
            Ok(BaseLayer {
                digest: part.digest.parse()?,
                size: part.size,
                media_type: oci(&part.media_type)?.to_owned(),
            })
        });
        Ok(Self {
            layers: layers.collect::<anyhow::Result<_>>()?,
            diff_ids,
        })
    }
}

/// A layer's media type in a manifest of OCI, as BuildKit translates it
/// (<https://github.com/moby/buildkit/blob/v0.32.2/util/converter/converter.go>).
fn oci(media_type: &str) -> anyhow::Result<&str> {
    Ok(match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.v1.tar+gzip"
        }
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            "application/vnd.oci.image.layer.v1.tar+zstd"
        }
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.v1.tar+zstd" => media_type,
        other => anyhow::bail!("a layer of the base image has the media type `{other}`"),
    })
}

/// This machine's architecture in Docker's words.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(diff_ids: &[&str]) -> Candidate {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let layer = |number: usize| BaseLayer {
            digest: digest.clone(),
            size: number as u64,
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        };
        Candidate {
            layers: (0..diff_ids.len()).map(layer).collect(),
            diff_ids: diff_ids.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    #[test]
    fn the_base_is_the_candidate_that_the_configuration_begins_with() {
        let all = [candidate(&["x"]), candidate(&["a", "b"])];
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        assert_eq!(layers_of(&all, &ids(&["a", "b", "c"])).unwrap().len(), 2);
        for other in [&["a"][..], &["b", "a"], &[]] {
            assert!(layers_of(&all, &ids(other)).is_err(), "{other:?}");
        }
    }

    #[test]
    fn an_index_names_images_by_digest() {
        let images = |digest: &str| {
            let index =
                format!(r#"{{"manifests":[{{"mediaType":"","digest":"{digest}","size":1}}]}}"#);
            Manifest::read(index.as_bytes()).unwrap().images("amd64")
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(images(&digest).unwrap().len(), 1);
        for other in ["latest", "../../other/manifests/latest", "sha256:a?n=1", ""] {
            assert!(images(other).is_err(), "{other}");
        }
    }

    #[test]
    fn an_empty_candidate_is_the_base_only_where_no_other_is() {
        let all = [candidate(&[]), candidate(&["a", "b"]), candidate(&["a"])];
        let layers = |ids: &[&str]| {
            let ids: Vec<_> = ids.iter().map(|&id| id.to_owned()).collect();
            layers_of(&all, &ids).unwrap().len()
        };
        assert_eq!(layers(&["a", "b", "c"]), 2);
        assert_eq!(layers(&["a", "c"]), 1);
        assert_eq!(layers(&["x"]), 0);
    }

    #[test]
    fn layers_of_docker_get_the_names_of_oci() {
        for (given, expected) in [
            ("docker.image.rootfs.diff.tar.gzip", "tar+gzip"),
            ("oci.image.layer.v1.tar+zstd", "tar+zstd"),
        ] {
            let given = format!("application/vnd.{given}");
            let expected = format!("application/vnd.oci.image.layer.v1.{expected}");
            assert_eq!(oci(&given).unwrap(), expected);
        }
        assert!(oci("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").is_err());
    }
}
