//! The Docker Engine's address, found as the Docker CLI does.
//!
//! Precedence: `DOCKER_HOST` > the context of `DOCKER_CONTEXT` > that of `docker context use`
//! (<https://docs.docker.com/engine/manage-resources/contexts/>, `resolveContextName` in
//! <https://github.com/docker/cli/blob/0155c264/cli/command/cli.go>) > the default socket.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::runner::env::Env;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The context without a file: `DOCKER_HOST`, or the default socket.
const DEFAULT_CONTEXT: &str = "default";

/// An Engine's address and certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// In the form of `DOCKER_HOST`.
    pub host: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`, for TLS.
    pub certificates: Option<PathBuf>,
}

/// A part of the CLI's `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CliConfig {
    current_context: String,
}

/// A context's `meta.json`
/// (<https://github.com/docker/cli/blob/0155c264/cli/context/store/doc.go>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    name: String,
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verification: bool,
}

impl Address {
    /// The address that the CLI would use.
    pub(crate) fn of(env: &Env) -> Result<Self, String> {
        let folder = cli_folder(env);
        if env.get("DOCKER_HOST").is_none()
            && let Some(folder) = &folder
            && let Some(context) = context(folder, env)
        {
            return Self::of_context(&context, &folder.join("contexts"));
        }
        let host = env.get("DOCKER_HOST").unwrap_or(DEFAULT_HOST).to_owned();
        let verified = env.get("DOCKER_TLS_VERIFY").is_some();
        let certificates = env
            .get("DOCKER_TLS_VERIFY")
            .or_else(|| env.get("DOCKER_TLS"))
            .filter(|_| host.starts_with("tcp://"))
            .and_then(|_| env.path("DOCKER_CERT_PATH").map(Path::to_owned).or(folder));
        // Unlike the CLI we verify every Engine.
        if let Some(folder) = certificates.as_ref().filter(|_| !verified)
            && !folder.join("ca.pem").is_file()
        {
            return Err(format!(
                "variable `DOCKER_TLS`: `{host}` would not be verified, expected its authority as `ca.pem` in `{}` \
                 (`DOCKER_CERT_PATH` sets another folder)",
                folder.display()
            ));
        }
        Ok(Self { host, certificates })
    }

    pub(crate) fn usual() -> Self {
        Self {
            host: DEFAULT_HOST.to_owned(),
            certificates: None,
        }
    }

    /// The address as variables for buildx, whose private configuration has no contexts.
    pub(crate) fn variables(&self) -> BTreeMap<String, OsString> {
        let mut variables = BTreeMap::from([("DOCKER_HOST".to_owned(), (&self.host).into())]);
        if let Some(folder) = &self.certificates {
            variables.insert("DOCKER_TLS_VERIFY".to_owned(), "1".into());
            variables.insert("DOCKER_CERT_PATH".to_owned(), folder.into());
        }
        variables
    }

    /// A context's folder is named by the digest of its name, so each `meta.json` is read.
    fn of_context(name: &str, contexts: &Path) -> Result<Self, String> {
        let entries = fs::read_dir(contexts.join("meta")).into_iter().flatten();
        let found = entries.flatten().find_map(|entry| {
            let text = fs::read(entry.path().join("meta.json")).ok()?;
            let metadata: Metadata = serde_json::from_slice(&text).ok()?;
            (metadata.name == name).then(|| (entry.file_name(), metadata))
        });
        let Some((folder, mut metadata)) = found else {
            return Err(format!(
                "the Docker context `{name}` was not found in `{}`; choose another with `docker context use`",
                contexts.display()
            ));
        };
        let Some(endpoint) = metadata.endpoints.remove("docker") else {
            return Err(format!("the Docker context `{name}` has no Engine"));
        };
        if endpoint.skip_verification {
            return Err(format!(
                "the Docker context `{name}` does not verify its Engine (`skip-tls-verify`), which is not supported"
            ));
        }
        let certificates = contexts.join("tls").join(folder).join("docker");
        Ok(Self {
            host: endpoint.host,
            certificates: certificates.is_dir().then_some(certificates),
        })
    }
}

fn cli_folder(env: &Env) -> Option<PathBuf> {
    match env.path("DOCKER_CONFIG") {
        Some(folder) => Some(folder.to_owned()),
        None => Some(env.path("HOME")?.join(".docker")),
    }
}

