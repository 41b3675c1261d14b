//! The build's secrets: `secrets`, `secret-envs` and `secret-files`.
//!
//! No error shows a value, or what may be part of one: an id is named only where it looks like one.
//! <https://docs.docker.com/build/building/secrets/>

use std::path::PathBuf;

use lists::list::{self, Grammar};
use secrecy::SecretString;

use super::value::{Expected, Form, Item};

/// A secret with its value.
#[derive(Debug, Clone)]
pub(crate) struct Secret {
    pub id: String,
    pub value: SecretString,
}

/// A secret from an environment variable.
#[derive(Debug, Clone)]
pub(crate) struct SecretEnv {
    pub id: String,
    pub variable: String,
}

/// A secret from a file.
#[derive(Debug, Clone)]
pub(crate) struct SecretFile {
    pub id: String,
    pub path: PathBuf,
}

/// BuildKit's limit for a secret (bytes):
/// <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/session/secrets/secretsprovider/store.go>.
pub(crate) const LARGEST: usize = 500 * 1024;

impl Item for Secret {
    const GRAMMAR: Grammar = Grammar::Secrets;
    const FORM: Form = Form::Secret;
    const HIDDEN: bool = true;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let Some((id, value)) = text.split_once('=') else {
            return Err(
                "`id=value`; put a value of several lines in double quotes, together with its id: \
                 `\"KEY=first line`, …, `last line\"`, or use `secret-envs` or `secret-files`"
                    .into(),
            );
        };
        let id = id.trim();
        if !is_id(id) {
            return Err(
                "an id of letters, digits, `_`, `-`, `.` and `/` before the `=`; put a value of \
                 several lines or with quotes in double quotes, together with its id, and double \
                 the quotes inside it: `\"KEY={\"\"name\"\":\"\"value\"\"}\"`, or use `secret-envs` or \
                 `secret-files`"
                    .into(),
            );
        }
        if is_padding(value) {
            return Err(match shown(id) {
                Some(id) => format!(
                    "a value for `{id}`; an expression such as `secrets.NAME` is empty in a run of \
                     a fork's pull request"
                )
                .into(),
                None => "a value after the `=`".into(),
            });
        }
        if value.len() > LARGEST {
            return Err("at most 500 KiB, BuildKit's limit for a secret".into());
        }
        items.push(Self {
            id: id.to_owned(),
            value: SecretString::from(value),
        });
        Ok(())
    }

    /// The values, and all of a line that is no secret, since it may be the rest of one.
    fn to_mask(text: &str) -> Vec<SecretString> {
        let Ok(items) = list::parse(text, Grammar::Secrets) else {
            return vec![SecretString::from(text)];
        };
        let texts = items.iter().map(|item| match item.split_once('=') {
            Some((_, value)) if !is_padding(value) => value,
            Some((id, _)) if shown(id.trim()).is_some() => "",
            _ => item.as_str(),
        });
        texts.map(SecretString::from).collect()
    }
}

impl Item for SecretEnv {
    const GRAMMAR: Grammar = Grammar::Commas;
    const HIDDEN: bool = true;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let (id, variable) = named(text).ok_or("`id=NAME`, with the name of a variable")?;
        items.push(Self { id, variable });
        Ok(())
    }
}

impl Item for SecretFile {
    const HIDDEN: bool = true;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let (id, path) = named(text).ok_or("`id=path`")?;
        let path = path.into();
        items.push(Self { id, path });
        Ok(())
    }
}

fn named(text: &str) -> Option<(String, String)> {
    let (id, name) = text.split_once('=')?;
    let (id, name) = (id.trim(), name.trim());
    (!id.is_empty() && !name.is_empty()).then(|| (id.to_owned(), name.to_owned()))
}

/// Whether there is no value, or only what base64 text ends with whose lines were not quoted.
fn is_padding(value: &str) -> bool {
    value.trim_matches('=').trim().is_empty()
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    id.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && id.bytes().all(allowed)
}

