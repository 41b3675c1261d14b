//! Reads the inputs of the table one by one, and keeps what is wrong with them.

use super::grammar::Rule;
use super::value::{Field, Value};
use super::{InputError, RawInputs};

/// The texts, and all that is wrong with them so far.
pub(super) struct Reader<'a> {
    pub raw: &'a RawInputs,
    pub errors: Vec<InputError>,
}

impl Reader<'_> {
    /// The value of an input: of its text, or of its default.
    pub(super) fn value<T: Value>(
        &mut self,
        name: &'static str,
        default: &'static str,
        rules: &'static [Rule],
    ) -> T {
        // An expression of GitHub's is the runner's to replace.
        let default = Some(default).filter(|text| !text.is_empty() && !text.starts_with("${{"));
        let Some(text) = self.raw.text(name).or(default) else {
            return T::default();
        };
        T::read(&Field { name, text, rules }).unwrap_or_else(|errors| {
            self.errors.extend(errors);
            T::default()
        })
    }
}
