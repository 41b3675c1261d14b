//! Arguments of instructions: words, pairs and JSON.
//!
//! Follows `parser/line_parsers.go` of BuildKit.

use crate::unsupported::Reason;

/// What parts words outside quotes in most instructions.
pub(crate) const SPACES: [char; 5] = ['\t', '\x0b', '\x0c', '\r', ' '];

/// Arguments in one of two forms.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    Json(Vec<String>),
    Text(&'a str),
}

/// The JSON form, or the text as it is.
pub(crate) fn form(text: &str) -> Result<Form<'_>, Reason> {
    if !text.starts_with('[') {
        return Ok(Form::Text(text));
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(values) => values
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Ok(text),
                _ => Err(Reason::syntax("a JSON array may have only strings here")),
            })
            .collect::<Result<_, _>>()
            .map(Form::Json),
        // Go replaces halves of surrogate pairs, which no text can hold, where serde_json refuses them; and it nests deeper.
        Err(_) if text.to_ascii_lowercase().contains("\\ud") || text.matches('[').count() > 100 => {
            Err(Reason::Ambiguous(
                "a JSON array that readers understand differently",
            ))
        }
        Err(_) => Ok(Form::Text(text)),
    }
}

/// Words between spaces; quotes mean nothing.
pub(crate) fn spaced(text: &str) -> Vec<String> {
    text.split(SPACES)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Words between spaces outside quotes; quotes and escapes stay.
pub(crate) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while chars.next_if(|char| char.is_whitespace()).is_some() {}
    let mut word = String::new();
    let mut quote = None;
    let mut blank = false;
    while let Some(char) = chars.next() {
        match quote {
            None if char.is_whitespace() => {
                if blank || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                blank = false;
            }
            None => {
                if matches!(char, '\'' | '"') {
                    quote = Some(char);
                    blank = true;
                }
                if char != escape {
                    word.push(char);
                } else if let Some(escaped) = chars.next() {
                    word.push(char);
                    word.push(escaped);
                }
            }
            Some(open) => {
                if char == open {
                    quote = None;
                }
                if char != escape || open == '\'' {
                    word.push(char);
                } else if let Some(escaped) = chars.next() {
                    word.push(char);
                    word.push(escaped);
                }
            }
        }
    }
    if blank || !word.is_empty() {
        words.push(word);
    }
    words
}

/// `NAME=value …`, or `NAME value`.
pub(crate) fn pairs(
    text: &str,
    escape: char,
    instruction: &str,
) -> Result<Vec<(String, String)>, Reason> {
    let words = quoted(text, escape);
    let Some(first) = words.first() else {
        return Err(Reason::syntax(format!("{instruction} has no arguments")));
    };
    let mut pairs = Vec::new();
    if first.contains('=') {
        for word in &words {
            let Some((name, value)) = word.split_once('=') else {
                return Err(Reason::syntax(format!(
                    "`{word}` of {instruction} has no `=`"
                )));
            };
            pairs.push((name.to_owned(), value.to_owned()));
        }
    } else {
        let Some((name, value)) = text.split_once(SPACES) else {
            return Err(Reason::syntax(format!(
                "{instruction} needs a name and a value"
            )));
        };
        let value = value.trim_start_matches(SPACES);
        pairs.push((name.to_owned(), value.to_owned()));
    }
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(Reason::syntax(format!("{instruction} has an empty name")));
    }
    Ok(pairs)
}
