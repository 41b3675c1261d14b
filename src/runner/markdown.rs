//! Foreign text in GitHub-flavoured Markdown: the job summary and comments.
//!
//! Names of steps and layers come from Dockerfiles and may hold pipes, backticks, HTML and line breaks. Rules:
//! <https://github.github.com/gfm/#tables-extension->, <https://github.github.com/gfm/#code-spans>.

use super::visible;

/// Longest name (characters).
const LONGEST: usize = 90;

/// Limit for a line of an error, a warning or a step's output (bytes).
const LONGEST_LINE: usize = 4_000;

/// A code span on one line, cut.
pub(crate) fn code(text: &str) -> String {
    span(text, LONGEST)
}

/// The same in a table, where a pipe ends the cell even in a code span.
pub(crate) fn cell(text: &str) -> String {
    cell_within(text, LONGEST)
}

/// The same of at most `longest` characters.
pub(crate) fn cell_within(text: &str, longest: usize) -> String {
    span(text, longest).replace('|', "\\|")
}

fn span(text: &str, longest: usize) -> String {
    let text = cut(text, longest);
    let fence = "`".repeat(longest_fence(&text) + 1);
    // A space separates a backtick at the edge from the fence; renderers strip it.
    let pad = if text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Lines in a code block that nothing inside can close.
pub(crate) fn block<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines = lines.into_iter().map(one_line_within);
    let body: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
    let fence = "`".repeat(longest_fence(&body).max(2) + 1);
    format!("{fence}text\n{body}{fence}\n")
}

/// The most backticks in a row.
fn longest_fence(text: &str) -> usize {
    let runs = text.split(|character| character != '`').map(str::len);
    runs.max().unwrap_or(0)
}

/// Plain text on one line, cut: escapes every character with a meaning in Markdown or HTML, and keeps GitHub from reading a mention of a
/// user or a reference to an issue, which would notify somebody. A bare address stays a link: it shows where it goes.
pub(crate) fn plain(text: &str) -> String {
    let text = one_line_within(text);
    let text = text.trim_start();
    let mut escaped = String::with_capacity(text.len());
    let number = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let end_of_number = text.len() - number.len();
    let mut before = ' ';
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        let after = characters.peek().map_or(' ', |(_, next)| *next);
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // GitHub looks for both in the page, where the backslash is gone
            // (<https://docs.github.com/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls>).
            '@' if !before.is_alphanumeric() && after.is_alphanumeric() => {
                escaped.push_str("\\@\u{200b}");
            }
            '#' | '-' if after.is_ascii_digit() && is_reference(text, index) => {
                escaped.push_str(if character == '#' { "\\#" } else { "-" });
                escaped.push('\u{200b}');
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '@' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            // A list, a heading's or a table's rule.
            '-' | '+' | '=' | ':' if index == 0 => {
                escaped.push('\\');
                escaped.push(character);
            }
            '.' | ')' if index > 0 && index == end_of_number => {
                escaped.push('\\');
                escaped.push(character);
            }
            other => escaped.push(other),
        }
        before = character;
    }
    escaped
}

/// Whether the `#` or `-` of `#7`, `owner/name#7` or `GH-7` is there.
fn is_reference(text: &str, index: usize) -> bool {
    let (before, sign) = text.split_at_checked(index).unwrap_or((text, ""));
    sign.starts_with('#') || before.to_ascii_lowercase().ends_with("gh")
}

fn one_line_within(line: &str) -> String {
    let kept = line.get(..line.floor_char_boundary(LONGEST_LINE));
    visible::one_line(kept.unwrap_or(line))
}

fn cut(text: &str, longest: usize) -> String {
    // Continuation lines of a Dockerfile are indented.
    let mut blank = false;
    let text = visible::one_line(text);
    let mut characters = text.chars().filter(|character| {
        let repeated = blank && *character == ' ';
        blank = *character == ' ';
        !repeated
    });
    let mut kept: String = characters.by_ref().take(longest).collect();
    if characters.next().is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_span_holds_any_text() {
        assert_eq!(code("RUN a | b"), "`RUN a | b`");
        assert_eq!(cell("RUN a | b"), "`RUN a \\| b`");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`x`"), "`` `x` ``");
        assert_eq!(code("a\nb\0c"), "`a b c`");
        assert_eq!(code(""), "`  `");
        assert_eq!(code("RUN a \\\n    b"), "`RUN a \\ b`");
        assert_eq!(code("RUN a     b\u{202e}c"), "`RUN a bc`");
        assert_eq!(code(&"x".repeat(200)).chars().count(), LONGEST + 3);
    }

    #[test]
    fn a_block_can_not_be_closed_from_inside() {
        assert_eq!(block(["a", "````", "b"]), "`````text\na\n````\nb\n`````\n");
        assert_eq!(block(["a\u{202e}b\0\u{1b}c"]), "```text\nab c\n```\n");
    }

    #[test]
    fn plain_text_is_neither_markup_nor_a_mention() {
        let cases = [
            ("a\u{202e}b\u{2066}", "ab"),
            ("<b>@x `y` a|b", "&lt;b&gt;\\@\u{200b}x \\`y\\` a\\|b"),
            ("a@b.example r/a@sha256:1", "a\\@b.example r/a\\@sha256:1"),
            ("fixes #12", "fixes \\#\u{200b}12"),
            ("o/r#1 GH-1 a-1", "o/r\\#\u{200b}1 GH-\u{200b}1 a-1"),
            ("--- a", "\\--- a"),
            ("  === ", "\\=== "),
            ("12. a 12. b", "12\\. a 12. b"),
            (":-: | :-:", "\\:-: \\| :-:"),
            ("![a](b) $x$", "\\!\\[a\\](b) \\$x\\$"),
            ("12", "12"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected, "{text}");
        }
        assert_eq!(plain(&"é".repeat(9_000)).len(), LONGEST_LINE);
    }
}
