//! Options of buildx's drivers.

use std::fmt;

use lists::attributes;
use lists::list::Grammar;
use serde::{Serialize, Serializer};

use super::value::{Expected, Item};

/// An option, as `driver-opts` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DriverOption {
    pub name: String,
    pub value: String,
}

/// How the names of options begin that set a variable of the builder.
const VARIABLE: &str = "env.";

impl DriverOption {
    pub(crate) fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        Self { name, value }
    }

    /// The option that sets a variable.
    pub(crate) fn set_variable(name: &str, value: impl Into<String>) -> Self {
        Self::new(format!("{VARIABLE}{name}"), value)
    }

    /// The variable that it sets, if it sets one.
    pub(crate) fn variable(&self) -> Option<&str> {
        let name = self.name.strip_prefix(VARIABLE);
        name.filter(|name| !name.is_empty())
    }

    /// The option for people: without the value of a variable, which may be secret.
    pub(crate) fn redacted(&self) -> String {
        match self.variable() {
            Some(_) => format!("{}=…", self.name),
            None => format!("{}={}", self.name, self.value),
        }
    }
}

/// As `--driver-opt` takes it: a record of comma-separated values.
impl fmt::Display for DriverOption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = format!("{}={}", self.name, self.value);
        formatter.write_str(&attributes::join([option]))
    }
}

impl Serialize for DriverOption {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (&self.name, &self.value).serialize(to)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_with_commas_stay_in_one_piece() {
        for (name, value, expected) in [
            ("replicas", "1", "replicas=1"),
            ("nodeselector", "a=b,c=d", "\"nodeselector=a=b,c=d\""),
            ("labels", "a=\"b\"", "\"labels=a=\"\"b\"\"\""),
        ] {
            assert_eq!(DriverOption::new(name, value).to_string(), expected);
        }
    }
}
