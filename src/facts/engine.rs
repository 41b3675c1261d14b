//! The Docker Engine and its image store.
//!
//! Only with containerd's image store can the Engine's own BuildKit push, choose the compression and
//! export caches (<https://docs.docker.com/engine/storage/containerd/>).

use bollard::{API_DEFAULT_VERSION, Docker};
use http::{HeaderValue, header};

use super::address::Address;
use crate::aws::error_chain;
use crate::runner::USER_AGENT;
use crate::runner::env::Env;

/// Time limit of a request (seconds). A healthy Engine takes milliseconds.
const TIMEOUT: u64 = 20;

type ClientError = Box<dyn std::error::Error + Send + Sync>;

/// A Docker Engine that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Engine {
    pub address: Address,
    pub version: String,
    pub store: ImageStore,
    /// The Engine's platform, `linux/amd64`.
    pub platform: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageStore {
    Containerd,
    /// The older graph drivers.
    Classic,
}

impl Engine {
    /// A placeholder for builders without an Engine.
    pub(crate) fn none() -> Self {
        Self {
            address: Address::usual(),
            version: String::new(),
            store: ImageStore::Containerd,
            platform: String::new(),
        }
    }

    /// Asks the Engine, or says why it does not answer.
    pub(super) async fn ask(env: &Env) -> Result<Self, String> {
        let address = Address::of(env)?;
        Self::ask_at(&address).await.map_err(|error| {
            let (host, reason) = (&address.host, error_chain(&*error));
            format!("could not reach the Docker Engine at `{host}`: {reason}")
        })
    }

    async fn ask_at(address: &Address) -> Result<Self, ClientError> {
        let docker = address.client().await?;
        let info = docker.info().await?;
        let containerd = info.driver_status.iter().flatten().any(|row| {
            matches!(row.as_slice(), [key, value]
                if key == "driver-type" && value.starts_with("io.containerd.snapshotter"))
        });
        let os = info.os_type.unwrap_or_else(|| "linux".to_owned());
        Ok(Self {
            address: address.clone(),
            version: info.server_version.unwrap_or_default(),
            store: if containerd {
                ImageStore::Containerd
            } else {
                ImageStore::Classic
            },
            platform: format!(
                "{os}/{}",
                architecture(&info.architecture.unwrap_or_default())
            ),
        })
    }
}

impl Address {
    /// A client of the Engine's API, with a negotiated version.
    pub(crate) async fn client(&self) -> Result<Docker, ClientError> {
        let Self { host, certificates } = self;
        let docker = match (host.split_once("://"), certificates) {
            (Some(("unix", path)), _) => {
                Docker::connect_with_unix(path, TIMEOUT, API_DEFAULT_VERSION)?
            }
            (Some(("tcp", _)), Some(folder)) => {
                let [key, certificate, authority] =
                    ["key.pem", "cert.pem", "ca.pem"].map(|name| folder.join(name));
                Docker::connect_with_ssl(
                    host,
                    &key,
                    &certificate,
                    &authority,
                    TIMEOUT,
                    API_DEFAULT_VERSION,
                )?
            }
            (Some(("tcp" | "http", _)), None) => {
                Docker::connect_with_http(host, TIMEOUT, API_DEFAULT_VERSION)?
            }
            _ => return Err("only unix:// and tcp:// addresses are supported".into()),
        };
        let docker = docker.with_request_modifier(|mut request| {
            let agent = HeaderValue::from_static(USER_AGENT);
            request.headers_mut().insert(header::USER_AGENT, agent);
            request
        });
        Ok(docker.negotiate_version().await?)
    }
}

/// An image platform's architecture, from the kernel's name.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "arm/v7",
        "armv6l" => "arm/v6",
        "i686" | "i386" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_engine_is_named_with_the_reason() {
        let env = Env::from([("DOCKER_HOST", "unix:///nowhere/docker.sock")]);
        let reason = Engine::ask(&env).await.unwrap_err();
        assert!(
            reason.starts_with(
                "could not reach the Docker Engine at `unix:///nowhere/docker.sock`: "
            ),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn refuses_another_kind_of_address() {
        let env = Env::from([("DOCKER_HOST", "ssh://host")]);
        let reason = Engine::ask(&env).await.unwrap_err();
        assert!(
            reason.ends_with("only unix:// and tcp:// addresses are supported"),
            "{reason}"
        );
    }
}
