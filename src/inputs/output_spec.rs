//! One item of `outputs`, in buildx's grammar: CSV fields `name=value`, or a lone path.
//!
//! Source: <https://github.com/docker/buildx/blob/461836ba0/util/buildflags/export.go>.

use std::fmt;

use lists::attributes;
use lists::list::Grammar;
use serde::{Serialize, Serializer};

use super::value::{Expected, Item};

/// Where and how BuildKit exports the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputSpec {
    /// The exporter: `image`, `registry`, `local`, `tar`, `oci`, `docker`, …
    pub exporter: String,
    /// Attributes in the order given, `dest` among them; names in lower case.
    pub attributes: Vec<(String, String)>,
}

impl OutputSpec {
    /// Reads one item.
    ///
    /// # Errors
    /// What is expected instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "`type=<exporter>[,name=value…]`, or the path of a folder; see https://docs.docker.com/build/exporters/";
        let fields = attributes::split(text).ok_or(EXPECTED)?;
        if let [lone] = fields.as_slice()
            && lone == text
            && !text.starts_with("type=")
        {
            return Ok(Self {
                exporter: if text == "-" { "tar" } else { "local" }.to_owned(),
                attributes: vec![("dest".to_owned(), text.to_owned())],
            });
        }
        let mut exporter = None;
        let mut attributes = Vec::new();
        for field in fields {
            let (name, value) = field.split_once('=').ok_or(EXPECTED)?;
            let name = name.trim().to_lowercase();
            if name == "type" {
                exporter = Some(value.to_owned());
            } else {
                attributes.push((name, value.to_owned()));
            }
        }
        let exporter = exporter.filter(|name| !name.is_empty()).ok_or(EXPECTED)?;
        Ok(Self {
            exporter,
            attributes,
        })
    }

    /// An attribute's value; the last one wins, as in buildx.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Sets an attribute.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.attributes.retain(|(key, _)| key != name);
        self.attributes.push((name.to_owned(), value.to_owned()));
    }

    /// Whether the result is an image in an image store or a registry.
    pub(crate) fn is_image(&self) -> bool {
        matches!(self.exporter.as_str(), "image" | "registry")
    }

    /// Whether the result is an image in a file, or on its way into the Engine.
    pub(crate) fn is_archive(&self) -> bool {
        matches!(self.exporter.as_str(), "oci" | "docker")
    }

    /// Whether this output pushes.
    pub(crate) fn pushes(&self) -> bool {
        self.exporter == "registry" || (self.exporter == "image" && self.is_true("push"))
    }

    /// Whether what it pushes has no tag, only its digest.
    pub(crate) fn is_by_digest(&self) -> bool {
        self.is_image() && self.is_true("push-by-digest")
    }

    /// The names it gives its image, by itself.
    pub(crate) fn names(&self) -> Vec<&str> {
        let names = self.attribute("name").unwrap_or_default();
        names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect()
    }

    fn is_true(&self, name: &str) -> bool {
        self.attribute(name).and_then(attributes::boolean) == Some(true)
    }
}

impl Item for OutputSpec {
    const GRAMMAR: Grammar = Grammar::QuotedLines;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        items.push(Self::parse(text)?);
        Ok(())
    }
}

/// The item as buildx reads it.
impl fmt::Display for OutputSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = format!("type={}", self.exporter);
        let others = self
            .attributes
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        formatter.write_str(&attributes::join(std::iter::once(kind).chain(others)))
    }
}

impl Serialize for OutputSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_buildx_reads() {
        let cases = [
            ("a folder", "out/bin", "type=local,dest=out/bin"),
            ("standard output", "-", "type=tar,dest=-"),
            ("an image", "type=image,push=true", "type=image,push=true"),
            (
                "quotes",
                "type=image,\"name=a,b\"",
                "type=image,\"name=a,b\"",
            ),
            ("case and blanks", "Type=local, DEST=x", "type=local,dest=x"),
        ];
        for (name, text, printed) in cases {
            assert_eq!(
                OutputSpec::parse(text).unwrap().to_string(),
                printed,
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_what_buildx_refuses() {
        for text in ["dest=x,a=b", "type=", "type=image,push", "", "a\nb"] {
            assert!(OutputSpec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn knows_which_outputs_push() {
        let pushes = |text| OutputSpec::parse(text).unwrap().pushes();
        assert!(pushes("type=registry"));
        assert!(pushes("type=image,push=true"));
        assert!(!pushes("type=image"));
        assert!(!pushes("type=image,push=true,push=false"));
        assert!(!pushes("type=local,dest=x,push=true"));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(value in "[a-z,\" =]{0,12}") {
            let mut spec = OutputSpec::parse("type=image").unwrap();
            spec.set("name", &value);
            prop_assert_eq!(OutputSpec::parse(&spec.to_string()).unwrap(), spec);
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = OutputSpec::parse(&text);
        }
    }
}
