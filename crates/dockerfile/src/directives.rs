//! Parser directives: comments at the top with a meaning.
//!
//! <https://docs.docker.com/reference/dockerfile/#parser-directives>

use crate::unsupported::{Reason, Unsupported};

/// A directive's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Syntax,
    Escape,
    Check,
}

/// Reads directives line by line, until a line is none.
#[derive(Debug, Default)]
pub(crate) struct Directives {
    seen: Vec<Name>,
    done: bool,
}

impl Directives {
    /// The directive of a line, if it is one.
    pub(crate) fn read<'l>(
        &mut self,
        line: &'l str,
        number: usize,
    ) -> Result<Option<(Name, &'l str)>, Unsupported> {
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = directive(line) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(Reason::syntax("the same parser directive is there twice").at(number));
        }
        self.seen.push(name);
        Ok(Some((name, value)))
    }
}

/// `# name = value`, where Go's `\s` is what parts them.
fn directive(line: &str) -> Option<(Name, &str)> {
    const SPACES: [char; 5] = ['\t', '\n', '\x0c', '\r', ' '];
    let line = line.strip_prefix('#')?.trim_start();
    let end = line.find(|char: char| !char.is_ascii_alphanumeric())?;
    let (name, rest) = line.split_at_checked(end)?;
    let name = match name.to_ascii_lowercase().as_str() {
        "syntax" => Name::Syntax,
        "escape" => Name::Escape,
        "check" => Name::Check,
        _ => return None,
    };
    let value = rest.trim_start_matches(SPACES).strip_prefix('=')?;
    // Only spaces are a value, though one that nothing accepts.
    (!value.is_empty()).then_some((name, value.trim_matches(SPACES)))
}

/// The line that names the frontend: its number, and the value with what follows the frontend's name.
pub(crate) fn syntax(text: &str) -> Option<(usize, &str)> {
    let mut directives = Directives::default();
    let mut lines = text.lines().enumerate().peekable();
    // A `#!` line may come first here, though it ends the directives for everything else.
    lines.next_if(|(_, line)| line.starts_with("#!"));
    for (index, line) in lines {
        match directives.read(line, index + 1) {
            Ok(Some((Name::Syntax, value))) => return Some((index + 1, value)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
    None
}
