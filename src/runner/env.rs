//! The process environment, read once.
//!
//! `main` takes one snapshot at the start and hands it on as a value, so that everything that
//! depends on the environment can be tested with a map literal. Lints forbid `std::env::var`
//! and its relatives everywhere else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A snapshot of environment variables. Values that are not UTF-8 are left out.
#[derive(Clone, Default)]
pub(crate) struct Env(BTreeMap<String, String>);

/// Names only: some values are secret.
impl fmt::Debug for Env {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// What an agent on this machine wants to see before it hands out credentials
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>).
pub(crate) const CONTAINER_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

/// Names a file with the same, which counts first.
pub(crate) const CONTAINER_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Secrets that AWS and the runner put into the environment. Other variables of theirs are not secret:
/// regions, endpoints, names of files.
pub(crate) const SECRETS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    CONTAINER_TOKEN,
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
];

/// What the user gave as `NO_PROXY`, where ours says the same in other words. Empty where nothing was given.
pub(crate) const GIVEN_NO_PROXY: &str = "FAST_ECR_PUSH_NO_PROXY";

/// The names of variables that no child gets, unless it is given them by name: the action's inputs,
/// [`SECRETS`] and what is our own. Whoever runs as the same user can read a child's environment.
#[expect(
    clippy::disallowed_methods,
    reason = "beside the snapshot the one place that reads the process environment"
)]
pub(crate) fn withheld() -> Vec<OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| {
            name.as_encoded_bytes().starts_with(b"INPUT_")
                || name == GIVEN_NO_PROXY
                || SECRETS.iter().any(|secret| name == secret)
        })
        .collect()
}

/// What is [`withheld`] and a command that the user names and allows may need: access to AWS, and to
/// GitHub's tokens.
#[expect(
    clippy::disallowed_methods,
    reason = "beside the snapshot the one place that reads the process environment"
)]
pub(crate) fn lent() -> impl Iterator<Item = (String, OsString)> {
    let names = SECRETS.iter().filter(|name| !name.contains("RUNTIME"));
    names.filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)))
}

/// What a child gets as it was given to us.
#[expect(
    clippy::disallowed_methods,
    reason = "beside the snapshot the one place that reads the process environment"
)]
pub(crate) fn restored() -> Option<(&'static str, OsString)> {
    Some(("NO_PROXY", std::env::var_os(GIVEN_NO_PROXY)?))
}

impl Env {
    /// Reads the environment of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the process environment"
    )]
    pub(crate) fn from_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// The same with other values for some variables.
    pub(crate) fn with(mut self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        self.0.extend(values);
        self
    }

    /// The variable's value. An empty variable counts as unset, as the runner passes
    /// inputs that were not given as empty strings.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether the variable is there, empty or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the variable is `true`, as the runner writes its switches.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The variable's value as a path.
    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        self.get(name).map(Path::new)
    }

    /// Looks for an executable file of this name in `PATH`.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.get("PATH")?
            .split(':')
            .filter(|folder| !folder.is_empty())
            .map(|folder| Path::new(folder).join(name))
            .find(|candidate| is_executable(candidate))
    }
}

/// Whether the path names a file that somebody may execute.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
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
