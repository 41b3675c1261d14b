//! One CSV record, which is how buildx reads attributes: `type=image,"name=a,b"`.
//!
//! Source: <https://github.com/docker/buildx/tree/461836ba0/util/buildflags>, `csvvalue.Fields`.

use std::fmt;

use crate::list;

/// The record's fields; `None` for no record, for several, and for a quote in the wrong place.
pub fn split(text: &str) -> Option<Vec<String>> {
    list::record(text)
}

/// Attributes by name, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(String, String)>);

impl Attributes {
    /// Reads fields `name=value`, as buildx does: case and blanks around a name do not count, of a
    /// name given twice the last one counts, a value is taken as it is. `None` for a field without
    /// `=`.
    fn read<S: AsRef<str>>(fields: impl IntoIterator<Item = S>) -> Option<Self> {
        let mut attributes = Self::default();
        for field in fields {
            let (name, value) = field.as_ref().split_once('=')?;
            attributes.set(&name.trim().to_lowercase(), value);
        }
        Some(attributes)
    }

    /// Reads fields of which one is the type; `None` also for a type without name.
    pub fn with_type<S: AsRef<str>>(fields: impl IntoIterator<Item = S>) -> Option<(String, Self)> {
        let mut attributes = Self::read(fields)?;
        let kind = attributes.take("type").filter(|kind| !kind.is_empty())?;
        Some((kind, attributes))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The names, in the order given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether an attribute is there and true.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(boolean) == Some(true)
    }

    /// Sets an attribute, which is the last one then.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.take(name);
        self.0.push((name.to_owned(), value.into()));
    }

    /// Hides the values of all but these attributes.
    pub fn show_only(&mut self, names: &[&str]) {
        let others = self.0.iter_mut();
        for (_, value) in others.filter(|(name, _)| !names.contains(&name.as_str())) {
            "…".clone_into(value);
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(index).1)
    }
}

/// Writes the record of a type and its attributes.
pub fn write(to: &mut fmt::Formatter<'_>, kind: &str, attributes: &Attributes) -> fmt::Result {
    let others = attributes.0.iter();
    let others = others.map(|(name, value)| format!("{name}={value}"));
    to.write_str(&join([format!("type={kind}")].into_iter().chain(others)))
}

/// Driver options of one text, several with commas between, read as buildx reads `--driver-opt`
/// (<https://github.com/docker/buildx/blob/461836ba0/builder/builder.go>, `csvToMap`): one whose
/// value has commas stands in quotes.
///
/// # Errors
/// What is expected instead.
pub fn driver_options(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    const EXPECTED: &str = "`name=value`, several of them with commas between; one with commas in \
                            its value stands in quotes, as `\"env.no_proxy=localhost,127.0.0.1\"`";
    let fields = split(text).ok_or(EXPECTED)?;
    let pairs = fields.iter().map(|field| pair(field).ok_or(EXPECTED));
    pairs.collect()
}

/// `name=value`, without the blanks around them.
pub fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
}

/// The record of these fields, quoted where it has to be.
pub fn join<S: AsRef<str>>(fields: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> = fields
        .into_iter()
        .map(|field| {
            let field = field.as_ref();
            if field.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            }
        })
        .collect();
    quoted.join(",")
}

/// Go's `strconv.ParseBool`, with which buildx and docker's actions read attributes.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn driver_options_are_read_as_buildx_reads_them() {
        for (text, expected) in [
            ("image=a:b", &[("image", "a:b")][..]),
            ("env.A=", &[("env.A", "")]),
            (
                "namespace=buildx,replicas=1,requests.cpu=2",
                &[
                    ("namespace", "buildx"),
                    ("replicas", "1"),
                    ("requests.cpu", "2"),
                ],
            ),
            (
                "\"env.no_proxy=localhost,127.0.0.1,.mydomain\"",
                &[("env.no_proxy", "localhost,127.0.0.1,.mydomain")],
            ),
            (
                "\"tolerations=key=a,operator=Exists\",replicas=2",
                &[("tolerations", "key=a,operator=Exists"), ("replicas", "2")],
            ),
            ("\"env.A=\"\"x\"\"\"", &[("env.A", "\"x\"")]),
        ] {
            let pairs = driver_options(text).unwrap();
            let pairs: Vec<(&str, &str)> = pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(pairs, expected, "{text}");
        }
        for text in [
            "env.A=\"x,y\"",
            "env.A=\"x\"",
            "env.no_proxy=localhost,127.0.0.1",
            "\"env.A=x",
            "\"env.A=x\"y",
            "image",
            "=x",
            "image=a:b,",
        ] {
            let expected = driver_options(text).unwrap_err();
            assert!(expected.starts_with("`name=value`, several"), "{text}");
        }
    }

    #[test]
    fn attributes_are_read_as_buildx_reads_them() {
        for (text, expected) in [
            ("Type=gha", Some("type=gha")),
            ("type= gha", Some("type= gha")),
            ("type=GHA, Scope=a", Some("type=GHA|scope=a")),
            ("\"type=gha\",scope=a", Some("type=gha|scope=a")),
            ("type=a,type=b", Some("type=b")),
            ("\"name=a,b\",push=", Some("name=a,b|push=")),
            ("type=gha,", None),
            ("type=gha,mode", None),
            ("dest=\"a\"", None),
            ("\"type=gha\"x", None),
            ("\"type=gha", None),
            ("a=b\nc=d", None),
            ("", None),
        ] {
            let read = split(text).and_then(Attributes::read);
            let fields = |read: Attributes| {
                let fields = read.0.iter().map(|(name, value)| format!("{name}={value}"));
                fields.collect::<Vec<_>>().join("|")
            };
            assert_eq!(read.map(fields).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_driver_option_is_read_again(name in "[a-z.]{1,8}", value in "([a-z=,\"]{0,8}[a-z])?") {
            let option = join([format!("{name}={value}")]);
            prop_assert_eq!(driver_options(&option), Ok(vec![(name, value)]));
        }

        #[test]
        fn what_is_joined_is_split_again(fields in prop::collection::vec("[a-z=,\" \n\r]{1,8}", 1..4)) {
            prop_assert_eq!(split(&join(&fields)), Some(fields));
        }

        #[test]
        fn survives_any_text(text in ".{0,60}") {
            let _ = split(&text);
        }
    }
}
