//! What images a repository holds, as the registry's front saw them pushed: ECR's API tells of the same images.
//!
//! moto is not asked: its digests are made up, and it forgets manifests' types.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Images of a repository, by digest, and what its tags name.
#[derive(Debug, Default)]
pub(crate) struct Images {
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Manifest {
    bytes: Bytes,
    media_type: String,
    pushed: Timestamp,
}

/// `sha256:…`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Images {
    /// The digest that a tag names.
    pub(crate) fn tag(&self, tag: &str) -> Option<&str> {
        self.tags.get(tag).map(String::as_str)
    }

    /// A manifest was pushed under a tag or its digest.
    pub(crate) fn push(&mut self, reference: &str, media_type: &str, bytes: Bytes) {
        let digest = digest(&bytes);
        if reference != digest {
            self.tags.insert(reference.to_owned(), digest.clone());
        }
        let (media_type, pushed) = (media_type.to_owned(), Timestamp::now());
        self.manifests.insert(
            digest,
            Manifest {
                bytes,
                media_type,
                pushed,
            },
        );
    }

    /// A manifest was deleted, by digest, or a tag.
    pub(crate) fn delete(&mut self, reference: &str) {
        self.tags.remove(reference);
        self.tags.retain(|_, digest| digest != reference);
        self.manifests.remove(reference);
    }

    /// Whether a manifest names this blob: only such blobs are mounted
    /// (<https://github.com/aws/containers-roadmap/issues/2860>).
    pub(crate) fn refers_to(&self, blob: &str) -> bool {
        self.manifests.values().any(|manifest| {
            let manifest = manifest.json();
            blobs(&manifest).any(|descriptor| descriptor["digest"] == *blob)
        })
    }

    /// The digest that an `ImageIdentifier` means: both of its members hold where both are there.
    pub(crate) fn find(&self, id: &Value) -> Option<&str> {
        let by_tag = id["imageTag"].as_str().map(|tag| self.tag(tag));
        let digest = match (by_tag, id["imageDigest"].as_str()) {
            (Some(tagged), Some(digest)) => tagged.filter(|&tagged| tagged == digest),
            (Some(tagged), None) => tagged,
            (None, digest) => digest,
        }?;
        self.manifests
            .get_key_value(digest)
            .map(|(digest, _)| digest.as_str())
    }

    pub(crate) fn digests(&self) -> impl Iterator<Item = &str> {
        self.manifests.keys().map(String::as_str)
    }

    pub(crate) fn tags_of(&self, digest: &str) -> Vec<&str> {
        let tags = self.tags.iter().filter(|(_, tagged)| *tagged == digest);
        tags.map(|(tag, _)| tag.as_str()).collect()
    }

    /// The text and the type of a manifest.
    pub(crate) fn manifest(&self, digest: &str) -> Option<(String, &str)> {
        let manifest = self.manifests.get(digest)?;
        Some((
            String::from_utf8_lossy(&manifest.bytes).into_owned(),
            &manifest.media_type,
        ))
    }

    /// `ImageDetail` without registry and repository:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html>.
    pub(crate) fn detail(&self, digest: &str) -> Option<Value> {
        let manifest = self.manifests.get(digest)?;
        let tags = self.tags_of(digest);
        let json = manifest.json();
        let mut detail = json!({
            "imageDigest": digest,
            "imageSizeInBytes": self.size(&json),
            "imagePushedAt": manifest.pushed.as_second(),
            "imageManifestMediaType": manifest.media_type,
            "imageStatus": "ACTIVE",
        });
        if !tags.is_empty() {
            detail["imageTags"] = json!(tags);
        }
        if let Some(kind) = json["config"]["mediaType"].as_str() {
            detail["artifactMediaType"] = json!(kind);
        }
        Some(detail)
    }

    /// Of an index the size of its largest image, as ECR counts.
    fn size(&self, manifest: &Value) -> u64 {
        let parts = manifest["manifests"].as_array().into_iter().flatten();
        let images = parts.filter_map(|part| self.manifests.get(part["digest"].as_str()?));
        let largest = images.map(|image| sum(&image.json())).max().unwrap_or(0);
        largest.max(sum(manifest))
    }
}

impl Manifest {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

fn blobs(manifest: &Value) -> impl Iterator<Item = &Value> {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    layers.chain([&manifest["config"]])
}

fn sum(manifest: &Value) -> u64 {
    blobs(manifest)
        .filter_map(|blob| blob["size"].as_u64())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_move_and_digests_stay() {
        let mut images = Images::default();
        let [first, second] =
            ["{\"a\":1}", "{\"a\":2}"].map(|text| Bytes::from_static(text.as_bytes()));
        let [one, two] = [&first, &second].map(|bytes| digest(bytes));
        images.push("latest", "m", first);
        images.push("latest", "m", second);
        assert_eq!(images.tag("latest"), Some(two.as_str()));
        assert_eq!(images.tags_of(&one), Vec::<&str>::new());
        assert_eq!(
            images.find(&json!({ "imageDigest": one })),
            Some(one.as_str())
        );
        assert_eq!(
            images.find(&json!({ "imageDigest": one, "imageTag": "latest" })),
            None
        );
        images.delete(&two);
        assert_eq!((images.tag("latest"), images.digests().count()), (None, 1));
    }

    #[test]
    fn an_image_is_as_large_as_its_blobs_and_an_index_as_its_largest_image() {
        let mut images = Images::default();
        let image = json!({ "config": { "size": 1, "digest": "c" }, "layers": [{ "size": 20, "digest": "l" }] }).to_string();
        let child = digest(image.as_bytes());
        images.push(&child, "m", image.into());
        let index = json!({ "manifests": [{ "digest": child }] }).to_string();
        let parent = digest(index.as_bytes());
        images.push("1", "i", index.into());
        for digest in [&child, &parent] {
            assert_eq!(images.detail(digest).unwrap()["imageSizeInBytes"], 21);
        }
        assert!(images.refers_to("l") && images.refers_to("c") && !images.refers_to("x"));
    }
}
