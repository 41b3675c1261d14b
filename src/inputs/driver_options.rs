//! Options of buildx's drivers.

use lists::attributes;
use lists::list::Grammar;

use super::value::{Expected, Item};

/// An option, as `driver-opts` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DriverOption {
    pub name: String,
    pub value: String,
}

/// Several options may share a line.
impl Item for DriverOption {
    const GRAMMAR: Grammar = Grammar::QuotedLines;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let options = attributes::driver_options(text)?.into_iter();
        items.extend(options.map(|(name, value)| Self { name, value }));
        Ok(())
    }
}
