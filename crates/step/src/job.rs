//! What the step is given: a job in the root directory, and a build secret.

use std::path::Path;

use anyhow::{Context as _, ensure};
use protocol::{SECRETS_PATH, Secrets, VERSION};
use serde::de::DeserializeOwned;

/// Reads a job.
pub(crate) fn read<J: DeserializeOwned>(path: &Path) -> anyhow::Result<J> {
    let text =
        std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
    serde_json::from_slice(&text).context("could not read the job")
}

/// Refuses a job of another release.
pub(crate) fn check(version: u32) -> anyhow::Result<()> {
    ensure!(
        version == VERSION,
        "the job has version {version}, this step knows {VERSION}: both have to come from the same release"
    );
    Ok(())
}

/// Reads the secrets; none where the mount is missing.
pub(crate) fn secrets() -> anyhow::Result<Secrets> {
    match std::fs::read(SECRETS_PATH) {
        Ok(text) => serde_json::from_slice(&text).context("could not read the logins"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Secrets::default()),
        Err(error) => Err(error).with_context(|| format!("could not read `{SECRETS_PATH}`")),
    }
}
