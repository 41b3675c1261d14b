//! Workflow commands: lines on standard output that the runner executes.
//!
//! In: a command's name, properties and text, untrusted. Out: one line that cannot be read as anything else. Escaping follows the runner's
//! `ActionCommand.cs` (<https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs>).

use super::redact::is_masked;

/// The runner's limit for an annotation's text (characters): `_maxIssueMessageLength` in its `ExecutionContext.cs`.
const LONGEST_ANNOTATION: usize = 4096;

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
        let line = line.map(|line| line.to_string());
        let title = Some(self.title).filter(|title| !title.is_empty());
        let properties = [("file", file), ("line", line.as_deref()), ("title", title)];
        let message: String = self.message.chars().take(LONGEST_ANNOTATION).collect();
        command(self.level.into(), &properties, &message)
    }
}

pub(crate) fn group(title: &str) -> String {
    command("group", &[], title)
}

pub(crate) fn end_group() -> String {
    command("endgroup", &[], "")
}

/// `::debug::text`, shown only with debug logging.
pub(crate) fn debug(text: &str) -> String {
    command("debug", &[], text)
}

/// One `::add-mask::` for every line of the secret, because the runner masks line by line; none for short and common lines.
pub(crate) fn masks(secret: &str) -> Vec<String> {
    let lines = secret.lines().map(str::trim).filter(|line| is_masked(line));
    lines.map(|line| command("add-mask", &[], line)).collect()
}

/// Makes a line of foreign text safe to print: the runner executes a leading `::name::` or a `##[name]`, and a lone carriage return ends a
/// line (`StreamReader.ReadLine` in its `ProcessInvoker.cs`).
pub(crate) fn harmless(text: &str) -> String {
    let text = text.replace(['\r', '\n'], " ");
    if text.trim_start().starts_with("::") || text.contains("##[") {
        // A zero-width space keeps the text readable.
        text.replacen("::", ":\u{200b}:", 1)
            .replace("##[", "#\u{200b}#[")
    } else {
        text
    }
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
            message: "100%\n::set-env name=X::y\r",
            place: Some(("dir/Docker,file", 7)),
        };
        assert_eq!(
            annotation.line(),
            "::error file=dir/Docker%2Cfile,line=7,title=a%2Cb%3Ac%0A::100%25%0A::set-env name=X::y%0D"
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
        ] {
            let printed = harmless(text);
            for line in printed.split(['\r', '\n']) {
                assert!(!line.trim_start().starts_with("::"), "{printed}");
            }
            assert!(!printed.contains("##["), "{printed}");
        }
        assert_eq!(harmless("#7 1.2 std::vector"), "#7 1.2 std::vector");
    }
}
