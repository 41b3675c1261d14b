//! The registries that are asked, each over connections of its own, with the run's logins, proxies and certificates.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use image::{ImageRef, is_loopback};
use secrecy::{ExposeSecret as _, SecretString};
use upload::{
    Credentials as Login, Proxies, Registry, RegistrySettings, Repository, Settings, Timing,
    Uploader,
};

use super::Reason;
use crate::aws::error_chain;
use crate::credentials::Credentials;
use crate::network::Network;

/// Two short tries: a registry that is slower than a build costs more than it saves.
fn timing() -> Timing {
    Timing {
        connect: Duration::from_secs(3),
        silence: Duration::from_secs(5),
        answer: Duration::from_secs(5),
        tries: 2,
        longest_retry_after: Duration::from_secs(2),
        blob_lag: Duration::from_secs(5),
        ..Timing::default()
    }
}

/// User and password.
type Account = (String, SecretString);

fn is_same(one: Option<&Account>, other: Option<&Account>) -> bool {
    fn plain((user, password): &Account) -> (&str, &str) {
        (user, password.expose_secret())
    }
    one.map(plain) == other.map(plain)
}

/// The registries of a run. They live until its end, so that the key is written over the connections of the lookup.
#[derive(Debug)]
pub(crate) struct Registries<'a> {
    uploader: Uploader,
    /// By host, each with the login that it was given.
    known: Mutex<BTreeMap<String, (Registry, Option<Account>)>>,
    credentials: &'a Credentials,
    /// Whether this is a container, in which `localhost` is not the Engine's.
    isolated: bool,
}

impl<'a> Registries<'a> {
    /// # Errors
    /// When proxies or certificates are not usable.
    pub(crate) fn new(
        network: &Network,
        credentials: &'a Credentials,
        isolated: bool,
    ) -> Result<Self, Reason> {
        let settings = Settings {
            proxies: proxies(network),
            authorities: network.certificates.clone(),
            timing: timing(),
            ..Settings::default()
        };
        let uploader = Uploader::start(&settings).map_err(|error| error_chain(&error))?;
        Ok(Self {
            uploader,
            known: Mutex::default(),
            credentials,
            isolated,
        })
    }

    /// The repository of an image.
    pub(super) fn repository(&self, name: &ImageRef) -> Result<Repository, Reason> {
        let host = &name.host;
        if self.isolated && is_loopback(host) {
            return Err(format!(
                "`{host}` is another machine in this container, and can't be asked"
            ));
        }
        // Nothing can panic while it is held.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Tokens are renewed during a build.
        let login = self.credentials.login(host);
        let registry = match known.get(host) {
            Some((registry, of)) if is_same(of.as_ref(), login.as_ref()) => registry.clone(),
            _ => {
                let mut settings = RegistrySettings::new(host.clone());
                if let Some((user, password)) = login.clone() {
                    settings.credentials = Login::Basic { user, password };
                }
                let registry = self.uploader.registry(settings);
                let registry = registry.map_err(|error| error_chain(&error))?;
                known.insert(host.clone(), (registry.clone(), login));
                registry
            }
        };
        Ok(registry.repository(&name.repository))
    }

    pub(super) fn uploader(&self) -> &Uploader {
        &self.uploader
    }
}

/// As programs read the variables: a list of `ALL_PROXY` is for what has none of its own.
fn proxies(network: &Network) -> Proxies {
    let value = |name: &str| {
        let mut variables = network.proxy.iter();
        let variable = variables.find(|variable| variable.name.eq_ignore_ascii_case(name));
        variable.map(|variable| variable.value.clone())
    };
    let address = |name| value(name).or_else(|| value("ALL_PROXY")).map(Into::into);
    Proxies {
        http: address("HTTP_PROXY"),
        https: address("HTTPS_PROXY"),
        no_proxy: value("NO_PROXY").unwrap_or_default(),
    }
}
