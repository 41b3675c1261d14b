//! The private `config.json`, based on the user's.
//!
//! Format: <https://github.com/docker/cli/blob/master/cli/config/configfile/file.go>. The user's logins
//! stay; our helper serves the run's ECR hosts. Without a credential store and logins (as in the
//! action's container) our helper is the store, so that it also serves ECR hosts in FROM lines.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::error::CredentialsError;
use super::logins;
use crate::runner::env::Env;
use crate::runner::private::{create_private_folder, write_private};

/// The user's configuration; empty if there is none.
pub(super) fn user_config(env: &Env) -> Result<Map<String, Value>, CredentialsError> {
    let path = match (env.path("DOCKER_CONFIG"), env.path("HOME")) {
        (Some(folder), _) => folder.join("config.json"),
        (None, Some(home)) => home.join(".docker/config.json"),
        (None, None) => return Ok(Map::new()),
    };
    match fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|source| CredentialsError::Parse { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(source) => Err(CredentialsError::Read { path, source }),
    }
}

pub(super) fn private(own: Map<String, Value>, ecr_hosts: &[&str], helper: &str) -> Value {
    /// Settings for logins and requests. Others do not work in the private folder, such as the
    /// current context.
    const COPIED: &[&str] = &[
        "auths",
        "credHelpers",
        "credsStore",
        "HttpHeaders",
        "proxies",
    ];
    let mut config: Map<String, Value> = own
        .into_iter()
        .filter(|(key, _)| COPIED.contains(&key.as_str()))
        .collect();
    let is_set = |config: &Map<String, Value>, key: &str| match config.get(key) {
        None | Some(Value::Null) => false,
        Some(Value::Object(entries)) => !entries.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    if !is_set(&config, "auths") && !is_set(&config, "credsStore") {
        config.insert("credsStore".to_owned(), json!(helper));
    }
    for host in ecr_hosts {
        let helpers = config.entry("credHelpers").or_insert(Value::Null);
        if helpers.is_null() {
            *helpers = json!({});
        }
        if let Value::Object(helpers) = helpers {
            helpers.insert((*host).to_owned(), json!(helper));
        }
        // docker/cli prefers a host's helper, but an old login must not stay either.
        if let Some(Value::Object(auths)) = config.get_mut("auths") {
            auths.remove(*host);
        }
    }
    Value::Object(config)
}

/// A host's login that the configuration itself holds: user and password in base64.
pub(super) fn login(docker: &Path, host: &str) -> Option<(String, SecretString)> {
    let text = fs::read(docker.join("config.json")).ok()?;
    let config: Value = serde_json::from_slice(&text).ok()?;
    let auth = config
        .get("auths")?
        .get(logins::key(host))?
        .get("auth")?
        .as_str()?;
    let auth = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = auth.split_once(':')?;
    Some((user.to_owned(), password.into()))
}

/// Gives buildx the same node id in every run of this runner or machine. BuildKit keeps an uploaded
/// context under a key with this id, so that a persistent builder receives only the changes
/// (`TryNodeIdentifier`: 16 hexadecimal digits in
/// <https://github.com/docker/buildx/blob/461836ba0/util/confutil/config.go>).
pub(super) fn write_node_id(docker: &Path, env: &Env) -> Result<(), CredentialsError> {
    let folder = docker.join("buildx");
    create_private_folder(&folder)?;
    let mut hasher = DefaultHasher::new();
    for variable in ["GITHUB_REPOSITORY", "GITHUB_WORKSPACE", "HOME"] {
        env.get(variable).hash(&mut hasher);
    }
    // In a container the host name is the container's id, which changes with each run.
    let machine = env.get("RUNNER_NAME").or(env.get("HOSTNAME"));
    machine.hash(&mut hasher);
    let id = format!("{:016x}", hasher.finish());
    Ok(write_private(&folder.join(".buildNodeID"), id.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn docker_hubs_login_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let auth = STANDARD.encode("user:secret");
        let config = json!({"auths": {
            "https://index.docker.io/v1/": {"auth": auth},
            "r.example": {"auth": auth},
        }});
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        for (host, is_known) in [("docker.io", true), ("r.example", true), ("other", false)] {
            let found = login(folder.path(), host).map(|(user, _)| user);
            assert_eq!(found.as_deref() == Some("user"), is_known, "{host}");
        }
    }

    #[test]
    fn our_helper_serves_ecr_hosts_and_the_users_logins_stay() {
        let ecr = "1.dkr.ecr.eu-west-1.amazonaws.com";
        let cases = [
            (
                "no configuration",
                json!({}),
                json!({"credsStore": "h", "credHelpers": {ecr: "h"}}),
            ),
            (
                "logins in the file",
                json!({"auths": {"ghcr.io": {"auth": "eA=="}, ecr: {"auth": "b2xk"}}, "currentContext": "desktop"}),
                json!({"auths": {"ghcr.io": {"auth": "eA=="}}, "credHelpers": {ecr: "h"}}),
            ),
            (
                "a store of its own",
                json!({"credsStore": "pass", "credHelpers": {"gcr.io": "gcloud"}}),
                json!({"credsStore": "pass", "credHelpers": {"gcr.io": "gcloud", ecr: "h"}}),
            ),
            (
                "empty entries",
                json!({"auths": {}, "credsStore": ""}),
                json!({"auths": {}, "credsStore": "h", "credHelpers": {ecr: "h"}}),
            ),
            (
                "entries of nothing",
                json!({"auths": null, "credsStore": null, "credHelpers": null}),
                json!({"auths": null, "credsStore": "h", "credHelpers": {ecr: "h"}}),
            ),
        ];
        for (name, own, expected) in cases {
            assert_eq!(private(object(own), &[ecr], "h"), expected, "{name}");
        }
    }

    #[test]
    fn runs_on_one_runner_have_one_node_id_in_different_containers() {
        let id = |runner: &[(&str, &str)], container: &str| {
            let folder = tempfile::tempdir().unwrap();
            create_private_folder(folder.path()).unwrap();
            let pairs = [("GITHUB_REPOSITORY", "octo/app"), ("HOSTNAME", container)];
            let pairs = pairs.iter().chain(runner);
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            write_node_id(folder.path(), &Env::default().with(pairs)).unwrap();
            fs::read_to_string(folder.path().join("buildx/.buildNodeID")).unwrap()
        };
        let one = [("RUNNER_NAME", "one")];
        assert_eq!(id(&one, "0123456789ab"), id(&one, "ba9876543210"));
        assert_ne!(id(&one, "host"), id(&[("RUNNER_NAME", "two")], "host"));
        // Without a runner's name the machine's name counts.
        assert_ne!(id(&[], "one"), id(&[], "two"));
    }

    #[test]
    fn an_invalid_configuration_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), "not json").unwrap();
        let path = folder.path().to_string_lossy().into_owned();
        let error = user_config(&Env::from([("DOCKER_CONFIG", &*path)])).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}
