//! A run's credentials: a private Docker configuration that names our credential helper.
//!
//! BuildKit asks buildx for logins. buildx reads `DOCKER_CONFIG/config.json` and calls the helper again
//! after 4 min 50 s
//! (<https://github.com/docker/buildx/blob/461836ba0/util/dockerutil/dockerconfig/configprovider.go>),
//! so that tokens are renewed during a build. No secret is in an argument or in `config.json`: the
//! helper gets the first ECR tokens from files of mode 0600.

#[cfg(test)]
#[path = "../../tests/any_bytes/credentials.rs"]
pub(crate) mod any_bytes;
mod docker_config;
mod error;
pub(crate) mod helper;
pub(crate) mod kubeconfig;
mod logins;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use image::Registry;
use secrecy::SecretString;

use crate::aws::{TOKENS_VARIABLE, ecr};
use crate::inputs::registry_auth::Login;
use crate::runner::env::{CONTAINER_TOKEN, CONTAINER_TOKEN_FILE, Env};
use crate::runner::private::{create_private_folder, write_private};
pub(crate) use error::CredentialsError;

/// The helper's name in `config.json`. Docker prepends `docker-credential-`.
const HELPER: &str = "fast-ecr-push";
/// The program name under which our binary is the helper.
pub(crate) const HELPER_PROGRAM: &str = "docker-credential-fast-ecr-push";
/// The kubeconfig in the run's folder.
pub(crate) const KUBECONFIG_FILE: &str = "kubeconfig";
/// The kubeconfig of a cluster that another builder replaced; it may still need a cleanup.
pub(crate) const FORMER_KUBECONFIG_FILE: &str = "former-kubeconfig";
/// The variable that names the folder for temporary files.
pub(crate) const TEMPORARY: &str = "TMPDIR";
/// The folder for tokens in the run's folder.
pub(crate) const TOKENS_FOLDER: &str = "tokens";

/// The private Docker configuration of a run.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// Variables for the build's processes.
    pub env: BTreeMap<String, OsString>,
    /// The folder with the helper's tokens.
    pub tokens: PathBuf,
    /// The private Docker configuration.
    docker: PathBuf,
    logins: Vec<Login>,
}

