//! Variables that words are evaluated with.

use std::collections::BTreeMap;

use crate::unsupported::{Reason, Unsupported};
use crate::word::{Expanded, Lookup, WordError, expand};

/// Variables in the order of their lives: a later value takes the place of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    known: BTreeMap<String, Lookup>,
    /// There may be more than is known here.
    open: bool,
}

impl Environment {
    /// Nothing else than what is set is in it.
    pub(crate) fn closed() -> Self {
        Self::default()
    }

    /// There may be more in it than what is set.
    pub(crate) fn open() -> Self {
        Self {
            known: BTreeMap::new(),
            open: true,
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: Lookup) {
        self.known.insert(name.to_owned(), value);
    }

    pub(crate) fn get(&self, name: &str) -> Lookup {
        match self.known.get(name) {
            Some(lookup) => lookup.clone(),
            None if self.open => Lookup::Unknown,
            None => Lookup::Unset,
        }
    }

    /// A word of the Dockerfile with its variables replaced.
    pub(crate) fn expand(
        &self,
        word: &str,
        escape: char,
        line: usize,
    ) -> Result<Expanded, Unsupported> {
        expand(word, escape, &mut |name| self.get(name))
            .map_err(|error| reason(word, error).at(line))
    }

    /// The same, as a variable's value: unknown is a value, too.
    pub(crate) fn value(
        &self,
        word: &str,
        escape: char,
        line: usize,
    ) -> Result<Lookup, Unsupported> {
        match expand(word, escape, &mut |name| self.get(name)) {
            Ok(expanded) => Ok(Lookup::Set(expanded.text)),
            Err(WordError::Unknown(_)) => Ok(Lookup::Unknown),
            Err(error) => Err(reason(word, error).at(line)),
        }
    }
}

/// Why a word has no value.
pub(crate) fn reason(word: &str, error: WordError) -> Reason {
    match error {
        WordError::Syntax(why) => Reason::Syntax(why),
        WordError::Unknown(variable) => Reason::Unknown {
            word: word.to_owned(),
            variable,
        },
        WordError::Depth => Reason::Limit("a substitution is too long or nested too deep"),
        WordError::Ambiguous(why) => Reason::Ambiguous(why),
    }
}
