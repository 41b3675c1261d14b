//! The process environment, read once.
//!
//! `main` takes one snapshot at the start and passes it on as a value, so that everything that depends on the environment can be tested with a
//! map literal. Lints forbid `std::env::var` and its relatives everywhere else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A snapshot of environment variables, without values that are not UTF-8.
#[derive(Clone, Default)]
pub(crate) struct Env(BTreeMap<String, String>);

/// Names only: some values are secret.
impl fmt::Debug for Env {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// The token that a local credentials endpoint asks for
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>).
pub(crate) const CONTAINER_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

/// The path of a file with that token, which takes precedence.
pub(crate) const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Secrets that AWS and the runner put into the environment.
pub(crate) const SECRETS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    CONTAINER_TOKEN,
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
];

/// The user's `NO_PROXY`, if ours is normalized. Empty if there was none.
pub(crate) const GIVEN_NO_PROXY: &str = "FAST_ECR_PUSH_NO_PROXY";

#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the process environment"
)]
fn process_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// Names of variables that children do not inherit: the action's inputs, [`SECRETS`] and our own. Any process of the same user can read a
/// child's environment.
pub(crate) fn withheld() -> impl Iterator<Item = OsString> {
    let names = process_environment().map(|(name, _)| name);
    names.filter(|name| {
        name.as_encoded_bytes().starts_with(b"INPUT_")
            || name == GIVEN_NO_PROXY
            || SECRETS.iter().any(|secret| name == secret)
    })
}

/// The [`withheld`] variables for a command that the user allows: access to AWS and to GitHub's tokens.
pub(crate) fn lent() -> impl Iterator<Item = (String, OsString)> {
    process_environment().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let is_lent = SECRETS.contains(&&*name) && !name.contains("RUNTIME");
        is_lent.then_some((name, value))
    })
}

/// The user's `NO_PROXY` for children.
pub(crate) fn restored() -> Option<(&'static str, OsString)> {
    let (_, value) = process_environment().find(|(name, _)| name == GIVEN_NO_PROXY)?;
    Some(("NO_PROXY", value))
}

impl Env {
    pub(crate) fn from_process() -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(process_environment().filter_map(text).collect())
    }

    /// The same with other values for some variables.
    pub(crate) fn with(mut self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        self.0.extend(values);
        self
    }

    /// The variable's value. An empty variable counts as unset: the runner passes inputs that were not given as empty strings.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The names of all variables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        self.get(name).map(Path::new)
    }

    /// Looks for an executable file of this name in `PATH`.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        let folders = self.get("PATH")?.split(':');
        let mut candidates = folders
            .filter(|folder| !folder.is_empty())
            .map(|folder| Path::new(folder).join(name));
        candidates.find(|candidate| is_executable(candidate))
    }
}

pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(owned.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let env = Env::from([("A", ""), ("B", "x")]);
        assert_eq!(env.get("A"), None);
        assert_eq!(env.get("B"), Some("x"));
        assert_eq!(env.get("C"), None);
    }

    #[test]
    fn finds_only_executable_files_in_path() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let env = Env::from([(
            "PATH",
            &*format!("/nowhere:{}:/bin", folder.path().display()),
        )]);
        assert_eq!(env.find_program("plain"), None);
        assert_eq!(env.find_program("sh"), Some(PathBuf::from("/bin/sh")));
    }
}
