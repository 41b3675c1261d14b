//! Lines of a Dockerfile: continuations joined, comments left out, here-documents with the instruction that has them.
//!
//! Follows `frontend/dockerfile/parser` of BuildKit:
//! <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/parser/parser.go>.

use crate::directives::{Directives, Name};
use crate::unsupported::{Reason, Unsupported};
use crate::word::{Split, WordError, split};

/// BuildKit reads no longer lines; bytes with the line's end.
const LONGEST: usize = 65_535;

/// The lines of a file, from 1, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The first.
    pub first: usize,
    /// The last, that of a here-document included.
    pub last: usize,
}

/// A file attached to an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word after `<<`, without quotes: also the file's name.
    pub name: String,
    /// The word has no quotes, so variables in the body are replaced.
    pub expand: bool,
    /// `<<-`: tabs at the start of lines go.
    pub chomp: bool,
    /// The body as it is in the Dockerfile, line ends included.
    pub body: String,
}

impl Heredoc {
    /// The word of a line that announces a here-document.
    pub(crate) fn announced(word: &str) -> Result<Option<Self>, WordError> {
        let rest = word.trim_start_matches(|char: char| char.is_ascii_digit());
        let Some(rest) = rest.strip_prefix("<<") else {
            return Ok(None);
        };
        let (chomp, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let quotes = |word: &String| word.matches(['\'', '"']).count();
        let (plain, quoted) = (split(rest, Split::Plain)?, split(rest, Split::Quoted)?);
        match (plain.as_slice(), quoted.as_slice()) {
            ([name], [raw]) => Ok(Some(Self {
                name: name.clone(),
                expand: quotes(name) == quotes(raw),
                chomp,
                body: String::new(),
            })),
            ([_], _) => Err(WordError::Syntax(
                "a here-document's name is ambiguous".to_owned(),
            )),
            _ => Ok(None),
        }
    }

    /// The body without the tabs that `<<-` takes off.
    #[must_use]
    pub fn content(&self) -> String {
        if !self.chomp {
            return self.body.clone();
        }
        self.body
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}

/// An instruction's line, with what continues it.
#[derive(Debug)]
pub(crate) struct Logical {
    pub(crate) lines: Lines,
    pub(crate) text: String,
}

/// Reads a Dockerfile line by line.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    rest: std::str::SplitInclusive<'t, char>,
    /// Lines read so far.
    line: usize,
    directives: Directives,
    pub(crate) escape: char,
}

impl<'t> Reader<'t> {
    /// Of a text without a byte order mark.
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            rest: text.split_inclusive('\n'),
            line: 0,
            directives: Directives::default(),
            escape: '\\',
        }
    }

    fn next_line(&mut self) -> Result<Option<&'t str>, Unsupported> {
        let Some(line) = self.rest.next() else {
            return Ok(None);
        };
        self.line += 1;
        if line.len() > LONGEST {
            return Err(Reason::Limit("the line is longer than 65,535 bytes").at(self.line));
        }
        Ok(Some(line))
    }

    /// The next instruction's line.
    pub(crate) fn next(&mut self) -> Result<Option<Logical>, Unsupported> {
        while let Some(line) = self.next_line()? {
            let line = without_end(line).trim_start();
            if let Some((Name::Escape, value)) = self.directives.read(line, self.line)? {
                self.escape = match value {
                    "`" => '`',
                    "\\" => '\\',
                    _ => {
                        return Err(Reason::syntax(
                            "the escape character is neither a backslash nor a backtick",
                        )
                        .at(self.line));
                    }
                };
            }
            let first = self.line;
            let (part, mut continued) = self.part(if is_comment(line) { "" } else { line });
            if part.is_empty() && !continued {
                continue;
            }
            let mut text = part.to_owned();
            while continued && let Some(line) = self.next_line()? {
                if is_comment(line) || line.trim().is_empty() {
                    continue;
                }
                let part;
                (part, continued) = self.part(without_end(line));
                text.push_str(part);
            }
            let last = self.line;
            return Ok(Some(Logical {
                lines: Lines { first, last },
                text,
            }));
        }
        Ok(None)
    }

    /// A line without its continuation character, and whether it had one.
    fn part<'l>(&self, line: &'l str) -> (&'l str, bool) {
        let trimmed = line.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(self.escape) {
            Some(part) if !part.ends_with(self.escape) => (part, true),
            _ => (line, false),
        }
    }

    /// The here-documents that a line announces, with their bodies, which are the next lines.
    pub(crate) fn heredocs(&mut self, logical: &mut Logical) -> Result<Vec<Heredoc>, Unsupported> {
        let first = logical.lines.first;
        let mut heredocs = Vec::new();
        // BuildKit sees none in a line that it cannot split.
        for word in split(&logical.text, Split::Raw).unwrap_or_default() {
            let bare = word.trim_start_matches(|char: char| char.is_ascii_digit());
            if bare.starts_with("<<") && word.contains("${") {
                // Some versions lose what is before a substitution.
                return Err(
                    Reason::Ambiguous("a here-document's name has a variable in it").at(first),
                );
            }
            let found = Heredoc::announced(&word)
                .map_err(|_| Reason::syntax(format!("`{word}` is no here-document")).at(first))?;
            heredocs.extend(found);
        }
        for heredoc in &mut heredocs {
            loop {
                let Some(line) = self.next_line()? else {
                    let why = format!("the here-document `{}` has no end", heredoc.name);
                    return Err(Reason::Syntax(why).at(first));
                };
                let end = without_end(line);
                let end = if heredoc.chomp {
                    end.trim_start_matches('\t')
                } else {
                    end
                };
                if end == heredoc.name {
                    break;
                }
                heredoc.body.push_str(line);
            }
        }
        logical.lines.last = self.line;
        Ok(heredocs)
    }
}

fn without_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}
