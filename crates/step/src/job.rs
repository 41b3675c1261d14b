//! What the step is given: a job in the root directory, and a build secret.

use std::path::Path;

use anyhow::{Context as _, ensure};
use protocol::{Job, SECRETS_PATH, Secrets, VERSION};

/// Reads the job.
pub(crate) fn read(path: &Path) -> anyhow::Result<Job> {
    let text =
        std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
    let job: Job = serde_json::from_slice(&text).context("could not read the job")?;
    ensure!(
        job.version == VERSION,
        "the job has version {}, this step knows {VERSION}: both have to come from the same release",
        job.version
    );
    Ok(job)
}

/// Reads the secrets; none where the mount is missing.
pub(crate) fn secrets() -> anyhow::Result<Secrets> {
    match std::fs::read(SECRETS_PATH) {
        Ok(text) => serde_json::from_slice(&text).context("could not read the logins"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Secrets::default()),
        Err(error) => Err(error).with_context(|| format!("could not read `{SECRETS_PATH}`")),
    }
}
