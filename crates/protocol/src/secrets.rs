//! Logins and network settings that may hold passwords: a build secret, never in a context or an argument.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

/// What the step needs to talk to registries.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// By host of the registry.
    pub logins: BTreeMap<String, Login>,
    pub proxies: Proxies,
    /// Certificates of authorities to trust besides the usual ones, PEM.
    pub authorities: String,
}

/// Proxies between BuildKit and the registries. Printing shows no address: it may hold a password.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxies {
    /// Of registries without TLS, `http://[USER:PASSWORD@]HOST:PORT`.
    pub http: Option<SecretString>,
    /// Of registries with TLS.
    pub https: Option<SecretString>,
    /// Hosts, domains, addresses and networks without a proxy, separated by commas.
    pub no_proxy: String,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxies").finish_non_exhaustive()
    }
}

/// Into the file of the secret, and nowhere else.
impl Serialize for Proxies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = |value: &Option<SecretString>| {
            value.as_ref().map(|value| value.expose_secret().to_owned())
        };
        let mut proxies = serializer.serialize_struct("Proxies", 3)?;
        proxies.serialize_field("http", &shown(&self.http))?;
        proxies.serialize_field("https", &shown(&self.https))?;
        proxies.serialize_field("no_proxy", &self.no_proxy)?;
        proxies.end()
    }
}

/// A login at a registry. Printing shows no password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub user: String,
    pub password: SecretString,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").finish_non_exhaustive()
    }
}

/// Into the file of the secret, and nowhere else.
impl Serialize for Login {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut login = serializer.serialize_struct("Login", 2)?;
        login.serialize_field("user", &self.user)?;
        login.serialize_field("password", self.password.expose_secret())?;
        login.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_written_and_not_printed() {
        let login = Login {
            user: "AWS".to_owned(),
            password: "hunter2".into(),
        };
        let secrets = Secrets {
            logins: [("r.example".to_owned(), login)].into(),
            proxies: Proxies {
                https: Some("http://u:hunter2@proxy:1".into()),
                ..Proxies::default()
            },
            authorities: String::new(),
        };
        assert!(!format!("{secrets:?}").contains("hunter2"));
        let text = serde_json::to_string(&secrets).unwrap();
        let read: Secrets = serde_json::from_str(&text).unwrap();
        assert_eq!(read.logins["r.example"].password.expose_secret(), "hunter2");
        let https = read.proxies.https.unwrap();
        assert_eq!(https.expose_secret(), "http://u:hunter2@proxy:1");
    }
}
