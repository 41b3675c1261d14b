//! Foreign text in GitHub-flavoured Markdown: the job summary and comments.
//!
//! Names of steps and layers come from Dockerfiles and may hold pipes, backticks, HTML and line breaks. Rules:
//! <https://github.github.com/gfm/#tables-extension->, <https://github.github.com/gfm/#code-spans>.

/// Longest name (characters).
const LONGEST: usize = 90;

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
    let lines = lines.into_iter();
    let body: String = lines.flat_map(|line| visible(line).chain(['\n'])).collect();
    let fence = "`".repeat(longest_fence(&body).max(2) + 1);
    format!("{fence}text\n{body}{fence}\n")
}

/// The most backticks in a row.
fn longest_fence(text: &str) -> usize {
    let runs = text.split(|character| character != '`').map(str::len);
    runs.max().unwrap_or(0)
}

/// Plain text: escapes every character with a meaning in Markdown or HTML.
pub(crate) fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible(text) {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '@' => {
                escaped.push('\\');
                escaped.push(character);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// Control characters become spaces. Characters that change the text direction are removed: they would affect the text that follows.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let directions = |character: &char| !matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let spaced = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    text.chars().filter(directions).map(spaced)
}

fn cut(text: &str, longest: usize) -> String {
    // Continuation lines of a Dockerfile are indented.
    let mut blank = false;
    let mut characters = visible(text).filter(|character| {
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
        assert_eq!(block(["a\u{202e}b\0\u{1b}c"]), "```text\nab  c\n```\n");
    }

    #[test]
    fn plain_text_is_neither_markup_nor_a_mention() {
        assert_eq!(plain("a\u{202e}b\u{2066}"), "ab");
        assert_eq!(plain("<b>@x `y` a|b"), "&lt;b&gt;\\@x \\`y\\` a\\|b");
    }
}
