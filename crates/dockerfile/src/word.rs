//! Words as the frontend reads them: quotes, escapes, and variables as in a shell.
//!
//! Follows `frontend/dockerfile/shell` of BuildKit: <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/shell/lex.go>.

use std::collections::BTreeSet;

use crate::substitution::{Side, replace, trim};

/// Substitutions within substitutions, which recurse.
const DEEPEST: usize = 64;

/// What is known of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It has this value.
    Set(String),
    /// It has none.
    Unset,
    /// It may have one.
    Unknown,
}

/// Why a word has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WordError {
    /// BuildKit refuses it, too.
    Syntax(String),
    /// The variable whose value is not known.
    Unknown(String),
    /// Nested deeper than [`DEEPEST`].
    Depth,
    /// Where frontends differ, or Go's regular expressions show through.
    Ambiguous(&'static str),
}

/// A word with its variables replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// The names of all variables in it, set or not.
    pub(crate) names: BTreeSet<String>,
}

/// Replaces variables in a word and takes its quotes and escapes off.
pub(crate) fn expand(
    word: &str,
    escape: char,
    lookup: &mut dyn FnMut(&str) -> Lookup,
) -> Result<Expanded, WordError> {
    let mut lexer = Lexer::new(word, escape, Style::Value, lookup);
    let text = lexer.until(None, false)?.text;
    Ok(Expanded {
        text,
        names: lexer.names,
    })
}

/// How words are split that only serve to find here-documents: variables stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// Quotes and escapes stay.
    Raw,
    /// Quotes stay, escapes go.
    Quoted,
    /// Quotes and escapes go.
    Plain,
}

/// Splits a line into words.
pub(crate) fn split(line: &str, how: Split) -> Result<Vec<String>, WordError> {
    let mut nothing = |_: &str| Lookup::Unset;
    let mut lexer = Lexer::new(line, '\\', Style::Words(how), &mut nothing);
    let raw = how == Split::Raw;
    Ok(lexer.until(None, raw)?.words)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Value,
    Words(Split),
}

struct Lexer<'w> {
    text: &'w str,
    escape: char,
    style: Style,
    lookup: &'w mut dyn FnMut(&str) -> Lookup,
    names: BTreeSet<String>,
    depth: usize,
    raw_escapes: bool,
}

/// A stretch of text up to a stop.
#[derive(Default)]
struct Stretch {
    text: String,
    words: Vec<String>,
    word: String,
    in_word: bool,
}

