//! What buildx says it made: its `--metadata-file` and `--iidfile`.
//!
//! Keys: <https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::Digest;
use jiff::Timestamp;
use serde_json::{Map, Value};
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
    /// Reads both files.
    ///
    /// # Errors
    /// When the metadata file is missing or is no JSON object.
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
