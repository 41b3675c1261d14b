//! Secrets and build arguments, removed from texts that leave the machine.
//!
//! The runner masks only its log and the job summary
//! (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#masking-a-value-in-a-log>), not comments on pull
//! requests and files that become artifacts. In: each secret when it becomes known, and the values of build arguments, which BuildKit puts into
//! the names of its steps (<https://github.com/moby/buildkit/issues/6139>). Out: texts without them.

use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

use super::address::{MASK, without_capabilities};

/// Shorter secrets (bytes) are not masked: they occur in every text, and anybody can guess them.
const SHORTEST_SECRET: usize = 4;

/// Values that are not masked either. The runner drops an output that contains a masked text.
const COMMON: [&str; 16] = [
    "true",
    "false",
    "null",
    "none",
    "default",
    "latest",
    "main",
    "master",
    "test",
    "prod",
    "production",
    "staging",
    "development",
    "debug",
    "release",
    "info",
];

/// Shorter values of build arguments (bytes) are versions and switches, and occur in many words.
const SHORTEST_ARGUMENT: usize = 6;

pub(crate) fn is_masked(line: &str) -> bool {
    line.len() >= SHORTEST_SECRET && !COMMON.contains(&line.to_lowercase().as_str())
}

/// What is hidden in a run. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<Mutex<Known>>);

/// The longest first, so that no part of it is left when a shorter one is replaced.
#[derive(Default)]
struct Known {
    secrets: Vec<SecretString>,
    /// Values and their replacements.
    arguments: Vec<(SecretString, String)>,
    /// Whether a secret was not masked.
    has_exception: bool,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Hides each line of a secret, like the runner. Returns true for the first secret of the run that is too short or common.
    pub(crate) fn hide(&self, secret: &str) -> bool {
        let mut known = self.known();
        let lines = secret.lines().map(str::trim);
        for line in lines.clone().filter(|line| is_masked(line)) {
            // BuildKit's errors quote command lines.
            let quoted = serde_json::Value::from(line).to_string();
            let quoted = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            for text in [line, quoted] {
                if !known
                    .secrets
                    .iter()
                    .any(|other| other.expose_secret() == text)
                {
                    known.secrets.push(text.into());
                }
            }
        }
        known
            .secrets
            .sort_by_key(|text| Reverse(text.expose_secret().len()));
        let mut filled = lines.filter(|line| !line.is_empty()).peekable();
        let is_exception = filled.peek().is_some() && !filled.any(is_masked);
        let is_first = is_exception && !known.has_exception;
        known.has_exception |= is_exception;
        is_first
    }

    /// Replaces the value of a build argument by `$NAME`, which is how the Dockerfile has it.
    pub(crate) fn hide_argument(&self, name: &str, value: &str) {
        if value.len() < SHORTEST_ARGUMENT {
            return;
        }
        let mut known = self.known();
        known.arguments.push((value.into(), format!("${name}")));
        known
            .arguments
            .sort_by_key(|(text, _)| Reverse(text.expose_secret().len()));
    }

    /// The text without secrets, and without what gives rights in addresses.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        let mut shown = without_capabilities(text).into_owned();
        for secret in &self.known().secrets {
            replace(&mut shown, secret, MASK);
        }
        shown
    }

    /// The text without secrets and values of build arguments.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut shown = self.without_secrets(text);
        for (value, name) in &self.known().arguments {
            replace(&mut shown, value, name);
        }
        shown
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // The lists are valid after a panic, too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn replace(text: &mut String, hidden: &SecretString, shown: &str) {
    let hidden = hidden.expose_secret();
    if text.contains(hidden) {
        *text = text.replace(hidden, shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_secret_is_hidden_and_no_part_of_one_is_left() {
        let redactor = Redactor::default();
        let later = redactor.clone();
        redactor.hide("hush-hush");
        later.hide("one line\n\n  hush-hush-hush \nabc\n");
        redactor.hide("say \"x\"");
        let cases = [
            ("a one line, b", "a ***, b"),
            ("hush-hush-hush", "***"),
            ("hush-hush", "***"),
            ("abc", "abc"),
            (r#"-c "say \"x\"""#, r#"-c "***""#),
            (r#"say "x""#, "***"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor.without_secrets(text), expected, "{text}");
        }
    }

    #[test]
    fn short_and_common_values_are_not_hidden_and_are_reported_once() {
        let redactor = Redactor::default();
        assert!(!redactor.hide("hush-hush"));
        // A part of a longer secret is no exception.
        assert!(!redactor.hide("{\n\"key\": 1\n}"));
        assert!(!redactor.hide(""));
        assert!(redactor.hide("true"));
        assert!(!redactor.hide("C"));
        let text = "C=true, key 1";
        assert_eq!(redactor.without_secrets(text), text);
    }

    #[test]
    fn values_of_build_arguments_become_their_names() {
        let redactor = Redactor::default();
        redactor.hide_argument("BASE", "registry");
        redactor.hide_argument("HOST", "registry.example");
        redactor.hide_argument("VERSION", "1.2.3");
        redactor.hide("secret");
        assert_eq!(
            redactor.text("curl registry.example/1.2.3 registry secret"),
            "curl $HOST/1.2.3 $BASE ***"
        );
        assert_eq!(redactor.without_secrets("registry secret"), "registry ***");
        assert!(!format!("{redactor:?}").contains("secret"));
    }
}
