//! What buildx says it made: its `--metadata-file` and `--iidfile`.
//!
//! Keys: <https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::{Digest, ImageRef};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::cache::Caches;
use crate::plan::ImageFiles;

/// The result of a build.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metadata {
    /// The whole file, as it was written.
    pub json: Map<String, Value>,
    /// Digest of the image or index; none for outputs that are no image.
    pub digest: Option<Digest>,
    /// The image id as `--iidfile` has it: the config's digest, or the image's.
    pub image_id: Option<String>,
    /// What became of the caches; not in buildx's files, but told by its progress.
    pub caches: Caches,
    /// When the first manifest was pushed, which tags name from then on; told by the progress, too.
    pub push_started: Option<Timestamp>,
    /// Whether the build failed in its push, which was completed by other means.
    pub is_of_failed_build: bool,
}

/// buildx's files could not be read.
#[derive(Debug, Error)]
pub(crate) enum MetadataError {
    #[error("could not read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not read `{}`", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

impl Metadata {
    /// What buildx would say of an image that is in the registry already, from its manifest or index.
    pub(crate) fn of_existing(digest: &Digest, manifest: &str, names: &[ImageRef]) -> Self {
        let parsed: Value = serde_json::from_str(manifest).unwrap_or_default();
        let config = parsed.pointer("/config/digest").and_then(Value::as_str);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut json = Map::new();
        if let Some(config) = config {
            json.insert("containerimage.config.digest".to_owned(), config.into());
        }
        let descriptor = json!({
            "mediaType": parsed["mediaType"],
            "digest": digest.to_string(),
            "size": manifest.len(),
        });
        json.insert("containerimage.descriptor".to_owned(), descriptor);
        json.insert(
            "containerimage.digest".to_owned(),
            digest.to_string().into(),
        );
        json.insert("image.name".to_owned(), names.join(",").into());
        Self {
            // As buildx writes `--iidfile`: an index has no configuration.
            image_id: Some(config.map_or_else(|| digest.to_string(), str::to_owned)),
            digest: Some(digest.clone()),
            json,
            ..Self::default()
        }
    }

    /// Reads both files.
    pub(crate) fn read(files: &ImageFiles) -> Result<Self, MetadataError> {
        let path = files.metadata.clone();
        let text = fs::read(&path).map_err(|source| MetadataError::Read {
            path: path.clone(),
            source,
        })?;
        // buildx writes `null` when there is nothing to say.
        let json: Option<Map<String, Value>> = serde_json::from_slice(&text)
            .map_err(|source| MetadataError::Parse { path, source })?;
        let json = json.unwrap_or_default();
        Ok(Self {
            digest: json
                .get("containerimage.digest")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok()),
            image_id: image_id(&files.image_id),
            json,
            caches: Caches::default(),
            push_started: None,
            is_of_failed_build: false,
        })
    }
}

fn image_id(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RunDir;

    fn read(metadata: &str, id: Option<&str>) -> Result<Metadata, MetadataError> {
        let folder = tempfile::tempdir().unwrap();
        let files = RunDir::at(folder.path()).image(0);
        fs::write(&files.metadata, metadata).unwrap();
        if let Some(id) = id {
            fs::write(&files.image_id, id).unwrap();
        }
        Metadata::read(&files)
    }

    #[test]
    fn reads_digest_and_image_id() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let text = format!(r#"{{"containerimage.digest":"{digest}","image.name":"r/a:1"}}"#);
        let metadata = read(&text, Some("sha256:b\n")).unwrap();
        assert_eq!(metadata.digest.unwrap().to_string(), digest);
        assert_eq!(metadata.image_id.as_deref(), Some("sha256:b"));
        assert_eq!(metadata.json["image.name"], "r/a:1");
    }

    #[test]
    fn an_existing_image_has_what_buildx_says_of_a_new_one() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let names = ["r.example/a:1", "r.example/a:2"].map(|name| name.parse().unwrap());
        let text = r#"{"mediaType":"m","config":{"digest":"sha256:c"}}"#;
        let image = Metadata::of_existing(&digest, text, &names);
        assert_eq!(image.image_id.as_deref(), Some("sha256:c"));
        assert_eq!(image.json["image.name"], "r.example/a:1,r.example/a:2");
        let descriptor =
            json!({"mediaType": "m", "digest": digest.to_string(), "size": text.len()});
        assert_eq!(image.json["containerimage.descriptor"], descriptor);
        let index = Metadata::of_existing(&digest, r#"{"manifests":[]}"#, &names);
        assert_eq!(index.image_id, Some(digest.to_string()));
        assert!(!index.json.contains_key("containerimage.config.digest"));
    }

    #[test]
    fn a_build_without_image_has_no_digest() {
        for text in ["null", "{}", r#"{"containerimage.digest":"nonsense"}"#] {
            let metadata = read(text, None).unwrap();
            assert_eq!((metadata.digest, metadata.image_id), (None, None), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_no_object_is_named() {
        let error = read("[1]", None).unwrap_err().to_string();
        assert!(error.contains("metadata-0.json"), "{error}");
    }
}
