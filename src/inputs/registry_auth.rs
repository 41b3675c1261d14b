//! The input `registry-auth`: logins at other registries, as docker/login-action takes them.
//!
//! No error shows a value or an unknown key: the text may be a secret as a whole. Grammar:
//! <https://github.com/docker/login-action/blob/10ee3e8ae/src/context.ts> (`getAuthList`).

use std::collections::BTreeMap;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{self, ImageRef, Registry};
use secrecy::{ExposeSecret as _, SecretString};

use super::InputError;
use super::nearest::nearest;
use super::value::{Expected, Field, Form, Read, Single, Value};

/// Keys of an entry. `logout` changes nothing: logins end with the run.
const KEYS: &[&str] = &["registry", "username", "password", "scope", "ecr", "logout"];

/// Where an entry without registry logs in.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_HOSTS: &[&str] = &[DOCKER_HUB, "index.docker.io", "registry-1.docker.io"];

/// A registry to log in to.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub registry: Registry,
    /// User and password; an AWS key's id and secret where [`Self::is_ecr`]; none for the run's own
    /// AWS credentials.
    pub user: Option<(String, SecretString)>,
    /// What the login is for alone, `octo/app@push`.
    pub scope: Option<String>,
    /// Whether user and password are AWS keys, for which ECR gives a token.
    pub is_ecr: bool,
}

type Entry = BTreeMap<String, Option<String>>;

impl Login {
    /// What Docker calls user and password in one word; secret.
    pub(crate) fn basic(user: &str, password: &SecretString) -> SecretString {
        let both = format!("{user}:{}", password.expose_secret());
        SecretString::from(STANDARD.encode(both))
    }
}

impl Value for Vec<Login> {
    const FORM: Form = Form::Secret;

    fn read(field: &Field<'_>) -> Read<Self> {
        let entries = entries(field)?;
        let mut logins: Self = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let host = value(entry, "registry").map_or(DOCKER_HUB.to_owned(), |given| host(&given));
            let mut part = format!("entry {}", index + 1);
            if image::is_host(&host) {
                part += &format!(" (`{host}`)");
            }
            let wrong = |expected: Expected| vec![InputError::part(field.name, &part, expected)];
            let login = login(&host, entry).map_err(wrong)?;
            let same = |other: &Login| {
                (other.registry.host(), &other.scope) == (login.registry.host(), &login.scope)
            };
            if logins.iter().any(same) {
                return Err(wrong("one entry for each registry and scope".into()));
            }
            logins.push(login);
        }
        Ok(logins)
    }

    /// All of a text that cannot be read.
    fn to_mask(text: &str) -> Vec<SecretString> {
        let field = Field {
            name: "registry-auth",
            text,
            rules: &[],
        };
        let Ok(entries) = entries(&field) else {
            return vec![SecretString::from(text)];
        };
        let mut secrets = Vec::new();
        for entry in entries {
            let user = value(&entry, "username").unwrap_or_default();
            for key in entry.keys() {
                let value = SecretString::from(value(&entry, key).unwrap_or_default());
                if key == "password" {
                    secrets.push(Login::basic(&user, &value));
                }
                // The password may have a misspelled key.
                if key == "password" || !KEYS.contains(&key.as_str()) {
                    secrets.push(value);
                }
            }
        }
        secrets
    }
}

fn entries(field: &Field<'_>) -> Read<Vec<Entry>> {
    field.yaml(true, "a YAML list of `registry`, `username` and `password`")
}

