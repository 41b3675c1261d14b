//! What a run leaves for its own processes: settings, and a role's session while it is good.
//!
//! Two private files in the folder that [`super::TOKENS_VARIABLE`] names, gone with the run's folder.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::role::Assumed;
use super::settings::{Keys, Settings};

const SETTINGS: &str = "aws-settings";
pub(super) const CREDENTIALS: &str = "aws-credentials.json";

#[derive(Serialize, Deserialize)]
struct File {
    keys: Keys,
    expires: Timestamp,
    arn: String,
}

/// Name of the file with the settings for all registries, or for one that has its own.
pub(super) fn settings_file(host: Option<&str>) -> String {
    match host {
        Some(host) => format!("{SETTINGS}-{}.json", host.to_ascii_lowercase()),
        None => format!("{SETTINGS}.json"),
    }
}

/// Settings as a file's text. Holds what is secret in them.
pub(super) fn settings_text(settings: &Settings) -> String {
    // Plain fields always serialize.
    serde_json::to_string(settings).unwrap_or_default()
}

/// The settings in a file, if there are some.
pub(super) fn settings(path: &Path) -> Result<Option<Settings>, String> {
    match fs::read_to_string(path) {
        // What can't be read is not repeated: it holds secrets.
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| format!("`{}` is damaged", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// A role's session as a file's text. Holds the secrets.
pub(super) fn credentials_text(assumed: &Assumed) -> String {
    let file = File {
        keys: assumed.keys.clone(),
        expires: assumed.expires,
        arn: assumed.arn.clone(),
    };
    // Plain fields always serialize.
    serde_json::to_string(&file).unwrap_or_default()
}

/// A role's session in a folder, if there is one, good or not.
pub(super) fn credentials(folder: &Path) -> Option<Assumed> {
    let text = fs::read_to_string(folder.join(CREDENTIALS)).ok()?;
    let file: File = serde_json::from_str(&text).ok()?;
    Some(Assumed {
        keys: file.keys,
        expires: file.expires,
        arn: file.arn,
    })
}
