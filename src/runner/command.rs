//! Workflow commands: lines on standard output that the runner executes.
//!
//! In: a command's name, properties and text, untrusted. Out: one line that cannot be read as anything else, and in it what a reader sees. Escaping follows the runner's
//! `ActionCommand.cs` (<https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs>).

use super::redact::is_masked;
use super::visible;

/// The runner's limit for an annotation's text (characters): `_maxIssueMessageLength` in its `ExecutionContext.cs`.
const LONGEST_ANNOTATION: usize = 4096;

/// A longer line of the log (bytes) is cut: one that long is no text for people.
const LONGEST_LINE: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warning,
    Notice,
}

/// An annotation, on a line of a file if it has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation<'a> {
    pub level: Level,
    pub title: &'a str,
    pub message: &'a str,
    /// Path relative to the repository, and a line counted from 1.
    pub place: Option<(&'a str, u32)>,
}

impl Annotation<'_> {
    pub(crate) fn line(&self) -> String {
        let (file, line) = self.place.unzip();
        let file = file.map(|file| of_ours(&visible::one_line(file)));
        let line = line.map(|line| line.to_string());
        let title = of_ours(&visible::one_line(self.title));
        let title = Some(title.as_str()).filter(|title| !title.is_empty());
        let properties = [
            ("file", file.as_deref()),
            ("line", line.as_deref()),
            ("title", title),
        ];
        let message = of_ours(&visible::lines(self.message));
        let message: String = message.chars().take(LONGEST_ANNOTATION).collect();
        command(self.level.into(), &properties, &message)
    }
}

pub(crate) fn group(title: &str) -> String {
    command("group", &[], &of_ours(&visible::one_line(title)))
}

pub(crate) fn end_group() -> String {
    command("endgroup", &[], "")
}

/// `::debug::text`, shown only with debug logging.
pub(crate) fn debug(text: &str) -> String {
    command("debug", &[], &of_ours(&visible::lines(within(text))))
}

/// One `::add-mask::` for every line of the secret, because the runner masks line by line; none for short and common lines.
pub(crate) fn masks(secret: &str) -> Vec<String> {
    let lines = secret.lines().map(str::trim).filter(|line| is_masked(line));
    lines.map(|line| command("add-mask", &[], line)).collect()
}

/// Makes a line of foreign text safe to print: the runner executes a leading `::name::` or a `##[name]`, and a lone carriage return ends a
/// line (`StreamReader.ReadLine` in its `ProcessInvoker.cs`).
pub(crate) fn harmless(text: &str) -> String {
    // First: what is taken out might have kept the signs of a command apart.
    let text = visible::one_line(within(text));
    if text.trim_start().starts_with("::") || text.contains("##[") {
        // A zero-width space keeps the text readable.
        of_ours(&text.replacen("::", ":\u{200b}:", 1))
    } else {
        text
    }
}

/// Text without commands of the old form. In a command of the new form the runner executes none, but prints the text, and who reads the log
/// cannot tell them from its own.
fn of_ours(text: &str) -> String {
    text.replace("##[", "#\u{200b}#[")
}

fn within(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_LINE))
        .unwrap_or(text)
}

fn command(name: &str, properties: &[(&str, Option<&str>)], data: &str) -> String {
    let properties = properties.iter();
    let properties: Vec<String> = properties
        .filter_map(|(name, value)| Some(format!("{name}={}", escape((*value)?, true))))
        .collect();
    let space = if properties.is_empty() { "" } else { " " };
    let properties = properties.join(",");
    format!("::{name}{space}{properties}::{}", escape(data, false))
}

fn escape(text: &str, property: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' => escaped.push_str("%25"),
            '\r' => escaped.push_str("%0D"),
            '\n' => escaped.push_str("%0A"),
            ':' if property => escaped.push_str("%3A"),
            ',' if property => escaped.push_str("%2C"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_can_not_break_out_of_its_line() {
        let annotation = Annotation {
            level: Level::Error,
            title: "a,b:c\n",
            message: "100%\n::set-env name=X::y\r\u{1b}[31m#\u{202e}#[error]",
            place: Some(("dir/Docker,file", 7)),
        };
        assert_eq!(
            annotation.line(),
            "::error file=dir/Docker%2Cfile,line=7,title=a%2Cb%3Ac ::100%25%0A::set-env name=X::y #\u{200b}#[error]"
        );
    }

    #[test]
    fn a_long_message_is_cut_where_the_runner_would_cut_it() {
        let message = "é".repeat(5000);
        let annotation = Annotation {
            level: Level::Warning,
            title: "",
            message: &message,
            place: None,
        };
        assert_eq!(
            annotation.line(),
            format!("::warning::{}", "é".repeat(4096))
        );
    }

    #[test]
    fn masks_every_line_of_a_secret_but_short_and_common_ones() {
        assert_eq!(
            masks("hush one\r\n\n  two%\n{\ntrue\nC\n"),
            ["::add-mask::hush one", "::add-mask::two%25"]
        );
        for secret in [" \n", "1", "C", "yes", "true", "False", "latest"] {
            assert!(masks(secret).is_empty(), "{secret}");
        }
    }

    #[test]
    fn foreign_text_is_never_a_command() {
        for text in [
            "::error::x",
            "  ::add-mask::x",
            "##[group]x",
            "a ##[error]b",
            "a\r::add-mask::x",
            "a\n::add-mask::x",
            "\u{202e}::add-mask::x",
            ":\u{200b}:add-mask::x",
            "\u{1b}[0m::add-mask::x",
            "#\u{2066}#[error]x",
            "\u{3000}::add-mask::x",
        ] {
            let printed = harmless(text);
            for line in printed.split(['\r', '\n']) {
                assert!(!line.trim_start().starts_with("::"), "{printed}");
            }
            assert!(!printed.contains("##["), "{printed}");
        }
        assert_eq!(harmless("#7 1.2 std::vector"), "#7 1.2 std::vector");
        assert_eq!(harmless(&"é".repeat(1 << 20)).len(), LONGEST_LINE);
    }
}