/// The chosen context, unless it is the default one. The login reports an unreadable configuration.
fn context(folder: &Path, env: &Env) -> Option<String> {
    let chosen = env.get("DOCKER_CONTEXT").map(str::to_owned).or_else(|| {
        let text = fs::read(folder.join("config.json")).ok()?;
        let config: CliConfig = serde_json::from_slice(&text).ok()?;
        Some(config.current_context)
    });
    chosen.filter(|name| !name.is_empty() && name != DEFAULT_CONTEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CLI folder with contexts, the second of which has certificates.
    fn cli(current: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(r#"{{"auths":{{}},"currentContext":"{current}"}}"#);
        fs::write(folder.path().join("config.json"), config).unwrap();
        for (name, id, docker) in [
            (
                "desktop",
                "a1",
                r#""docker":{"Host":"unix:///home/me/docker.sock"}"#,
            ),
            (
                "remote",
                "b2",
                r#""docker":{"Host":"tcp://build:2376","SkipTLSVerify":false}"#,
            ),
            (
                "lax",
                "c3",
                r#""docker":{"Host":"tcp://build:2376","SkipTLSVerify":true}"#,
            ),
            ("other", "d4", ""),
        ] {
            let meta = folder.path().join("contexts/meta").join(id);
            fs::create_dir_all(&meta).unwrap();
            let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{{docker}}}}}"#);
            fs::write(meta.join("meta.json"), text).unwrap();
        }
        fs::create_dir_all(folder.path().join("contexts/tls/b2/docker")).unwrap();
        folder
    }

    fn address(current: &str, variables: &[(&str, &str)]) -> Result<(String, bool), String> {
        let folder = cli(current);
        let config = folder.path().to_string_lossy().into_owned();
        let variables = [("DOCKER_CONFIG", &*config)]
            .into_iter()
            .chain(variables.iter().copied())
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let address = Address::of(&Env::default().with(variables))?;
        Ok((address.host, address.certificates.is_some()))
    }

    #[test]
    fn an_engine_is_found_as_the_docker_cli_finds_it() {
        let plain = |host: &str| Ok((host.to_owned(), false));
        let cases: [(&str, &[(&str, &str)], _); 9] = [
            ("", &[], plain(DEFAULT_HOST)),
            ("default", &[], plain(DEFAULT_HOST)),
            ("desktop", &[], plain("unix:///home/me/docker.sock")),
            (
                "desktop",
                &[("DOCKER_CONTEXT", "default")],
                plain(DEFAULT_HOST),
            ),
            (
                "desktop",
                &[("DOCKER_CONTEXT", "remote")],
                Ok(("tcp://build:2376".to_owned(), true)),
            ),
            (
                "desktop",
                &[("DOCKER_HOST", "tcp://here:2375")],
                plain("tcp://here:2375"),
            ),
            (
                "",
                &[
                    ("DOCKER_HOST", "tcp://here:2376"),
                    ("DOCKER_TLS_VERIFY", "1"),
                ],
                Ok(("tcp://here:2376".to_owned(), true)),
            ),
            ("", &[("DOCKER_TLS_VERIFY", "1")], plain(DEFAULT_HOST)),
            (
                "",
                &[("DOCKER_HOST", "unix:///a"), ("DOCKER_CONTEXT", "remote")],
                plain("unix:///a"),
            ),
        ];
        for (current, variables, expected) in cases {
            assert_eq!(
                address(current, variables),
                expected,
                "{current} {variables:?}"
            );
        }
    }

    /// `DOCKER_TLS` is the CLI's `--tls` (`EnvEnableTLS` in
    /// <https://github.com/docker/cli/blob/v29.6.2/cli/flags/options.go>), which takes any certificate.
    #[test]
    fn tls_that_is_only_switched_on_is_verified_or_refused() {
        let folder = cli("");
        let path = folder.path().to_string_lossy().into_owned();
        let of = |host: &str| {
            Address::of(&Env::from([
                ("DOCKER_HOST", host),
                ("DOCKER_TLS", "1"),
                ("DOCKER_CERT_PATH", &path),
            ]))
        };
        let reason = of("tcp://here:2376").unwrap_err();
        assert!(
            reason.starts_with(
                "variable `DOCKER_TLS`: `tcp://here:2376` would not be verified, expected"
            ),
            "{reason}"
        );
        assert_eq!(of("unix:///a").unwrap().certificates, None);
        fs::write(folder.path().join("ca.pem"), "").unwrap();
        let address = of("tcp://here:2376").unwrap();
        assert_eq!(address.certificates.as_deref(), Some(folder.path()));
        let variables = address.variables();
        assert_eq!(variables["DOCKER_TLS_VERIFY"], "1");
    }

    #[test]
    fn an_unusable_context_is_named() {
        for (context, words) in [
            ("missing", "`missing` was not found"),
            ("other", "`other` has no Engine"),
            ("lax", "`lax` does not verify"),
        ] {
            let reason = address(context, &[]).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
