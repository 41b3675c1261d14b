//! The list grammar of docker's actions: one text in, its items out, byte for byte as `Util.getInputList` of
//! docker/actions-toolkit returns them (csv-parse with relaxed quotes, then the joining and splitting of records).
//! Source: <https://github.com/docker/actions-toolkit/blob/main/src/util.ts>, <https://csv.js.org/parse/options/>.
//!
//! Quotes span lines and `""` is a quote; the first line end found (`\r\n`, `\n` or `\r`) is the only one that counts
//! from then on; an item of blanks alone stays, as an empty item, and an item with nothing in it goes.
//! `tests/fixtures/list/cases.json` holds what the real parser answered, and the tests compare with it.

use std::mem;

/// How one input's text is cut into items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Lines and commas separate: `tags`, `platforms`, `allow`, `ssh`.
    Commas,
    /// One item a line, commas kept: `build-args`, `labels`, `cache-from`.
    Lines,
    /// One item a line, commas and quotes kept, which buildx reads itself: `outputs`, `driver-opts`.
    QuotedLines,
    /// One item a line and its blanks kept, since they may belong to a key's text: `secrets`.
    Secrets,
    /// One item a line, lines beginning with `#` dropped: docker/metadata-action's `tags`, `flavor`, `labels`.
    Rules,
}

/// Why a text is no list. Never holds what follows the first `=`, nor anything of a secret but its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("line {line}: the quote opened at `{found}` is never closed")]
    UnclosedQuote {
        /// Where the quote opens, counted from 1.
        line: usize,
        /// The text from the quote on, shortened.
        found: String,
    },
    #[error(
        "line {line}: expected a comma or the end of the line after the closing quote, found `{found}`"
    )]
    TextAfterQuote { line: usize, found: String },
    #[error("line {line}: a quote may only open a field, found `{found}` inside one")]
    QuoteInsideField { line: usize, found: String },
}

impl ListError {
    /// The next thing to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnclosedQuote { .. } => {
                "close it with `\"` before a comma or the end of a line; a quote inside quotes is written `\"\"`"
            }
            Self::TextAfterQuote { .. } | Self::QuoteInsideField { .. } => {
                "put the whole field in quotes, and write a quote inside it as `\"\"`"
            }
        }
    }
}

/// The items of an input. No text at all is an empty list.
pub fn parse(input: &str, grammar: Grammar) -> Result<Vec<String>, ListError> {
    let trims = grammar != Grammar::Secrets;
    let input = if trims { trim(input) } else { input };
    let dialect = match grammar {
        Grammar::Commas | Grammar::Lines | Grammar::Secrets => Dialect {
            quotes: Quotes::Relaxed,
            comments: false,
        },
        Grammar::QuotedLines => Dialect {
            quotes: Quotes::Text,
            comments: false,
        },
        Grammar::Rules => Dialect {
            quotes: Quotes::Relaxed,
            comments: true,
        },
    };
    let mut items = Vec::new();
    for record in records(input, dialect).map_err(|fault| fault.locate(input, grammar))? {
        if grammar != Grammar::Commas {
            items.push(record.join(","));
        } else if let [field] = record.as_slice() {
            items.extend(field.split(',').map(str::to_owned));
        } else {
            items.extend(record);
        }
    }
    items.retain(|item| !item.is_empty());
    if trims {
        for item in &mut items {
            *item = trim(item).to_owned();
        }
    }
    Ok(items)
}

/// The comma-separated fields of one rule (`type=raw,"value=a,b"`), blanks kept. Quotes are strict here, as
/// docker/metadata-action reads a rule; of a rule with several lines outside quotes only the first line counts.
pub fn fields(rule: &str) -> Result<Vec<String>, ListError> {
    let dialect = Dialect {
        quotes: Quotes::Strict,
        comments: false,
    };
    let records = records(rule, dialect).map_err(|fault| fault.locate(rule, Grammar::Rules))?;
    Ok(records.into_iter().next().unwrap_or_default())
}

