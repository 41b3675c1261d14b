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

/// Why a text is no list. It shows nothing of the text, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("line {line}: a double quote is opened and never closed")]
    UnclosedQuote {
        /// Where the quote opens, counted from 1.
        line: usize,
    },
    #[error("line {line}: a closing quote must be followed by a comma or the end of the line")]
    TextAfterQuote { line: usize },
    #[error("line {line}: a quote may only open a field")]
    QuoteInsideField { line: usize },
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
    let items = items(input, grammar)?.into_iter();
    Ok(items.map(|item| item.text).collect())
}

/// An item, as [`parse`] returns it.
#[derive(Debug, PartialEq, Eq)]
pub struct ListItem {
    pub text: String,
    /// Whether quotes were removed inside it, other than those around the whole: they may have
    /// been meant.
    pub lost_quotes: bool,
}

/// The items of an input, and what became of their quotes.
pub fn items(input: &str, grammar: Grammar) -> Result<Vec<ListItem>, ListError> {
    let trims = grammar != Grammar::Secrets;
    let input = if trims { trim(input) } else { input };
    let dialect = match grammar {
        Grammar::Commas | Grammar::Lines | Grammar::Secrets => RELAXED,
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
    for record in records(input, dialect)? {
        let lost_quotes = record.len() > 1 && record.iter().any(|field| field.was_quoted);
        let fields = texts(record);
        let texts = match fields.as_slice() {
            [field] if grammar == Grammar::Commas => field.split(',').map(str::to_owned).collect(),
            _ if grammar == Grammar::Commas => fields,
            _ => vec![fields.join(",")],
        };
        items.extend(texts.into_iter().map(|text| ListItem { text, lost_quotes }));
    }
    items.retain(|item| !item.text.is_empty());
    if trims {
        for item in &mut items {
            item.text = trim(&item.text).to_owned();
        }
    }
    Ok(items)
}

/// The comma-separated fields of one rule (`type=raw,"value=a,b"`), blanks kept. Quotes are strict here, as
/// docker/metadata-action reads a rule; of a rule with several lines outside quotes only the first line counts.
pub fn fields(rule: &str) -> Result<Vec<String>, ListError> {
    let records = records(rule, STRICT)?;
    Ok(texts(records.into_iter().next().unwrap_or_default()))
}

/// The fields of the one record of a text, with strict quotes; none for no record, or several.
pub(crate) fn record(text: &str) -> Option<Vec<String>> {
    let mut records = records(text, STRICT).ok()?.into_iter();
    let record = records.next()?;
    records.next().is_none().then(|| texts(record))
}

fn texts(record: Vec<Field>) -> Vec<String> {
    record.into_iter().map(|field| field.text).collect()
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

const RELAXED: Dialect = Dialect {
    quotes: Quotes::Relaxed,
    comments: false,
};

const STRICT: Dialect = Dialect {
    quotes: Quotes::Strict,
    comments: false,
};

#[derive(Debug, Default)]
struct Field {
    text: String,
    /// Whether it had quotes around it, which are gone. It counts even when it is empty.
    was_quoted: bool,
}

/// The number of the line where a byte is, counted from 1.
fn line(input: &str, at: usize) -> usize {
    let before = input.get(..at).unwrap_or_default();
    let ends = before.matches('\n').count() + before.matches('\r').count();
    ends - before.matches("\r\n").count() + 1
}

/// Cuts a text into records of fields, in one pass.
fn records(input: &str, dialect: Dialect) -> Result<Vec<Vec<Field>>, ListError> {
    let mut records = Vec::new();
    let mut record: Vec<Field> = Vec::new();
    let mut field = Field::default();
    let mut line_end: Option<&'static str> = None;
    let mut quote_opened_at: Option<usize> = None;
    let mut in_comment = false;

    let mut rest = input;
    while let Some(c) = rest.chars().next() {
        let here = rest;
        let at = input.len() - here.len();
        rest = after(here, c.len_utf8());

        if quote_opened_at.is_some() {
            if c != '"' {
                field.text.push(c);
                continue;
            }
            if rest.starts_with('"') {
                field.text.push('"');
                rest = after(rest, 1);
                continue;
            }
            line_end = line_end.or_else(|| first_line_end(rest));
            let closes = rest.is_empty()
                || rest.starts_with(',')
                || line_end.is_some_and(|end| rest.starts_with(end))
                || dialect.comments && rest.starts_with('#');
            if !closes && dialect.quotes == Quotes::Strict {
                let line = line(input, at + 1);
                return Err(ListError::TextAfterQuote { line });
            }
            quote_opened_at = None;
            field.was_quoted = closes;
            if !closes {
                field.text.insert(0, '"');
                field.text.push('"');
            }
            continue;
        }

        line_end = line_end.or_else(|| first_line_end(here));
        if c == '"' && !in_comment && dialect.quotes != Quotes::Text {
            if field.text.is_empty() {
                quote_opened_at = Some(at);
                continue;
            }
            if dialect.quotes == Quotes::Strict {
                let line = line(input, at);
                return Err(ListError::QuoteInsideField { line });
            }
        }
        if let Some(end) = line_end.filter(|end| here.starts_with(end)) {
            rest = after(here, end.len());
            // Nothing on the line, or nothing but a comment.
            if field.was_quoted || !record.is_empty() || !field.text.is_empty() {
                record.push(mem::take(&mut field));
                records.push(mem::take(&mut record));
            }
            in_comment = false;
        } else if in_comment
            || c == '#' && dialect.comments && record.is_empty() && field.text.is_empty()
        {
            in_comment = true;
        } else if c == ',' {
            record.push(mem::take(&mut field));
        } else {
            field.text.push(c);
        }
    }

    if let Some(at) = quote_opened_at {
        let line = line(input, at);
        return Err(ListError::UnclosedQuote { line });
    }
    if field.was_quoted || !record.is_empty() || !field.text.is_empty() {
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
        for (input, line) in [
            ("a\nb\n\"name=ghcr.io/o/r", 3),
            ("a\r\n\"b", 2),
            ("a\r\"b", 2),
            ("a,\"b\nc", 1),
        ] {
            assert_eq!(
                parse(input, Grammar::Lines),
                Err(ListError::UnclosedQuote { line }),
                "{input}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_quote_in_a_rule() {
        assert_eq!(
            fields("type=raw,\"value\"x"),
            Err(ListError::TextAfterQuote { line: 1 })
        );
        assert_eq!(
            fields("a\ntype=raw,pattern=\"a\""),
            Err(ListError::QuoteInsideField { line: 2 })
        );
    }

    #[test]
    fn never_shows_the_text_in_an_error() {
        for input in ["A=1\n\"TOKEN=hunter2", "A=1\n\"hunter2", "\"hunter2\n=3"] {
            let error = parse(input, Grammar::Secrets).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert!(error.hint().contains("close it"));
        }
    }

    #[test]
    fn tells_which_items_lost_quotes() {
        for (input, expected) in [
            ("A=[\"a\",\"b\",\"c\"]", &[("A=[\"a\",b,\"c\"]", true)][..]),
            ("A=1,\"b\"", &[("A=1,b", true)]),
            ("\"A=x\"", &[("A=x", false)]),
            ("\"A=[\"\"a\"\",b]\"", &[("A=[\"a\",b]", false)]),
            (
                "A={\"a\":1}\nB=\"x\"",
                &[("A={\"a\":1}", false), ("B=\"x\"", false)],
            ),
        ] {
            let found = items(input, Grammar::Secrets).unwrap();
            let found: Vec<(&str, bool)> = found
                .iter()
                .map(|item| (item.text.as_str(), item.lost_quotes))
                .collect();
            assert_eq!(found, expected, "{input}");
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
