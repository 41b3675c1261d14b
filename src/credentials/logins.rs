//! Logins of the input `registry-auth` for registries that are not Amazon's.
//!
//! Our helper reads them from a private file, because Docker does not ask a helper when `config.json`
//! has `auths`. A login with a scope goes to `$DOCKER_CONFIG/buildx/config/HOST/SCOPE/config.json`
//! (<https://github.com/docker/buildx/blob/461836ba0/util/dockerutil/dockerconfig/configprovider.go>).

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::error::CredentialsError;
use crate::inputs::registry_auth::Login;
use crate::runner::private::{create_private_folder, write_private};

const FILE: &str = "logins.json";

/// Docker Hub's names in image references and in Docker's configuration
/// (<https://github.com/docker/cli/blob/master/cli/config/configfile/file.go>).
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB_HOST: &str = "index.docker.io";
const DOCKER_HUB_REGISTRY: &str = "registry-1.docker.io";

/// A host's name in Docker's configuration.
pub(super) fn key(host: &str) -> &str {
    if host == DOCKER_HUB {
        DOCKER_HUB_KEY
    } else {
        host
    }
}

/// Writes the logins: those without scope for the helper, the others for buildx.
pub(super) fn write(
    logins: &[&Login],
    tokens: &Path,
    docker: &Path,
) -> Result<(), CredentialsError> {
    let mut file = BTreeMap::new();
    for login in logins {
        let Some((user, password)) = &login.user else {
            continue;
        };
        let host = login.registry.host();
        match &login.scope {
            None => {
                file.insert(host, (user.as_str(), password.expose_secret()));
            }
            Some(scope) => {
                let basic = Login::basic(user, password);
                let config = json!({"auths": {key(host): {"auth": basic.expose_secret()}}});
                let folder = if host == DOCKER_HUB {
                    DOCKER_HUB_REGISTRY
                } else {
                    host
                };
                let folder = match scope.strip_prefix('@') {
                    Some(actions) => format!("{folder}@{actions}"),
                    None => format!("{folder}/{scope}"),
                };
                let folder = docker.join("buildx/config").join(folder);
                create_private_folder(&folder)?;
                write_private(&folder.join("config.json"), config.to_string().as_bytes())?;
            }
        }
    }
    // Text in maps always serializes.
    let text = serde_json::to_string(&file).unwrap_or_default();
    Ok(write_private(&tokens.join(FILE), text.as_bytes())?)
}

/// The run's login for a host.
pub(super) fn find(tokens: &Path, host: &str) -> Option<(String, SecretString)> {
    let text = std::fs::read_to_string(tokens.join(FILE)).ok()?;
    let mut file: BTreeMap<String, (String, String)> = serde_json::from_str(&text).ok()?;
    let hub = [DOCKER_HUB_HOST, DOCKER_HUB_REGISTRY].contains(&host);
    let (user, password) = file.remove(if hub { DOCKER_HUB } else { host })?;
    Some((user, SecretString::from(password)))
}
