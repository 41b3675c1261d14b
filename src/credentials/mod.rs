//! What this run may access: a private Docker configuration that names our credential helper.
//!
//! In: the plan's registries, other registries' logins, a folder of this run alone, the environment. Out: [`Credentials`],
//! whose variables the build's processes get. BuildKit asks buildx for logins, buildx reads
//! `DOCKER_CONFIG/config.json` and calls the helper again after 4 min 50 s
//! (<https://github.com/docker/buildx/blob/461836ba0/util/dockerutil/dockerconfig/configprovider.go>),
//! so that a token can be renewed in mid-build. Nothing secret stands in an argument or in
//! `config.json`; the first ECR tokens are handed to the helper through files of mode 0600.

mod docker_config;
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
use thiserror::Error;

use crate::aws::{self, TOKENS_VARIABLE, ecr};
use crate::inputs::registry_auth::Login;
use crate::runner::env::{CONTAINER_TOKEN, CONTAINER_TOKEN_FILE, Env};
use crate::runner::private::{PrivateError, create_private_folder, write_private};

/// Name of the helper as `config.json` has it; Docker puts `docker-credential-` before it.
const HELPER: &str = "fast-ecr-push";
/// Name under which our binary is the helper.
pub(crate) const HELPER_PROGRAM: &str = "docker-credential-fast-ecr-push";
/// Name of the kubeconfig in the run's folder.
pub(crate) const KUBECONFIG_FILE: &str = "kubeconfig";
/// Its name once another builder has taken over, where something may be left in the cluster.
pub(crate) const FORMER_KUBECONFIG_FILE: &str = "former-kubeconfig";
/// Name of the folder for tokens in the run's folder.
pub(crate) const TOKENS_FOLDER: &str = "tokens";

/// The private Docker configuration of a run.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// Variables for the processes that build.
    pub env: BTreeMap<String, OsString>,
    /// Where the helper looks for tokens.
    pub tokens: PathBuf,
    logins: Vec<Login>,
}

/// Credentials could not be had or kept.
#[derive(Debug, Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("could not link the credential helper as `{}`", path.display())]
    Link {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not read the Docker configuration `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not read the Docker configuration `{}`", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Ecr(#[from] ecr::EcrError),
    #[error(transparent)]
    Aws(#[from] aws::SessionError),
}

impl CredentialsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Ecr(error) => error.hint(),
            Self::Aws(error) => error.hint(),
            Self::Parse { .. } => Some("is it JSON? `docker login` writes it anew".to_owned()),
            Self::Private(_) | Self::Link { .. } | Self::Read { .. } => None,
        }
    }
}

impl Credentials {
    /// Writes the configuration into the run's folder.
    ///
    /// # Errors
    /// When the folder can't be written, or the user's own configuration can't be read.
    pub(crate) fn prepare(
        folder: &Path,
        registries: &[Registry],
        logins: &[Login],
        env: &Env,
    ) -> Result<Self, CredentialsError> {
        let docker = folder.join("docker");
        let bin = folder.join("bin");
        let tokens = folder.join(TOKENS_FOLDER);
        for path in [&docker, &bin, &tokens] {
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
        let own = docker_config::users_own(env)?;
        let config = docker_config::private(own, &hosts, HELPER);
        write_private(&docker.join("config.json"), config.to_string().as_bytes())?;
        logins::write(&others, &tokens, &docker)?;
        docker_config::write_node_id(&docker, env)?;
        let program = bin.join(HELPER_PROGRAM);
        std::env::current_exe()
            .and_then(|this| match symlink(this, &program) {
                // A second builder of this run, after the first could not be had.
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
            // Usually the folder beside Docker's configuration; a variable of the user's must not make it another one, where
            // builders of ours would be noted for ever.
            (
                "BUILDX_CONFIG".to_owned(),
                folder.join("docker/buildx").into_os_string(),
            ),
            ("PATH".to_owned(), path.into()),
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

    /// Whether user and password of a host are given as they are.
    pub(crate) fn knows(&self, host: &str) -> bool {
        let mut logins = self.logins.iter();
        logins.any(|login| !login.is_ecr && login.scope.is_none() && login.registry.host() == host)
    }

    /// The AWS keys that are given for a host: id and secret.
    pub(crate) fn keys(&self, host: &str) -> Option<(&str, &SecretString)> {
        let mut logins = self.logins.iter();
        let login = logins.find(|login| login.is_ecr && login.registry.host() == host)?;
        let (id, secret) = login.user.as_ref()?;
        Some((id, secret))
    }

    /// Gives the helper a token for a registry, so that it need not fetch it again.
    pub(crate) fn keep(
        &self,
        registry: &Registry,
        token: &ecr::Token,
    ) -> Result<(), CredentialsError> {
        let path = self.tokens.join(helper::token_file(registry.host()));
        Ok(write_private(&path, token.to_file().as_bytes())?)
    }
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
            .keep(&registry, &ecr::Token::new("hidden", jiff::Timestamp::MAX))
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
        assert!(files >= 6);
    }
}
