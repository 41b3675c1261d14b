//! One pattern of an ignore file.

use crate::unsupported::Reason;

/// A pattern. Go makes most into regular expressions; this is the part of them that means what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// No wildcards.
    Exact(String),
    /// `folder**`: everything that begins so.
    Prefix(String),
    /// `**name`: everything that ends so.
    Suffix(String),
    /// `**/name`: everything whose last parts are these.
    Below(String),
    /// Anything else.
    Tokens(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// This character.
    Char(char),
    /// `?`: any character but `/`.
    One,
    /// `*`: any characters but `/`.
    Many,
    /// `**/`: nothing, or any characters and a `/`.
    Folders,
    /// `**` at the end: any characters.
    Rest,
    /// `[a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Of a cleaned path.
    pub(crate) fn read(text: &str) -> Result<Self, Reason> {
        let mut chars = text.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(char) = chars.next() {
            tokens.push(match char {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_some() {
                        Token::Folders
                    } else {
                        Token::Rest
                    }
                }
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => {
                    let escaped = chars
                        .next()
                        .ok_or(Reason::Ambiguous("a pattern ends with a backslash"))?;
                    if escaped.is_ascii_alphanumeric() || !escaped.is_ascii() {
                        // An escaped letter may be a class of regular expressions.
                        return Err(Reason::Ambiguous("a pattern escapes a letter"));
                    }
                    Token::Char(escaped)
                }
                '[' => {
                    let class = Self::class(&mut chars).ok_or(Reason::Ambiguous(
                        "a pattern has a class that is more than characters and ranges",
                    ))?;
                    class?
                }
                // Go compares or anchors, by what else there is.
                ']' | '^' => {
                    return Err(Reason::Ambiguous(
                        "a pattern has `]` or `^` outside a class",
                    ));
                }
                '\u{feff}' => {
                    return Err(Reason::Ambiguous("a pattern has a byte order mark in it"));
                }
                char => Token::Char(char),
            });
        }
        Ok(Self::simplest(tokens, text))
    }

    /// Characters and ranges up to `]`; none if there is anything else in it.
    fn class(
        chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    ) -> Option<Result<Token, Reason>> {
        let negated = chars.next_if_eq(&'^').is_some();
        let plain = |char: &char| {
            char.is_alphanumeric() || matches!(char, '_' | '.' | ' ' | '~' | '!' | '+' | '@' | '%')
        };
        let mut ranges = Vec::new();
        loop {
            let from = chars.next()?;
            if from == ']' && !ranges.is_empty() {
                return Some(Ok(Token::Class { negated, ranges }));
            }
            if !plain(&from) {
                return None;
            }
            let to = match chars.next_if_eq(&'-') {
                Some(_) => chars.next().filter(plain)?,
                None => from,
            };
            if to < from {
                return Some(Err(Reason::syntax(
                    "a range in a class ends before it begins",
                )));
            }
            ranges.push((from, to));
        }
    }

    /// Go treats three forms apart, and they match more than their regular expressions would.
    fn simplest(tokens: Vec<Token>, text: &str) -> Self {
        let literal = |tokens: &[Token]| -> Option<String> {
            tokens
                .iter()
                .map(|token| match token {
                    Token::Char(char) => Some(*char),
                    _ => None,
                })
                .collect()
        };
        if text.contains('\\') {
            return Self::Tokens(tokens);
        }
        match tokens.as_slice() {
            [Token::Rest] => Self::Suffix(String::new()),
            [Token::Folders, rest @ ..] if let Some(rest) = literal(rest) => {
                if text.starts_with("**/") {
                    Self::Below(rest)
                } else {
                    Self::Suffix(rest)
                }
            }
            [first @ .., Token::Rest] if let Some(first) = literal(first) => Self::Prefix(first),
            all if let Some(all) = literal(all) => Self::Exact(all),
            _ => Self::Tokens(tokens),
        }
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => path.ends_with(suffix.as_str()),
            Self::Below(name) => path
                .strip_suffix(name.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('/')),
            Self::Tokens(tokens) => matches(tokens, path),
        }
    }
}

/// Whether tokens match all of a path: the set of tokens that may come next, character by character.
fn matches(tokens: &[Token], path: &str) -> bool {
    let mut now = vec![false; tokens.len() + 1];
    let mut next = now.clone();
    reach(tokens, &mut next, 0);
    for char in path.chars() {
        std::mem::swap(&mut now, &mut next);
        next.fill(false);
        for (index, token) in tokens.iter().enumerate() {
            if now.get(index) != Some(&true) {
                continue;
            }
            match token {
                Token::Char(wanted) if *wanted == char => reach(tokens, &mut next, index + 1),
                Token::One if char != '/' => reach(tokens, &mut next, index + 1),
                Token::Many if char != '/' => reach(tokens, &mut next, index),
                Token::Rest if char != '\n' => reach(tokens, &mut next, index),
                Token::Folders if char == '/' => {
                    set(&mut next, index);
                    reach(tokens, &mut next, index + 1);
                }
                // In the name of a folder, which has to end before what follows.
                Token::Folders if char != '\n' => set(&mut next, index),
                Token::Class { negated, ranges }
                    if ranges
                        .iter()
                        .any(|(from, to)| (*from..=*to).contains(&char))
                        != *negated =>
                {
                    reach(tokens, &mut next, index + 1);
                }
                _ => {}
            }
        }
    }
    next.last() == Some(&true)
}

/// A token may come next, and with it those after it where it may be nothing.
fn reach(tokens: &[Token], next: &mut [bool], first: usize) {
    set(next, first);
    let after = tokens.iter().enumerate().skip(first);
    for (index, _) in
        after.take_while(|(_, token)| matches!(token, Token::Many | Token::Folders | Token::Rest))
    {
        set(next, index + 1);
    }
}

fn set(next: &mut [bool], index: usize) {
    if let Some(token) = next.get_mut(index) {
        *token = true;
    }
}
