//! Foreign text inside GitHub-flavoured Markdown.
//!
//! Names of steps and layers come from Dockerfiles: they may hold pipes, backticks, HTML, line
//! ends. Rules: <https://github.github.com/gfm/#tables-extension->, <https://github.github.com/gfm/#code-spans>.

/// At most so many characters of a name are shown.
const LONGEST: usize = 90;

/// Text in a code span: cut, on one line, and closed by as many backticks as it needs.
pub(super) fn code(text: &str) -> String {
    span(text, LONGEST)
}

/// The same in a table, where a pipe ends the cell, within code too. Elsewhere its backslash would be shown.
pub(super) fn cell(text: &str) -> String {
    cell_within(text, LONGEST)
}

/// The same, of at most so many characters.
pub(super) fn cell_within(text: &str, longest: usize) -> String {
    span(text, longest).replace('|', "\\|")
}

fn span(text: &str, longest: usize) -> String {
    let text = cut(text, longest);
    let longest = text
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A space keeps a backtick at the edge apart from the fence; renderers strip it.
    let pad = if text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Lines in a code block that nothing inside can close.
pub(super) fn block<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let visible = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let body: String = lines
        .into_iter()
        .flat_map(|line| {
            line.chars()
                .filter(|sign| !turns(*sign))
                .map(visible)
                .chain(['\n'])
        })
        .collect();
    let longest = body
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{body}{fence}\n")
}

/// Plain text: every character that Markdown or HTML could take for its own is escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '@' => {
                escaped.push('\\');
                escaped.push(character);
            }
            other if other.is_control() => escaped.push(' '),
            other if turns(other) => {}
            other => escaped.push(other),
        }
    }
    escaped
}

/// Signs that turn the direction of what follows, beyond the text that they stand in.
fn turns(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(text: &str, longest: usize) -> String {
    // Continued lines of a Dockerfile bring their indentation.
    let mut blank = false;
    let spaced = text.chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    let mut characters = spaced
        .filter(|character| !turns(*character))
        .filter(|character| {
            let again = blank && *character == ' ';
            blank = *character == ' ';
            !again
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
