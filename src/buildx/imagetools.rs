//! `buildx imagetools inspect`: manifests in a registry, read with the builder's settings and the run's logins.

use std::time::Duration;

use image::{Digest, ImageRef};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Tool;
use crate::process::ProcessError;

/// Limit for reading a manifest. A registry that never answers would keep buildx waiting forever.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct Imagetools<'a> {
    pub builder: &'a str,
    pub tool: &'a Tool,
    pub cancel: &'a CancellationToken,
}

impl Imagetools<'_> {
    /// The manifest or index as the registry has it.
    pub(crate) async fn raw(&self, reference: &str) -> Option<String> {
        self.inspect(&["--raw", reference]).await
    }

    /// The image configuration as JSON; of an index with several platforms an object of configurations by platform
    /// (<https://github.com/docker/buildx/blob/v0.29.1/util/imagetools/printers.go>).
    pub(crate) async fn configuration(&self, reference: &str) -> Option<String> {
        let args = ["--format", "{{json .Image}}", reference];
        self.inspect(&args).await
    }

    /// The digest that a tag names.
    pub(crate) async fn digest(&self, reference: &ImageRef) -> Option<Digest> {
        let reference = reference.to_string();
        let args = ["--format", "{{json .Manifest}}", &reference];
        let manifest = self.inspect(&args).await?;
        let manifest: Value = serde_json::from_str(&manifest).ok()?;
        manifest.get("digest")?.as_str()?.parse().ok()
    }

    /// Gives an image one more name, with what that repository lacks.
    ///
    /// # Errors
    /// When the registry refuses, or the run is cancelled.
    pub(crate) async fn tag(&self, source: &str, name: &ImageRef) -> Result<(), ProcessError> {
        let name = name.to_string();
        let create = [
            "imagetools",
            "create",
            "--builder",
            self.builder,
            // Else buildx makes an index of a single manifest.
            "--prefer-index=false",
            "--tag",
            &name,
            source,
        ];
        let tagged = self.tool.command(create).output(self.cancel).await;
        tagged.map(drop)
    }

    async fn inspect(&self, args: &[&str]) -> Option<String> {
        let inspect = ["imagetools", "inspect", "--builder", self.builder];
        let command = self.tool.command(inspect.iter().chain(args));
        // Dropped, it is killed.
        let printed = timeout(LONGEST, command.output(self.cancel)).await;
        match printed {
            Ok(Ok(printed)) => return Some(printed),
            Ok(Err(error)) => tracing::debug!("{error}"),
            Err(_) => tracing::debug!("`{command}` did not end within {} s", LONGEST.as_secs()),
        }
        None
    }
}
