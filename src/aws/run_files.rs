//! The private files that a run shares with its own processes: settings, and a role's session.
//!
//! They lie in the folder that [`TOKENS_VARIABLE`] names and are removed with the run's folder.

use std::fs;
use std::io;
use std::path::Path;

use super::role::Assumed;
use super::settings::Settings;
use crate::runner::private::{PrivateError, write_private};

/// Passes the folder to our own processes that buildx starts.
pub(crate) const TOKENS_VARIABLE: &str = "FAST_ECR_PUSH_TOKENS";

const SETTINGS: &str = "aws-settings";
const CREDENTIALS: &str = "aws-credentials.json";

/// The file for all registries, or for one with credentials of its own.
fn settings_file(host: Option<&str>) -> String {
    match host {
        Some(host) => format!("{SETTINGS}-{}.json", host.to_ascii_lowercase()),
        None => format!("{SETTINGS}.json"),
    }
}

pub(super) fn write_settings(
    folder: &Path,
    host: Option<&str>,
    settings: &Settings,
) -> Result<(), PrivateError> {
    // Plain fields always serialize.
    let text = serde_json::to_string(settings).unwrap_or_default();
    write_private(&folder.join(settings_file(host)), text.as_bytes())
}

/// The settings for a host, or for all; `None` without a file.
pub(super) fn read_settings(folder: &Path, host: Option<&str>) -> Result<Option<Settings>, String> {
    let path = folder.join(settings_file(host));
    match fs::read_to_string(&path) {
        // The error would quote the text, which has secrets.
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| format!("`{}` is damaged", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn write_session(folder: &Path, assumed: &Assumed) -> Result<(), PrivateError> {
    // Plain fields always serialize.
    let text = serde_json::to_string(assumed).unwrap_or_default();
    write_private(&folder.join(CREDENTIALS), text.as_bytes())
}

/// The role's session, which may have expired.
pub(super) fn read_session(folder: &Path) -> Option<Assumed> {
    let text = fs::read_to_string(folder.join(CREDENTIALS)).ok()?;
    serde_json::from_str(&text).ok()
}