/// The fields of the one record of a text, with strict quotes; none for no record, or several.
pub(crate) fn record(text: &str) -> Result<Option<Vec<String>>, ListError> {
    let dialect = Dialect {
        quotes: Quotes::Strict,
        comments: false,
    };
    let records = records(text, dialect).map_err(|fault| fault.locate(text, Grammar::Rules))?;
    let mut records = records.into_iter();
    Ok(records.next().filter(|_| records.next().is_none()))
}

/// Removes what JavaScript's `String.prototype.trim` removes: unlike Rust's, the byte order mark but not U+0085.
/// <https://tc39.es/ecma262/#sec-trimstring>
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\u{feff}' || c != '\u{85}' && c.is_whitespace())
}

#[derive(Debug, Clone, Copy)]
struct Dialect {
    quotes: Quotes,
    comments: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// Ordinary characters.
    Text,
    /// A quote in an unexpected place is an ordinary character.
    Relaxed,
    /// A quote in an unexpected place is an error.
    Strict,
}

/// What is wrong, with the byte where it is.
struct Fault {
    at: usize,
    kind: fn(usize, String) -> ListError,
}

impl Fault {
    fn locate(&self, input: &str, grammar: Grammar) -> ListError {
        let before = input.get(..self.at).unwrap_or_default();
        let line_ends = before.matches('\n').count() + before.matches('\r').count()
            - before.matches("\r\n").count();
        let shown = input.get(self.at..).unwrap_or_default();
        let shown = shown.split(['\r', '\n']).next().unwrap_or_default();
        let found = match shown.split_once('=') {
            Some((name, _)) if name.chars().count() < SHOWN => format!("{name}=…"),
            _ if grammar == Grammar::Secrets => "\"…".to_owned(),
            _ if shown.chars().count() <= SHOWN => shown.to_owned(),
            _ => shown.chars().take(SHOWN).chain(['…']).collect(),
        };
        (self.kind)(line_ends + 1, found)
    }
}

/// How many characters of a faulty text an error shows.
const SHOWN: usize = 40;

/// Cuts a text into records of fields, in one pass.
fn records(input: &str, dialect: Dialect) -> Result<Vec<Vec<String>>, Fault> {
    let mut records = Vec::new();
    let mut record: Vec<String> = Vec::new();
    let mut field = String::new();
    let mut line_end: Option<&'static str> = None;
    let mut quote_opened_at: Option<usize> = None;
    // A field that was quoted counts even when it is empty.
    let mut was_quoted = false;
    let mut in_comment = false;

    let mut rest = input;
    while let Some(c) = rest.chars().next() {
        let here = rest;
        let at = input.len() - here.len();
        rest = after(here, c.len_utf8());

        if quote_opened_at.is_some() {
            if c != '"' {
                field.push(c);
                continue;
            }
            if rest.starts_with('"') {
                field.push('"');
                rest = after(rest, 1);
                continue;
            }
            line_end = line_end.or_else(|| first_line_end(rest));
            let closes = rest.is_empty()
                || rest.starts_with(',')
                || line_end.is_some_and(|end| rest.starts_with(end))
                || dialect.comments && rest.starts_with('#');
            if !closes && dialect.quotes == Quotes::Strict {
                return Err(Fault {
                    at: at + 1,
                    kind: |line, found| ListError::TextAfterQuote { line, found },
                });
            }
            quote_opened_at = None;
            was_quoted = true;
            if !closes {
                field.insert(0, '"');
                field.push('"');
            }
            continue;
        }

        line_end = line_end.or_else(|| first_line_end(here));
        if c == '"' && !in_comment && dialect.quotes != Quotes::Text {
            if field.is_empty() {
                quote_opened_at = Some(at);
                continue;
            }
            if dialect.quotes == Quotes::Strict {
                return Err(Fault {
                    at,
                    kind: |line, found| ListError::QuoteInsideField { line, found },
                });
            }
        }
        if let Some(end) = line_end.filter(|end| here.starts_with(end)) {
            rest = after(here, end.len());
            // Nothing on the line, or nothing but a comment.
            if was_quoted || !record.is_empty() || !field.is_empty() {
                record.push(mem::take(&mut field));
                records.push(mem::take(&mut record));
                was_quoted = false;
            }
            in_comment = false;
        } else if in_comment
            || c == '#' && dialect.comments && record.is_empty() && field.is_empty()
        {
            in_comment = true;
        } else if c == ',' {
            record.push(mem::take(&mut field));
            was_quoted = false;
        } else {
            field.push(c);
        }
    }

    if let Some(at) = quote_opened_at {
        return Err(Fault {
            at,
            kind: |line, found| ListError::UnclosedQuote { line, found },
        });
    }
    if was_quoted || !record.is_empty() || !field.is_empty() {
        record.push(field);
        records.push(record);
    }
    Ok(records)
}