/// The id where it is short enough not to be a piece of a value.
fn shown(id: &str) -> Option<&str> {
    Some(id).filter(|id| is_id(id) && id.len() <= 48 && !id.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{Inputs, RawInputs};
    use secrecy::ExposeSecret;

    fn read(name: &'static str, text: &str) -> Result<Inputs, String> {
        let raw: RawInputs = [(name, text)].into_iter().collect();
        Inputs::parse(&raw).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("\n")
        })
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let inputs = read("secrets", text).unwrap();
        assert!(!format!("{inputs:?}").contains("hunter"));
        let secrets = inputs.secrets.into_iter();
        let pairs = secrets.map(|secret| (secret.id, secret.value.expose_secret().to_owned()));
        pairs.collect()
    }

    #[test]
    fn a_value_is_taken_as_it_is() {
        for (text, expected) in [
            ("A=b=c", &[("A", "b=c")][..]),
            ("\"B = x\ny \"", &[("B", " x\ny ")]),
            ("A==x", &[("A", "=x")]),
            ("A=hunter2\n\n  \nB=b\n", &[("A", "hunter2"), ("B", "b")]),
            ("A={\"a\":1}", &[("A", "{\"a\":1}")]),
            ("A=[\"a\",\"b\"]", &[("A", "[\"a\",\"b\"]")]),
            (
                "KEY={\"hosts\":[\"a\",\"b\"]}",
                &[("KEY", "{\"hosts\":[\"a\",\"b\"]}")],
            ),
            (
                "\"A=[\"\"a\"\",\"\"b\"\",\"\"c\"\"]\"",
                &[("A", "[\"a\",\"b\",\"c\"]")],
            ),
            (
                "GIT_AUTH_TOKEN.github.com=x",
                &[("GIT_AUTH_TOKEN.github.com", "x")],
            ),
        ] {
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(id, value)| ((*id).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(pairs(text), expected, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_without_any_value() {
        let long = format!("A={}", "x".repeat(LARGEST + 1));
        for (name, text, expected) in [
            (
                "no value",
                "TOKEN=",
                "item 1 is invalid; expected a value for `TOKEN`",
            ),
            (
                "blanks",
                "A=b\nTOKEN= ",
                "item 2 is invalid; expected a value for `TOKEN`",
            ),
            (
                "base64 on several lines",
                "KEY=hunter2\naHVudGVyMg==",
                "item 2 is invalid; expected a value for",
            ),
            (
                "base64 with a slash",
                "KEY=hunter2\naHVud/GVyMg==",
                "item 2 is invalid; expected a value after",
            ),
            (
                "several lines",
                "KEY=hunter2\nhunter2",
                "item 2 is invalid; expected `id=value`; put",
            ),
            ("no id", "=hunter2", "item 1 is invalid; expected an id"),
            (
                "an id with a quote",
                "\"KEY={\"hunter2\":1}\"",
                "item 1 is invalid; expected an id",
            ),
            (
                "an .npmrc",
                "N=a\n//registry.example/:_authToken=hunter2",
                "item 2 is invalid; expected an id",
            ),
            (
                "an open quote",
                "A=b\n\"KEY=hunter2",
                "line 2: a double quote is opened and never closed",
            ),
            (
                "lost quotes",
                "A={\"a\":[\"hunter2\",\"b\",\"c\"]}",
                "item 1 is invalid; expected quotes around the whole item",
            ),
            (
                "a lost quote",
                "A=b\nB=1,\"hunter2\"",
                "item 2 is invalid; expected quotes around",
            ),
            (
                "too large",
                &long,
                "item 1 is invalid; expected at most 500 KiB",
            ),
        ] {
            let error = read("secrets", text).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
            assert!(
                !error.contains("hunter") && error.len() < 420,
                "{name}: {error}"
            );
        }
        for text in ["hunter2", "hunter2!=", "=hunter2"] {
            assert_eq!(
                read("secret-files", text).unwrap_err(),
                "input `secret-files`: item 1 is invalid; expected `id=path`"
            );
        }
    }

    #[test]
    fn what_may_be_a_value_is_masked() {
        let texts = Secret::to_mask("A=b=c\nEMPTY=\nrest of a value\naHVudGVyMg/==");
        let texts: Vec<&str> = texts.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(texts, ["b=c", "", "rest of a value", "aHVudGVyMg/=="]);
    }
}
