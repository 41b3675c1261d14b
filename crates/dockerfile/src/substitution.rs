//! Patterns in substitutions: `${name#pattern}`, `${name%pattern}`, `${name/pattern/text}`.

use std::ops::Range;

use crate::word::WordError;

/// The longest pattern, in characters: each `*` is a recursion.
const LONGEST_PATTERN: usize = 256;
/// The longest value, in characters: the time is that of its square.
const LONGEST_VALUE: usize = 4096;

/// Where a pattern is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Start,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// `*`: any characters of a line.
    Many,
    /// `?`: one of them.
    One,
    Char(char),
}

/// Takes the shortest or longest match off one side.
pub(crate) fn trim(
    value: &str,
    pattern: &str,
    side: Side,
    longest: bool,
) -> Result<String, WordError> {
    let mut tokens = tokens(pattern)?;
    let mut chars = characters(value)?;
    if side == Side::End {
        tokens.reverse();
        chars.reverse();
    }
    let mut left = match Search::new(&chars, &tokens, longest).from(0) {
        Some(end) => chars.split_off(end),
        None => chars,
    };
    if side == Side::End {
        left.reverse();
    }
    Ok(left.into_iter().collect())
}

/// Replaces the first match, or all; matches are as long as possible.
pub(crate) fn replace(
    value: &str,
    pattern: &str,
    text: &str,
    all: bool,
) -> Result<String, WordError> {
    let tokens = tokens(pattern)?;
    if all && (text.contains('$') || tokens.iter().all(|token| *token == Token::Many)) {
        return Err(WordError::Ambiguous(
            "a substitution whose meaning is that of a regular expression",
        ));
    }
    let chars = characters(value)?;
    let mut search = Search::new(&chars, &tokens, true);
    let mut result = String::new();
    let mut done = 0;
    while let Some(found) = search.first(done) {
        result.extend(chars.iter().take(found.start).skip(done));
        result.push_str(text);
        done = found.end;
        if !all {
            break;
        }
    }
    result.extend(chars.iter().skip(done));
    Ok(result)
}

fn characters(value: &str) -> Result<Vec<char>, WordError> {
    let chars: Vec<char> = value.chars().collect();
    if chars.len() > LONGEST_VALUE {
        return Err(WordError::Depth);
    }
    Ok(chars)
}

fn tokens(pattern: &str) -> Result<Vec<Token>, WordError> {
    let pattern = pattern.strip_prefix('\u{feff}').unwrap_or(pattern);
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '*' => Token::Many,
            '?' => Token::One,
            '\\' => match chars.peek() {
                // These are escaped for the substitution around them.
                Some('}' | '/') => continue,
                Some(escaped @ ('*' | '?' | '\\')) => {
                    let token = Token::Char(*escaped);
                    chars.next();
                    token
                }
                Some(other) => {
                    let why = format!("invalid escape `\\{other}` in a substitution");
                    return Err(WordError::Syntax(why));
                }
                None => {
                    return Err(WordError::Ambiguous(
                        "a substitution's pattern ends with a backslash",
                    ));
                }
            },
            char => Token::Char(char),
        });
    }
    if tokens.len() > LONGEST_PATTERN {
        return Err(WordError::Depth);
    }
    Ok(tokens)
}

/// Finds matches; each pair of position and token fails at most once.
struct Search<'v> {
    chars: &'v [char],
    tokens: &'v [Token],
    longest: bool,
    failed: Vec<bool>,
}

impl<'v> Search<'v> {
    fn new(chars: &'v [char], tokens: &'v [Token], longest: bool) -> Self {
        let stars = tokens.iter().filter(|token| **token == Token::Many).count();
        Self {
            chars,
            tokens,
            longest,
            failed: vec![false; (chars.len() + 1) * (stars + 1)],
        }
    }

    fn first(&mut self, start: usize) -> Option<Range<usize>> {
        (start..=self.chars.len()).find_map(|start| Some(start..self.from(start)?))
    }

    /// The end of the match that begins here.
    fn from(&mut self, start: usize) -> Option<usize> {
        self.rest(start, 0, 0)
    }

    /// `star` counts the stars before `token`.
    fn rest(&mut self, start: usize, token: usize, star: usize) -> Option<usize> {
        let mut at = start;
        for (index, wanted) in self.tokens.iter().enumerate().skip(token) {
            match wanted {
                Token::Many => return self.many(at, index, star),
                Token::One => {
                    self.chars.get(at).filter(|char| **char != '\n')?;
                }
                Token::Char(wanted) => {
                    self.chars.get(at).filter(|char| *char == wanted)?;
                }
            }
            at += 1;
        }
        Some(at)
    }

    fn many(&mut self, at: usize, token: usize, star: usize) -> Option<usize> {
        let key = star * (self.chars.len() + 1) + at;
        if self.failed.get(key).copied().unwrap_or(true) {
            return None;
        }
        let line = self
            .chars
            .iter()
            .skip(at)
            .take_while(|char| **char != '\n')
            .count();
        let found = if self.longest {
            (at..=at + line)
                .rev()
                .find_map(|at| self.rest(at, token + 1, star + 1))
        } else {
            (at..=at + line).find_map(|at| self.rest(at, token + 1, star + 1))
        };
        if found.is_none()
            && let Some(failed) = self.failed.get_mut(key)
        {
            *failed = true;
        }
        found
    }
}
