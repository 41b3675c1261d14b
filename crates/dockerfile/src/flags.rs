//! Flags of instructions: `--name=value`.
//!
//! Follows `parser/split_command.go` and `instructions/bflag.go` of BuildKit.

use crate::unsupported::Reason;

/// Takes the flags off the start of an instruction's arguments.
///
/// BuildKit reads bytes here, so a flag beyond ASCII becomes what its bytes are in Latin-1.
pub(crate) fn split(line: &str, escape: char) -> Result<(Vec<String>, &str), Reason> {
    let bytes = line.as_bytes();
    let at = |position: usize| bytes.get(position).copied().map(char::from);
    let rest = |position: usize| line.get(position..).ok_or(Reason::NotUtf8);
    let mut flags = Vec::new();
    let mut position = 0;
    loop {
        while at(position).is_some_and(char::is_whitespace) {
            position += 1;
        }
        if at(position).is_none() {
            return Ok((flags, ""));
        }
        if (at(position), at(position + 1)) != (Some('-'), Some('-')) {
            return Ok((flags, rest(position)?));
        }
        let mut word = String::new();
        let mut quoted = false;
        let mut quote = None;
        loop {
            let Some(char) = at(position) else {
                if word != "--" && (quoted || !word.is_empty()) {
                    flags.push(word);
                }
                return Ok((flags, ""));
            };
            position += 1;
            match quote {
                None if char.is_whitespace() => {
                    if word == "--" {
                        return Ok((flags, rest(position - 1)?));
                    }
                    flags.push(word);
                    break;
                }
                None if matches!(char, '\'' | '"') => {
                    quote = Some(char);
                    quoted = true;
                }
                Some(open) if char == open => quote = None,
                _ if char == escape => match at(position) {
                    Some(escaped) => {
                        word.push(escaped);
                        position += 1;
                    }
                    None => quote = None,
                },
                _ => word.push(char),
            }
        }
    }
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, `true` or `false`.
    Bool,
    /// A value, once.
    Text,
    /// A value, any number of times.
    Texts,
}

/// An instruction's flags, checked against those it knows.
#[derive(Debug)]
pub(crate) struct Flags {
    given: Vec<(String, Option<String>)>,
}

impl Flags {
    pub(crate) fn read(
        instruction: &'static str,
        words: &[String],
        known: &[(&str, Takes)],
    ) -> Result<Self, Reason> {
        let mut given: Vec<(String, Option<String>)> = Vec::new();
        for word in words {
            let bare = word.strip_prefix("--").unwrap_or(word);
            let (name, value) = match bare.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (bare, None),
            };
            let Some((_, takes)) = known.iter().find(|(known, _)| *known == name) else {
                return Err(Reason::Flag {
                    instruction,
                    flag: name.to_owned(),
                });
            };
            if *takes != Takes::Texts && given.iter().any(|(given, _)| given == name) {
                return Err(Reason::syntax(format!("the flag --{name} is there twice")));
            }
            let value = value.map(str::to_owned);
            let fits = match (takes, value.as_deref()) {
                (Takes::Bool, None) => true,
                (Takes::Bool, Some(value)) => {
                    matches!(value.to_lowercase().as_str(), "true" | "false")
                }
                (Takes::Text | Takes::Texts, value) => value.is_some(),
            };
            if !fits {
                return Err(Reason::syntax(format!(
                    "the flag --{name} has no fitting value"
                )));
            }
            given.push((name.to_owned(), value));
        }
        Ok(Self { given })
    }

    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        let (_, value) = self.given.iter().find(|(given, _)| given == name)?;
        Some(
            !value
                .as_deref()
                .is_some_and(|value| value.eq_ignore_ascii_case("false")),
        )
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.given
            .iter()
            .filter(|(given, _)| given == name)
            .filter_map(|(_, value)| value.clone())
            .collect()
    }
}
