//! What is not to be shown, taken out of texts that leave the machine.
//!
//! The runner masks its log and the job summary, and nothing else
//! (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#masking-a-value-in-a-log>): a comment on a pull
//! request, and files that become artifacts, are ours to keep clean. In: each secret when it becomes known, and the values of build
//! arguments, which BuildKit puts into the names of its steps (<https://github.com/moby/buildkit/issues/6139>). Out: texts without them.

use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

/// What stands for a secret, as in the runner's log.
const MASK: &str = "***";

/// Shorter secrets (bytes) would hide half of every text, and hide nothing: they are guessed at once.
const SHORTEST_SECRET: usize = 4;

/// Shorter values of build arguments (bytes) are versions and switches, and stand in many a word.
const SHORTEST_ARGUMENT: usize = 6;

/// All that is hidden in a run. Clones share what they know.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<Mutex<Known>>);

/// The longest first, so that no part of one is left when a shorter one is taken out of it.
#[derive(Default)]
struct Known {
    secrets: Vec<SecretString>,
    /// Values, and what stands for them.
    arguments: Vec<(SecretString, String)>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Hides a secret from now on, each of its lines by itself, as the runner does.
    pub(crate) fn hide(&self, secret: &str) {
        let mut known = self.known();
        for line in secret.lines().map(str::trim) {
            // As it stands within quotes, too: BuildKit's errors quote command lines.
            let quoted = serde_json::Value::from(line).to_string();
            let quoted = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            for text in [line, quoted].map(str::to_owned) {
                let is_new = || {
                    let mut all = known.secrets.iter();
                    all.all(|other| other.expose_secret() != text)
                };
                if text.len() >= SHORTEST_SECRET && is_new() {
                    known.secrets.push(text.into());
                }
            }
        }
        known
            .secrets
            .sort_by_key(|text| Reverse(text.expose_secret().len()));
    }

    /// Shows the value of a build argument as `$NAME` from now on, which is how the Dockerfile has it.
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

    /// The text without secrets.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        let known = self.known();
        let mut shown = text.to_owned();
        for secret in &known.secrets {
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
        // Whoever panicked with it has left a list that is still one.
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