/// What follows the first `bytes` of a text; the caller knows that a character ends there.
fn after(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or_default()
}

fn first_line_end(text: &str) -> Option<&'static str> {
    ["\r\n", "\n", "\r"]
        .into_iter()
        .find(|end| text.starts_with(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORDED: &str = include_str!("../../../tests/fixtures/list/cases.json");

    #[test]
    fn cuts_every_recorded_text_as_the_real_parser_did() {
        #[derive(serde::Deserialize)]
        struct Recorded {
            cases: Vec<(String, String, Option<Vec<String>>)>,
        }
        let recorded: Recorded = serde_json::from_str(RECORDED).unwrap();
        assert!(recorded.cases.len() > 5000);
        let refused = recorded.cases.iter().filter(|case| case.2.is_none());
        assert!(refused.count() > 1000);
        for (grammar, input, expected) in recorded.cases {
            let result = match grammar.as_str() {
                "commas" => parse(&input, Grammar::Commas),
                "lines" => parse(&input, Grammar::Lines),
                "quoted_lines" => parse(&input, Grammar::QuotedLines),
                "secrets" => parse(&input, Grammar::Secrets),
                "rules" => parse(&input, Grammar::Rules),
                "attributes" => fields(&input),
                other => panic!("unknown grammar {other}"),
            };
            assert_eq!(result.ok(), expected, "{grammar} {input:?}");
        }
    }

    #[test]
    fn says_where_a_quote_was_left_open() {
        let cases = [
            (
                "last line",
                "a\nb\n\"name=ghcr.io/o/r",
                3,
                "\"name=…".to_owned(),
            ),
            ("windows lines", "a\r\n\"b", 2, "\"b".to_owned()),
            ("old mac lines", "a\r\"b", 2, "\"b".to_owned()),
            ("second field", "a,\"b\nc", 1, "\"b".to_owned()),
            (
                "long",
                &format!("\"{}", "x".repeat(100)),
                1,
                format!("\"{}…", "x".repeat(39)),
            ),
        ];
        for (name, input, line, found) in cases {
            assert_eq!(
                parse(input, Grammar::Lines),
                Err(ListError::UnclosedQuote { line, found }),
                "{name}"
            );
        }
    }

    #[test]
    fn says_what_stands_beside_a_quote_in_a_rule() {
        assert_eq!(
            fields("type=raw,\"value\"x").unwrap_err().to_string(),
            "line 1: expected a comma or the end of the line after the closing quote, found `x`"
        );
        assert_eq!(
            fields("type=raw,pattern=\"a\"").unwrap_err().to_string(),
            "line 1: a quote may only open a field, found `\"a\"` inside one"
        );
    }

    #[test]
    fn never_shows_a_secret_in_an_error() {
        for input in ["A=1\n\"TOKEN=hunter2", "A=1\n\"hunter2", "\"hunter2\n=3"] {
            let error = parse(input, Grammar::Secrets).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert!(error.hint().contains("close it"));
        }
    }

    proptest! {
        #[test]
        fn survives_any_text(input in ".{0,200}") {
            for grammar in [Grammar::Commas, Grammar::Lines, Grammar::QuotedLines, Grammar::Secrets, Grammar::Rules] {
                let _ = parse(&input, grammar);
            }
            let _ = fields(&input);
        }

        #[test]
        fn reads_back_any_quoted_item(item in "[^\\s\"]([^\"]|\"\"){0,40}[^\\s\"]") {
            let plain = item.replace("\"\"", "\"");
            prop_assume!(trim(&plain) == plain);
            prop_assert_eq!(parse(&format!("\"{item}\""), Grammar::Lines).unwrap(), vec![plain]);
        }
    }
}
