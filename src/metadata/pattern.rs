//! JavaScript's regular expressions, `text` or `/text/flags`, run by the `regex` crate in linear time.
//!
//! Translated: `\d`, `\w`, `\D`, `\W` (ASCII), `[` and set operators inside a class; flags `i`, `m`, `s`, `g`, `y`
//! (`d`, `u` and `v` have no effect). Errors: look-around and back-references, an empty class (`[]`, `[^]`), a brace that
//! is not a quantifier, `[\b]`. Accepted, although JavaScript does not: a quantifier after a quantifier or `\b`. `\s`,
//! `\b` and `.` may differ on characters that no Git tag contains.
//! <https://developer.mozilla.org/en-US/docs/Web/JavaScript/Guide/Regular_expressions>

use regex::{Regex, RegexBuilder};

#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    given: String,
    regex: Regex,
    /// Flag `g`: every match instead of the groups of the first.
    every: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// The pattern matches, but the group does not exist or matched nothing.
    NoGroup,
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("pattern `{given}`: {why}")]
    Syntax { given: String, why: String },
    #[error(
        "pattern `{given}`: flags `{flags}`, expected each of d, g, i, m, s, u, v, y at most once"
    )]
    Flags { given: String, flags: String },
}

impl Pattern {
    /// Parses `/text/flags`, or a text without flags.
    pub(crate) fn parse(given: &str) -> Result<Self, PatternError> {
        let (text, flags) = given
            .strip_prefix('/')
            .and_then(|rest| rest.rsplit_once('/'))
            .filter(|(text, _)| !text.is_empty() && !given.contains(['\n', '\r']))
            .unwrap_or((given, ""));
        Self::new(given, text, flags)
    }

    /// Parses a text without flags; its slashes are literal.
    pub(crate) fn without_flags(given: &str) -> Result<Self, PatternError> {
        Self::new(given, given, "")
    }

    fn new(given: &str, text: &str, flags: &str) -> Result<Self, PatternError> {
        let twice = flags.chars().any(|flag| flags.matches(flag).count() > 1);
        if twice || !flags.chars().all(|flag| "dgimsuvy".contains(flag)) {
            return Err(PatternError::Flags {
                given: given.to_owned(),
                flags: flags.to_owned(),
            });
        }
        let mut translated = translate(text);
        if flags.contains('y') {
            translated = format!("\\A(?:{translated})");
        }
        let regex = RegexBuilder::new(&translated)
            .case_insensitive(flags.contains('i'))
            .multi_line(flags.contains('m'))
            .dot_matches_new_line(flags.contains('s'))
            .build()
            .map_err(|error| PatternError::Syntax {
                given: given.to_owned(),
                why: reason(&error),
            })?;
        Ok(Self {
            given: given.to_owned(),
            regex,
            every: flags.contains('g'),
        })
    }

    pub(crate) fn given(&self) -> &str {
        &self.given
    }

    /// The text of a group in the first match; 0 is the whole match.
    pub(crate) fn find(&self, text: &str, group: usize) -> Found {
        let Some(captures) = self.regex.captures(text) else {
            return Found::Nothing;
        };
        let found = if self.every {
            self.regex.find_iter(text).nth(group)
        } else {
            captures.get(group)
        };
        found.map_or(Found::NoGroup, |found| {
            Found::Text(found.as_str().to_owned())
        })
    }
}

/// The last line of a syntax error; the lines before it draw the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_class = false;
    let mut previous = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let next = chars.next();
                // A dash before a class such as `\d` is literal, not a range: `[.-\d]`.
                if in_class && previous == Some('-') && matches!(next, Some('d' | 'D' | 'w' | 'W'))
                {
                    out.pop();
                    out.push_str("\\-");
                }
                match next {
                    Some('d') => out.push_str("[0-9]"),
                    Some('D') => out.push_str("[^0-9]"),
                    Some('w') => out.push_str("[0-9A-Za-z_]"),
                    Some('W') => out.push_str("[^0-9A-Za-z_]"),
                    Some(other) => out.extend(['\\', other]),
                    None => out.push('\\'),
                }
                previous = None;
                continue;
            }
            '[' if in_class => out.push_str("\\["),
            '&' | '-' | '~' if in_class && previous == Some(c) => out.extend(['\\', c]),
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            _ => out.push(c),
        }
        previous = Some(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_groups() {
        for (given, text, group, expected) in [
            (r"\d.\d.\d", "v1.2.3", 0, Some("1.2.3")),
            ("v(.*)", "v1.2.3", 1, Some("1.2.3")),
            ("v(.*)", "v1.2.3", 2, None),
            ("/V(.*)/i", "v1.2.3", 1, Some("1.2.3")),
            ("/\\d/g", "v1.2.3", 2, Some("3")),
            ("/2/y", "v1.2.3", 0, None),
            ("/a", "b/a", 0, Some("/a")),
            ("[[&&]+", "a[&&", 0, Some("[&&")),
            (r"[.-\d]+", "a-.1/", 0, Some("-.1")),
            ("\\d", "٣4", 0, Some("4")),
            ("(?<x>v)", "v", 1, Some("v")),
        ] {
            let found = Pattern::parse(given).unwrap().find(text, group);
            let found = match &found {
                Found::Text(text) => Some(text.as_str()),
                Found::Nothing | Found::NoGroup => None,
            };
            assert_eq!(found, expected, "{given}");
        }
    }

    #[test]
    fn names_an_invalid_pattern() {
        for (given, why) in [
            ("(", "pattern `(`: unclosed group"),
            ("[", "unclosed character class"),
            ("(?=v)", "look-around"),
            (r"(.)\1", "backreferences are not supported"),
            ("/a/b", "flags `b`"),
            ("/a/ii", "flags `ii`"),
            ("a{9}{9}{9}{9}{9}{9}{9}{9}", "size"),
        ] {
            let error = Pattern::parse(given).unwrap_err().to_string();
            assert!(error.contains(why), "{given}: {error}");
        }
    }

    proptest! {
        #[test]
        fn survives_any_pattern(given in "[/a\\\\d\\[\\]()?*+{}1,^$&~.gi-]{0,24}", text in "[a-c0-9./-]{0,12}") {
            if let Ok(pattern) = Pattern::parse(&given) {
                let _ = pattern.find(&text, 1);
            }
        }
    }
}
