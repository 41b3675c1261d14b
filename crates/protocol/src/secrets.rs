//! Logins and network settings that may hold passwords: a build secret, never in a context or an argument.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

/// What the step needs to talk to registries.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// By host of the registry.
    pub logins: BTreeMap<String, Login>,
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
        };
        assert!(!format!("{secrets:?}").contains("hunter2"));
        let text = serde_json::to_string(&secrets).unwrap();
        let read: Secrets = serde_json::from_str(&text).unwrap();
        assert_eq!(read.logins["r.example"].password.expose_secret(), "hunter2");
    }
}
