//! The build's secrets: `id=value`, `id=variable`, `id=file`.
//!
//! In: the items of `secrets`, `secret-envs`, `secret-files`. Out: ids with what they name, or
//! what is wrong, which never holds a value: what stands before the `=` of a text that was cut in
//! the wrong place may be part of one, so that ids are named only where they look like one.
//! <https://docs.docker.com/build/building/secrets/>

use std::path::PathBuf;

use lists::list::{self, Grammar};
use secrecy::SecretString;

use super::InputError;
use super::value::{Field, Form, Read, Value};

/// A secret of the input `secrets`.
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

impl Value for Vec<Secret> {
    const FORM: Form = Form::Secret;

    fn read(field: &Field<'_>) -> Read<Self> {
        secrets(field.items(Grammar::Secrets)?).map_err(|error| vec![error])
    }

    fn to_mask(text: &str) -> Vec<SecretString> {
        match list::parse(text, Grammar::Secrets) {
            Ok(items) => to_mask(&items),
            Err(_) => vec![SecretString::from(text)],
        }
    }
}

impl Value for Vec<SecretEnv> {
    const FORM: Form = Form::List(Grammar::Commas);

    fn read(field: &Field<'_>) -> Read<Self> {
        let pairs = named(field, Grammar::Commas, "`id=NAME`, the name of a variable")?;
        let pairs = pairs.into_iter();
        Ok(pairs
            .map(|(id, variable)| SecretEnv { id, variable })
            .collect())
    }
}

impl Value for Vec<SecretFile> {
    const FORM: Form = Form::List(Grammar::Lines);

    fn read(field: &Field<'_>) -> Read<Self> {
        let pairs = named(field, Grammar::Lines, "`id=path`")?.into_iter();
        let file = |(id, path): (String, String)| SecretFile {
            id,
            path: path.into(),
        };
        Ok(pairs.map(file).collect())
    }
}

/// What BuildKit takes at most (bytes):
/// <https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/session/secrets/secretsprovider/store.go>.
pub(crate) const LARGEST: usize = 500 * 1024;

/// Reads the items of `secrets`.
///
/// # Errors
/// At the first item that is none: what follows may be the rest of its value.
fn secrets(items: Vec<String>) -> Result<Vec<Secret>, InputError> {
    let mut secrets: Vec<Secret> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let wrong = |given: String, expected: &str| InputError::new("secrets", given, expected);
        let number = format!("item {}", index + 1);
        let Some((id, value)) = item.split_once('=') else {
            return Err(wrong(
                number,
                "`id=value`, but it has no `=`; a value of several lines stands in double quotes, \
                 from before the id to the value's end",
            ));
        };
        let id = id.trim();
        let shown = if is_plain(id) {
            format!("{id}=")
        } else {
            number
        };
        if id.is_empty() {
            return Err(wrong(shown, "an id before the `=`"));
        }
        // What is left of base64 text whose lines were not quoted.
        if value.trim_matches('=').trim().is_empty() {
            return Err(wrong(
                shown,
                "a value after the `=`; an expression that is empty here gives none, as \
                 `secrets.NAME` in a run of a fork's pull request",
            ));
        }
        if value.len() > LARGEST {
            return Err(wrong(
                shown,
                "a value of at most 500 KiB, as BuildKit takes it",
            ));
        }
        secrets.push(Secret {
            id: id.to_owned(),
            value: SecretString::from(value),
        });
    }
    Ok(secrets)
}

/// Reads the items of `secret-envs` and `secret-files`.
///
/// # Errors
/// At the first item that is none.
fn named(
    field: &Field<'_>,
    grammar: Grammar,
    expected: &'static str,
) -> Read<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (index, item) in field.items(grammar)?.into_iter().enumerate() {
        let (id, name) = item.split_once('=').unwrap_or_default();
        let (id, name) = (id.trim(), name.trim());
        if id.is_empty() || name.is_empty() {
            let shown = if is_plain(id) {
                format!("{id}=")
            } else {
                format!("item {}", index + 1)
            };
            return Err(field.wrong(&shown, expected));
        }
        pairs.push((id.to_owned(), name.to_owned()));
    }
    Ok(pairs)
}

/// Every text among these that has to be masked: the values, and all of a line that is no secret,
/// since it may be the rest of one.
fn to_mask(items: &[String]) -> Vec<SecretString> {
    items
        .iter()
        .map(|item| match item.split_once('=') {
            Some((_, value)) if !value.trim_matches('=').trim().is_empty() => value,
            Some((id, _)) if is_plain(id.trim()) => "",
            _ => item.as_str(),
        })
        .map(SecretString::from)
        .collect()
}

/// Whether it looks like an id, and not like a piece of a value.
fn is_plain(id: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    !id.is_empty() && id.len() <= 48 && id.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn items(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn a_value_is_taken_as_it_is() {
        let secrets = secrets(items(&["A=b=c", " B = x\ny ", "C==x"])).unwrap();
        let pairs: Vec<(&str, &str)> = secrets
            .iter()
            .map(|secret| (secret.id.as_str(), secret.value.expose_secret()))
            .collect();
        assert_eq!(pairs, [("A", "b=c"), ("B", " x\ny "), ("C", "=x")]);
        assert!(!format!("{secrets:?}").contains("b=c"));
    }

    #[test]
    fn says_what_is_wrong_without_any_value() {
        let long = format!("A={}", "x".repeat(LARGEST + 1));
        let cases: &[(&str, &[&str], &str)] = &[
            (
                "no value",
                &["TOKEN="],
                "`TOKEN=` given, expected a value after the `=`",
            ),
            (
                "blanks",
                &["TOKEN= \n "],
                "`TOKEN=` given, expected a value",
            ),
            (
                "the rest of base64",
                &["KEY=hunter2", "aHVudGVyMg/=="],
                "`item 2` given, expected a value",
            ),
            (
                "no equals sign",
                &["KEY=hunter2", "hunter2"],
                "`item 2` given, expected `id=value`",
            ),
            ("no id", &["=hunter2"], "`item 1` given, expected an id"),
            (
                "too large",
                &[&long],
                "`A=` given, expected a value of at most 500 KiB",
            ),
        ];
        for (name, given, expected) in cases {
            let text = secrets(items(given)).unwrap_err().to_string();
            assert!(text.contains(expected), "{name}: {text}");
            assert!(
                !text.contains("hunter2") && text.len() < 300,
                "{name}: {text}"
            );
        }
        for given in ["hunter2", "hunter2!=", "=hunter2"] {
            let field = Field {
                name: "secret-files",
                text: given,
                rules: &[],
            };
            let errors = Vec::<SecretFile>::read(&field).unwrap_err();
            assert_eq!(
                errors[0].to_string(),
                "input `secret-files`: `item 1` given, expected `id=path`"
            );
        }
    }

    #[test]
    fn what_may_be_a_value_is_masked() {
        let texts = to_mask(&items(&[
            "A=b=c",
            "EMPTY=",
            "rest of a value",
            "aHVudGVyMg/==",
        ]));
        let texts: Vec<&str> = texts.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(texts, ["b=c", "", "rest of a value", "aHVudGVyMg/=="]);
    }
}
