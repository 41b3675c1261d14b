//! Writes images straight into a registry's storage: no Engine and no push is needed to have base images.
//!
//! In: tar files. Out: blobs and links in the layout of the distribution registry's filesystem driver, with OCI
//! manifests. <https://distribution.github.io/distribution/about/configuration/#storage> names the driver,
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md> the manifest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process::{command, run, timed};

/// A gzipped layer that is in the storage.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    digest: String,
    /// Compressed, in bytes.
    size: u64,
    /// Digest of the tar before compression.
    diff_id: String,
}

/// The storage that is copied for every run.
#[derive(Debug)]
pub(crate) struct Storage<'a> {
    /// A directory for work in progress and for notes on finished layers.
    pub(crate) work: &'a Path,
    /// The registry's root directory.
    pub(crate) root: &'a Path,
}

impl Storage<'_> {
    /// The layer of this name, made by `make` (which writes `layer.tar` into the empty directory that it is given) unless
    /// there is one of the same recipe.
    pub(crate) fn layer(
        &self,
        name: &str,
        recipe: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Layer> {
        let note = self.work.join(format!("{name}.json"));
        if let Some((noted, layer)) = read_note(&note) {
            if noted == recipe {
                return Ok(layer);
            }
            let _ = fs::remove_file(self.blob(&layer.digest)?);
            fs::remove_file(&note)?;
        }
        timed(&format!("make layer {name}"), || {
            // Also removes what an interrupted run left.
            let directory = self.work.join(format!("{name}.tmp"));
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory)?;
            make(&directory)?;
            let (tar, blob) = (directory.join("layer.tar"), directory.join("layer.tar.gz"));
            let diff_id = digest(&tar)?;
            run(&mut command!("gzip", "-1", "--no-name", &tar))?;
            let layer = Layer {
                digest: digest(&blob)?,
                size: fs::metadata(&blob)?.len(),
                diff_id,
            };
            let data = self.blob(&layer.digest)?;
            fs::rename(blob, data)?;
            let Layer {
                digest,
                size,
                diff_id,
            } = &layer;
            let text =
                json!({ "recipe": recipe, "digest": digest, "size": size, "diff_id": diff_id });
            fs::write(note, text.to_string())?;
            fs::remove_dir_all(directory)?;
            Ok(layer)
        })
    }

    /// Tags an image of these layers. `config` is the `config` object of the image configuration (entry point,
    /// environment and so on).
    pub(crate) fn image(
        &self,
        repository: &str,
        tag: &str,
        layers: &[&Layer],
        config: &Value,
    ) -> Result<()> {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let configuration = self.document(&json!({
            "created": "2025-01-01T00:00:00Z", "architecture": architecture, "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }))?;
        let descriptor = |kind: &str, layer: &Layer| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": media_type, "digest": layer.digest, "size": layer.size })
        };
        let blobs: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor("layer.v1.tar+gzip", layer))
            .collect();
        let manifest = self.document(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &configuration), "layers": blobs,
        }))?;

        let repository = self
            .root
            .join("docker/registry/v2/repositories")
            .join(repository);
        let _ = fs::remove_dir_all(&repository);
        for layer in layers.iter().copied().chain([&configuration]) {
            link(&repository.join("_layers"), &layer.digest)?;
        }
        link(&repository.join("_manifests/revisions"), &manifest.digest)?;
        let tag = repository.join("_manifests/tags").join(tag);
        link(&tag.join("index"), &manifest.digest)?;
        fs::create_dir_all(tag.join("current"))?;
        fs::write(tag.join("current/link"), &manifest.digest)?;
        Ok(())
    }

    /// Stores a JSON document.
    fn document(&self, document: &Value) -> Result<Layer> {
        let file = self.work.join("document.json");
        fs::write(&file, document.to_string())?;
        let (digest, size) = (digest(&file)?, fs::metadata(&file)?.len());
        fs::rename(file, self.blob(&digest)?)?;
        Ok(Layer {
            diff_id: digest.clone(),
            digest,
            size,
        })
    }

    fn blob(&self, digest: &str) -> Result<PathBuf> {
        let hex = digest.trim_start_matches("sha256:");
        let directory = self
            .root
            .join("docker/registry/v2/blobs/sha256")
            .join(hex.get(..2).unwrap_or(""))
            .join(hex);
        fs::create_dir_all(&directory)?;
        Ok(directory.join("data"))
    }
}

fn link(directory: &Path, digest: &str) -> Result<()> {
    let directory = directory.join(digest.replace(':', "/"));
    fs::create_dir_all(&directory)?;
    Ok(fs::write(directory.join("link"), digest)?)
}

/// A finished layer and its recipe.
fn read_note(note: &Path) -> Option<(String, Layer)> {
    let note: Value = serde_json::from_slice(&fs::read(note).ok()?).ok()?;
    let text = |key: &str| note.get(key)?.as_str().map(str::to_owned);
    let layer = Layer {
        digest: text("digest")?,
        size: note.get("size")?.as_u64()?,
        diff_id: text("diff_id")?,
    };
    Some((text("recipe")?, layer))
}

/// `sha256:…` of a file.
pub(crate) fn digest(file: &Path) -> Result<String> {
    let line = run(&mut command!("sha256sum", file))?;
    let hex = line
        .split(' ')
        .next()
        .context("sha256sum printed nothing")?;
    Ok(format!("sha256:{}", hex.trim_start_matches('\\')))
}