impl Credentials {
    /// Writes the configuration into the run's folder.
    pub(crate) fn prepare(
        folder: &Path,
        registries: &[Registry],
        logins: &[Login],
        env: &Env,
    ) -> Result<Self, CredentialsError> {
        let docker = folder.join("docker");
        let bin = folder.join("bin");
        let tokens = folder.join(TOKENS_FOLDER);
        for path in [&docker, &bin, &tokens, &temporary(folder)] {
            create_private_folder(path)?;
        }
        let others: Vec<&Login> = logins.iter().filter(|login| !login.is_ecr).collect();
        let general = others.iter().filter(|login| login.scope.is_none());
        let hosts: Vec<&str> = registries
            .iter()
            .filter(|registry| !matches!(registry, Registry::Other { .. }))
            .map(Registry::host)
            .chain(general.map(|login| logins::key(login.registry.host())))
            .collect();
        let own = docker_config::user_config(env)?;
        let config = docker_config::private(own, &hosts, HELPER);
        write_private(&docker.join("config.json"), config.to_string().as_bytes())?;
        logins::write(&others, &tokens, &docker)?;
        docker_config::write_node_id(&docker, env)?;
        let program = bin.join(HELPER_PROGRAM);
        std::env::current_exe()
            .and_then(|this| match symlink(this, &program) {
                // The fallback builder of this run.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            })
            .map_err(|source| CredentialsError::Link {
                path: program,
                source,
            })?;
        let mut variables = Self::variables(folder, env);
        if let (Some(token), None) = (env.get(CONTAINER_TOKEN), env.get(CONTAINER_TOKEN_FILE)) {
            let path = tokens.join("container-authorization");
            write_private(&path, token.as_bytes())?;
            variables.insert(CONTAINER_TOKEN_FILE.to_owned(), path.into_os_string());
        }
        Ok(Self {
            env: variables,
            tokens,
            docker,
            logins: logins.to_vec(),
        })
    }

    /// The variables for processes that use the configuration in a run's folder.
    pub(crate) fn variables(folder: &Path, env: &Env) -> BTreeMap<String, OsString> {
        let bin = folder.join("bin");
        let path = match env.get("PATH") {
            Some(path) => format!("{}:{path}", bin.display()),
            None => bin.display().to_string(),
        };
        let mut variables = BTreeMap::from([
            (
                "DOCKER_CONFIG".to_owned(),
                folder.join("docker").into_os_string(),
            ),
            // The user's own BUILDX_CONFIG would keep our builders for ever.
            (
                "BUILDX_CONFIG".to_owned(),
                folder.join("docker/buildx").into_os_string(),
            ),
            ("PATH".to_owned(), path.into()),
            // buildx leaves Dockerfiles there if it is killed or the disk is full.
            (TEMPORARY.to_owned(), temporary(folder).into_os_string()),
            (
                TOKENS_VARIABLE.to_owned(),
                folder.join(TOKENS_FOLDER).into_os_string(),
            ),
        ]);
        let kubeconfig = folder.join(KUBECONFIG_FILE);
        if kubeconfig.is_file() {
            variables.insert("KUBECONFIG".to_owned(), kubeconfig.into_os_string());
        }
        variables
    }

    /// The user and password that BuildKit would get for a host. None where only a foreign credential helper may know them.
    pub(crate) fn login(&self, host: &str) -> Option<(String, SecretString)> {
        logins::find(&self.tokens, host)
            .or_else(|| helper::stored(&self.tokens, host))
            .or_else(|| docker_config::login(&self.docker, host))
    }

    /// Whether the inputs have a user and password for a host.
    pub(crate) fn has_login(&self, host: &str) -> bool {
        let mut logins = self.logins.iter();
        logins.any(|login| !login.is_ecr && login.scope.is_none() && login.registry.host() == host)
    }

    /// The AWS keys for a host in the inputs: id and secret.
    pub(crate) fn aws_keys(&self, host: &str) -> Option<(&str, &SecretString)> {
        let mut logins = self.logins.iter();
        let login = logins.find(|login| login.is_ecr && login.registry.host() == host)?;
        let (id, secret) = login.user.as_ref()?;
        Some((id, secret))
    }

    /// Stores a token for the helper, which then does not request one.
    pub(crate) fn store_token(
        &self,
        registry: &Registry,
        token: &ecr::Token,
    ) -> Result<(), CredentialsError> {
        let path = self.tokens.join(helper::token_file(registry.host()));
        Ok(write_private(&path, token.to_file().as_bytes())?)
    }
}

/// The folder for temporary files of the build's processes.
fn temporary(folder: &Path) -> PathBuf {
    folder.join("tmp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::EcrRegistry;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn nothing_it_writes_can_be_read_by_others() {
        let folder = crate::runner::folder::create(&Env::default()).unwrap();
        let registry = Registry::Ecr(EcrRegistry::new("123456789012", "eu-west-1").unwrap());
        let credentials = Credentials::prepare(
            folder.path(),
            std::slice::from_ref(&registry),
            &[],
            &Env::from([("PATH", "/bin")]),
        )
        .unwrap();
        credentials
            .store_token(&registry, &ecr::Token::new("hidden", jiff::Timestamp::MAX))
            .unwrap();
        let mut pending = vec![folder.path().to_owned()];
        let mut files = 0;
        while let Some(path) = pending.pop() {
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                pending.extend(
                    std::fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
            if !metadata.is_symlink() {
                files += 1;
                assert_eq!(
                    metadata.permissions().mode() & 0o077,
                    0,
                    "{}",
                    path.display()
                );
            }
        }
        assert!(files >= 7);
    }
}