impl Stretch {
    /// A character that parts words if it is a space.
    fn spaced(&mut self, char: char) {
        if !char.is_whitespace() {
            self.raw(char);
        } else if self.in_word && !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    /// A character of a word, space or not.
    fn raw(&mut self, char: char) {
        self.word.push(char);
        self.in_word = true;
    }

    fn finished(mut self) -> Self {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
        self
    }
}

impl<'w> Lexer<'w> {
    fn new(
        text: &'w str,
        escape: char,
        style: Style,
        lookup: &'w mut dyn FnMut(&str) -> Lookup,
    ) -> Self {
        Self {
            // Go's scanner leaves out a byte order mark at the start.
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            escape,
            style,
            lookup,
            names: BTreeSet::new(),
            depth: 0,
            raw_escapes: style == Style::Words(Split::Raw),
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.text.chars();
        let next = chars.next();
        self.text = chars.as_str();
        next
    }

    fn keeps_unset(&self) -> bool {
        matches!(self.style, Style::Words(_))
    }

    fn keeps_quotes(&self) -> bool {
        matches!(self.style, Style::Words(Split::Raw | Split::Quoted))
    }

    /// Reads to the stop character, which it takes, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Stretch, WordError> {
        if self.depth >= DEEPEST {
            return Err(WordError::Depth);
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let read = self.stretch(stop);
        self.raw_escapes = before;
        self.depth -= 1;
        read
    }

    fn stretch(&mut self, stop: Option<char>) -> Result<Stretch, WordError> {
        let mut stretch = Stretch::default();
        while let Some(char) = self.peek() {
            if stop == Some(char) {
                self.next();
                return Ok(stretch.finished());
            }
            let special = match char {
                '$' => Some(self.dollar()?),
                '<' => Some(self.angle()),
                '\'' => Some(self.single_quoted()?),
                '"' => Some(self.double_quoted()?),
                _ => None,
            };
            if let Some(text) = special {
                for part in text.chars() {
                    if char == '$' {
                        stretch.spaced(part);
                    } else {
                        stretch.raw(part);
                    }
                }
                stretch.in_word |= char != '$';
                stretch.text.push_str(&text);
                continue;
            }
            self.next();
            if char != self.escape {
                stretch.spaced(char);
                stretch.text.push(char);
                continue;
            }
            if self.raw_escapes {
                stretch.raw(char);
                stretch.text.push(char);
            }
            let Some(escaped) = self.next() else { break };
            stretch.raw(escaped);
            stretch.text.push(escaped);
        }
        match stop {
            None => Ok(stretch.finished()),
            Some(stop) => Err(WordError::Syntax(format!("`{stop}` is missing"))),
        }
    }

    fn single_quoted(&mut self) -> Result<String, WordError> {
        let mut text = String::new();
        let keep = self.keeps_quotes();
        if let Some(quote) = self.next().filter(|_| keep) {
            text.push(quote);
        }
        loop {
            match self.next() {
                None => return Err(WordError::Syntax("a single quote is not closed".to_owned())),
                Some('\'') => {
                    if keep {
                        text.push('\'');
                    }
                    return Ok(text);
                }
                Some(char) => text.push(char),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, WordError> {
        let mut text = String::new();
        let keep = self.keeps_quotes();
        if let Some(quote) = self.next().filter(|_| keep) {
            text.push(quote);
        }
        loop {
            match self.peek() {
                None => return Err(WordError::Syntax("a double quote is not closed".to_owned())),
                Some('"') => {
                    self.next();
                    if keep {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(char) => {
                    self.next();
                    if char != self.escape {
                        text.push(char);
                        continue;
                    }
                    if self.raw_escapes {
                        text.push(char);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            self.next();
                            text.push(next);
                        }
                        Some(_) => text.push(char),
                    }
                }
            }
        }
    }

    /// `<`, or the start of a here-document with the spaces that may follow.
    fn angle(&mut self) -> String {
        self.next();
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.next();
        let mut text = "<<".to_owned();
        while let Some(space) = self.peek().filter(|char| matches!(char, '\t' | '\r' | ' ')) {
            text.push(space);
            self.next();
        }
        text
    }

    fn dollar(&mut self) -> Result<String, WordError> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name()?;
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.value(&name)? {
                Some(value) => value,
                None if self.keeps_unset() => format!("${name}"),
                None => String::new(),
            });
        }
        self.next();
        match self.peek() {
            None => return Err(missing_brace()),
            Some('{' | '}' | ':') => {
                return Err(WordError::Syntax("bad substitution".to_owned()));
            }
            Some(_) => {}
        }
        let name = self.name()?;
        match self.next() {
            Some('}') => Ok(match self.value(&name)? {
                Some(value) => value,
                None if self.keeps_unset() => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => {
                let operator = self.next().ok_or_else(missing_brace)?;
                self.conditional(&name, operator, true)
            }
            Some(operator @ ('+' | '-' | '?' | '#' | '%')) => {
                self.conditional(&name, operator, false)
            }
            Some('/') => self.replacement(&name),
            other => Err(unsupported(other)),
        }
    }

    /// `${name-word}` and its like.
    fn conditional(
        &mut self,
        name: &str,
        operator: char,
        colon: bool,
    ) -> Result<String, WordError> {
        let pattern = matches!(operator, '#' | '%');
        if colon && pattern {
            return Err(unsupported(Some(operator)));
        }
        let word = self.until(Some('}'), pattern)?.text;
        let value = self.value(name)?;
        if value.is_none() && self.keeps_unset() {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let given = value.clone().filter(|value| !(colon && value.is_empty()));
        match operator {
            '-' => Ok(given.unwrap_or(word)),
            '+' => Ok(given.map_or_else(String::new, |_| word)),
            '?' => given.ok_or_else(|| {
                let why = match (word.is_empty(), value.is_some()) {
                    (false, _) => word.as_str(),
                    (true, true) => "is not allowed to be empty",
                    (true, false) => "is not allowed to be unset",
                };
                WordError::Syntax(format!("{name}: {why}"))
            }),
            '#' | '%' => {
                let (word, longest) = match word.strip_prefix(operator) {
                    Some(rest) => (rest, true),
                    None => (word.as_str(), false),
                };
                let side = if operator == '#' {
                    Side::Start
                } else {
                    Side::End
                };
                trim(&value.unwrap_or_default(), word, side, longest)
            }
            other => Err(unsupported(Some(other))),
        }
    }

    /// `${name/pattern/text}` and `${name//pattern/text}`.
    fn replacement(&mut self, name: &str) -> Result<String, WordError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.until(Some('/'), true)?.text;
        let text = self.until(Some('}'), true)?.text;
        match self.value(name)? {
            None if self.keeps_unset() => Ok(format!("${{{name}/{pattern}/{text}}}")),
            value => replace(&value.unwrap_or_default(), &pattern, &text, all),
        }
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, WordError> {
        if self.keeps_unset() {
            return Ok(None);
        }
        self.names.insert(name.to_owned());
        match (self.lookup)(name) {
            Lookup::Set(value) => Ok(Some(value)),
            Lookup::Unset => Ok(None),
            Lookup::Unknown => Err(WordError::Unknown(name.to_owned())),
        }
    }

    fn name(&mut self) -> Result<String, WordError> {
        let mut name = String::new();
        match self.peek() {
            Some('0'..='9') => {
                while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
                    name.push(digit);
                    self.next();
                }
                return Ok(name);
            }
            Some(special @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.next();
                return Ok(special.to_string());
            }
            _ => {}
        }
        while let Some(char) = self.peek() {
            if !char.is_ascii() && char.is_alphanumeric() && !self.keeps_unset() {
                // Rust and Go differ on which characters are letters.
                return Err(WordError::Ambiguous(
                    "a variable's name has characters beyond ASCII",
                ));
            }
            if !char.is_alphanumeric() && char != '_' {
                break;
            }
            name.push(char);
            self.next();
        }
        Ok(name)
    }
}

fn missing_brace() -> WordError {
    WordError::Syntax("`}` is missing".to_owned())
}

fn unsupported(operator: Option<char>) -> WordError {
    WordError::Syntax(format!(
        "unsupported modifier `{}` in a substitution",
        operator.map_or_else(String::new, String::from)
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// As in `tests/recorded.rs`.
    #[test]
    fn replaces_variables_as_buildkit_does() {
        let (mut equal, mut refused) = (0, 0);
        for line in include_str!("../tests/recorded/word.jsonl").lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let (question, answer) = (&case["question"], &case["answer"]);
            let word = question["text"].as_str().unwrap();
            let escape = question["escape"].as_str().unwrap().chars().next().unwrap();
            let env: BTreeMap<String, String> =
                serde_json::from_value(question["env"].clone()).unwrap();
            let ours = expand(word, escape, &mut |name| {
                env.get(name)
                    .map_or(Lookup::Unset, |value| Lookup::Set(value.clone()))
            });
            match (&ours, answer.get("ok")) {
                (Ok(ours), Some(theirs)) => {
                    assert_eq!(ours.text, theirs["word"], "{word:?}");
                    assert_eq!(serde_json::json!(ours.names), theirs["names"], "{word:?}");
                    equal += 1;
                }
                (Err(_), None) => refused += 1,
                (Err(WordError::Ambiguous(_)), Some(_)) => {}
                _ => panic!("{word:?}\nours: {ours:?}\ntheirs: {answer}"),
            }
        }
        assert!(
            equal > 100 && refused > 10,
            "{equal} equal, {refused} refused"
        );
    }

    #[test]
    fn an_unknown_variable_makes_the_word_unknown() {
        let unknown = |word: &str| expand(word, '\\', &mut |_| Lookup::Unknown).unwrap_err();
        for word in [
            "$A", "${A}", "x${A:-b}", "${A+c}", "\"$A\"", "${A#x}", "${A/b/c}",
        ] {
            assert_eq!(unknown(word), WordError::Unknown("A".to_owned()), "{word}");
        }
        assert_eq!(
            expand("'$A'\\$A", '\\', &mut |_| Lookup::Unknown)
                .unwrap()
                .text,
            "$A$A"
        );
    }

    #[test]
    fn substitutions_nest_only_so_deep() {
        let deep = "${A:-".repeat(100_000);
        let error = expand(&deep, '\\', &mut |_| Lookup::Unset).unwrap_err();
        assert_eq!(error, WordError::Depth);
        assert_eq!(split(&deep, Split::Raw), Err(WordError::Depth));
    }
}
