//! Foreign text as a reader sees it: what every exit for people (log, annotations, summary, comment) does first.
//!
//! In: any text. Out: the text without terminal sequences, without characters that change the direction of what follows, without
//! characters that have no shape, and without what gives rights in addresses; other control characters are spaces. The rest is the reader's to see. Direction:
//! <https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>; no shape:
//! <https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point>, but for the joiners, without which some languages are misspelled.

use std::borrow::Cow;

use super::address::without_capabilities;

/// The text on one line.
pub(crate) fn one_line(text: &str) -> String {
    visible(text, |_| false)
}

/// The same with line breaks.
pub(crate) fn lines(text: &str) -> String {
    visible(&text.replace("\r\n", "\n"), |character| character == '\n')
}

fn visible(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            other if is_kept(other) => shown.push(other),
            '\u{1b}' if characters.next_if_eq(&'[').is_some() => skip_sequence(&mut characters),
            '\u{9b}' => skip_sequence(&mut characters),
            '\u{1b}' => {}
            other if is_invisible(other) => {}
            other if other.is_control() || matches!(other, '\u{2028}' | '\u{2029}') => {
                shown.push(' ');
            }
            other => shown.push(other),
        }
    }
    match without_capabilities(&shown) {
        Cow::Borrowed(_) => shown,
        Cow::Owned(shown) => shown,
    }
}

/// What follows a control sequence's introducer: parameters, intermediates, one final character
/// (<https://ecma-international.org/publications-and-standards/standards/ecma-48/>, 5.4).
fn skip_sequence(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while characters
        .next_if(|next| (' '..='?').contains(next))
        .is_some()
    {}
    characters.next_if(|next| ('@'..='~').contains(next));
}

fn is_invisible(character: char) -> bool {
    matches!(character,
        // Direction.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // No shape.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reader_sees_all_that_is_there() {
        let cases = [
            ("a\tb\0c\u{7f}d", "a b c d"),
            ("\u{1b}[1;31mred\u{1b}[0m\u{1b}[2K\u{1b}[3~.", "red."),
            ("\u{9b}31mred", "red"),
            ("a\u{1b}[31évil", "aévil"),
            ("\u{1b}]0;title\u{7}x", "]0;title x"),
            ("\u{1b}\u{1b}c", "c"),
            ("a\u{202e}b\u{2066}c\u{61c}d", "abcd"),
            ("a\u{200b}b\u{feff}c\u{e0041}d\u{ad}e", "abcde"),
            ("a\u{200d}b\u{200c}c", "a\u{200d}b\u{200c}c"),
            ("a\r\nb\u{2028}c\u{85}d", "a  b c d"),
        ];
        for (text, expected) in cases {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
        assert_eq!(lines("a\r\nb\rc\nd"), "a\nb c\nd");
    }

    proptest! {
        #[test]
        fn nothing_else_is_left(text in "(\u{1b}|\\[|\u{9b}|\u{202e}|\u{200b}|\r|\n|\0|\\PC|.){0,40}") {
            let shown = one_line(&text);
            prop_assert!(!shown.chars().any(|character| character.is_control() || is_invisible(character)), "{shown:?}");
            let shown = lines(&text);
            prop_assert!(!shown.replace('\n', "").chars().any(|character| character.is_control() || is_invisible(character)), "{shown:?}");
        }
    }
}