fn value(entry: &Entry, key: &str) -> Option<String> {
    let text = entry.get(key)?.as_deref()?.trim();
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn ensure(holds: bool, expected: &'static str) -> Result<(), Expected> {
    if holds { Ok(()) } else { Err(expected.into()) }
}

/// Reads an entry; of an error the text says what is expected.
fn login(host: &str, entry: &Entry) -> Result<Login, Expected> {
    let value = |key| value(entry, key);
    if let Some(key) = entry.keys().find(|key| !KEYS.contains(&key.as_str())) {
        // Not the key: it may be a piece of a password.
        let known = "only the keys `registry`, `username`, `password`, `scope`, `ecr`, `logout`";
        return Err(match nearest(key, KEYS.iter().copied()) {
            Some(nearest) => format!("{known} (is one of them a misspelled `{nearest}`?)").into(),
            None => known.into(),
        });
    }
    ensure(image::is_host(host), "a registry host such as `ghcr.io`")?;
    let registry = Registry::from_host(host);
    let is_amazons = !matches!(registry, Registry::Other { .. });
    let is_ecr = match value("ecr").as_deref() {
        None | Some("auto") => is_amazons,
        Some("false") => false,
        Some("true") if is_amazons => true,
        Some("true") => return Err("a host of Amazon ECR with `ecr: true`".into()),
        Some(_) => return Err("`auto`, `true` or `false` for `ecr`".into()),
    };
    ensure(
        matches!(value("logout").as_deref(), None | Some("true" | "false")),
        "`true` or `false` for `logout`",
    )?;
    let user = match (value("username"), value("password").map(SecretString::from)) {
        (None, None) if is_ecr => None,
        (Some(user), Some(password)) => Some((user, password)),
        _ => {
            return Err(
                "`username` and `password`; an expression such as `secrets.NAME` is empty in a run \
                 of a fork's pull request"
                    .into(),
            );
        }
    };
    if let Some((user, password)) = &user {
        ensure(!user.contains(':'), "a `username` without a colon")?;
        let is_line = !password.expose_secret().contains(['\n', '\r']);
        ensure(is_line, "a `password` on one line")?;
    }
    let scope = value("scope");
    if let Some(scope) = &scope {
        ensure(
            !is_ecr,
            "no `scope`: tokens of Amazon ECR are valid for all repositories",
        )?;
        ensure(
            is_scope(scope),
            "a `scope` such as `octo/app`, `@push` or `octo/app@push`",
        )?;
    }
    Ok(Login {
        registry,
        user,
        scope,
        is_ecr,
    })
}

/// A registry as people write it: with or without scheme and path, as `docker login` takes it.
fn host(given: &str) -> String {
    let rest = given
        .strip_prefix("https://")
        .or(given.strip_prefix("http://"))
        .unwrap_or(given);
    let host = rest.split('/').next().unwrap_or_default();
    if DOCKER_HUB_HOSTS.contains(&host) {
        DOCKER_HUB.to_owned()
    } else {
        host.to_owned()
    }
}

/// The host of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryHost(String);

impl Deref for RegistryHost {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Also as people write it: with a scheme, or with a slash or the API's path behind it.
impl Single for RegistryHost {
    fn parse(text: &str) -> Result<Self, Expected> {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (_, path) = rest.split_once('/').unwrap_or_default();
        let host = host(text);
        let name = format!("{host}/a").parse::<ImageRef>();
        if matches!(path.trim_end_matches('/'), "" | "v1" | "v2")
            && name.is_ok_and(|name| name.host == host)
        {
            return Ok(Self(host));
        }
        Err(
            "a registry's host, as `ghcr.io` or `localhost:5000`; a path belongs to `repository`"
                .into(),
        )
    }
}

/// A path below the registry, what may be done there, or both: it becomes a folder's name.
fn is_scope(text: &str) -> bool {
    let (path, actions) = match text.split_once('@') {
        Some((path, actions)) => (path, Some(actions)),
        None => (text, None),
    };
    let is_part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
    };
    let is_action =
        |action: &str| !action.is_empty() && action.bytes().all(|b| b.is_ascii_lowercase());
    (path.is_empty() && actions.is_some() || path.split('/').all(is_part))
        && actions.is_none_or(|actions| actions.split(',').all(is_action))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> Field<'_> {
        Field {
            name: "registry-auth",
            text,
            rules: &[],
        }
    }

    fn parse(text: &str) -> Result<Vec<Login>, Vec<InputError>> {
        Vec::read(&field(text))
    }

    fn summary(login: &Login) -> String {
        let user = login.user.as_ref().map_or("-", |(user, _)| user);
        let scope = login.scope.as_deref().unwrap_or("-");
        let host = login.registry.host();
        format!("{host} {user} {scope} {}", login.is_ecr)
    }

    #[test]
    fn reads_what_login_action_reads() {
        let logins = parse(
            "- username: octo\n  password: hunter2\n\
             - {registry: ghcr.io, username: octo, password: 012345, logout: false}\n\
             - registry: https://registry.example:5000/v2/\n  username: a\n  password: 'b: c'\n  scope: team/app@push\n\
             - registry: 123456789012.dkr.ecr.eu-west-1.amazonaws.com\n\
             - registry: public.ecr.aws\n  username: AKID\n  password: x\n\
             - registry: 210987654321.dkr.ecr.eu-west-1.amazonaws.com\n  username: AWS\n  password: x\n  ecr: false\n",
        )
        .unwrap();
        let summaries: Vec<String> = logins.iter().map(summary).collect();
        assert_eq!(
            summaries,
            [
                "docker.io octo - false",
                "ghcr.io octo - false",
                "registry.example:5000 a team/app@push false",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com - - true",
                "public.ecr.aws AKID - true",
                "210987654321.dkr.ecr.eu-west-1.amazonaws.com AWS - false",
            ]
        );
        let passwords: Vec<&str> = logins
            .iter()
            .filter_map(|login| Some(login.user.as_ref()?.1.expose_secret()))
            .collect();
        assert_eq!(passwords, ["hunter2", "012345", "b: c", "x", "x"]);
    }

    #[test]
    fn says_what_is_wrong_and_no_value() {
        for (text, expected) in [
            ("hunter2", "is invalid; expected a YAML list"),
            ("registry: ghcr.io", "expected a YAML list"),
            ("- [hunter2]", "line 1 is invalid; expected a YAML list"),
            (
                "- {username: a, pasword: hunter2}",
                "entry 1 (`docker.io`) is invalid; expected only the keys `registry`, `username`, \
                 `password`, `scope`, `ecr`, `logout` (is one of them a misspelled `password`?)",
            ),
            (
                "- {username: a, password: b}\n- {hunter2: a}",
                "entry 2 (`docker.io`) is invalid; expected only the keys",
            ),
            (
                "- {registry: ghcr.io, username: a}",
                "entry 1 (`ghcr.io`) is invalid; expected `username` and `password`",
            ),
            (
                "- {registry: ghcr.io, username: a, password: ''}",
                "expected `username` and `password`; an expression",
            ),
            (
                "- {registry: ghcr.io, password: hunter2}",
                "expected `username` and `password`",
            ),
            (
                "- {registry: ghcr.io, username: 'a:b', password: hunter2}",
                "expected a `username` without a colon",
            ),
            (
                "- {registry: ghcr.io, username: a, password: hunter2, ecr: true}",
                "expected a host of Amazon ECR",
            ),
            (
                "- {registry: ghcr.io, username: a, password: hunter2, scope: ../x}",
                "expected a `scope` such as",
            ),
            (
                "- {username: a, password: hunter2}\n- {registry: index.docker.io, username: b, password: hunter2}",
                "entry 2 (`docker.io`) is invalid; expected one entry for each registry",
            ),
            (
                "- {registry: 'hunter2 b', username: a, password: hunter2}",
                "entry 1 is invalid; expected a registry host",
            ),
            (
                "- {username: a, password: \"hunter2\\nx\"}",
                "expected a `password` on one line",
            ),
        ] {
            let error = parse(text).unwrap_err()[0].to_string();
            assert!(error.starts_with("input `registry-auth`: "), "{error}");
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.to_lowercase().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn passwords_are_masked_and_names_are_not() {
        let masked = |text: &str| -> Vec<String> {
            let secrets = Vec::<Login>::to_mask(text);
            secrets
                .iter()
                .map(|secret| secret.expose_secret().to_owned())
                .collect()
        };
        assert_eq!(
            masked("- {registry: ghcr.io, username: octo, password: hunter2}"),
            [STANDARD.encode("octo:hunter2"), "hunter2".to_owned()]
        );
        // As it is used, which is without the space around it.
        assert_eq!(
            masked("- {username: ' octo ', password: ' hunter2 '}"),
            [STANDARD.encode("octo:hunter2"), "hunter2".to_owned()]
        );
        assert_eq!(
            masked("- username: octo\n  password: |\n    hunter2\n"),
            [STANDARD.encode("octo:hunter2"), "hunter2".to_owned()]
        );
        assert_eq!(masked("- {pasword: hunter2}"), ["hunter2"]);
        assert_eq!(masked("- password: [hunter2"), ["- password: [hunter2"]);
    }
}
