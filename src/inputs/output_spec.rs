//! One item of `outputs`, in buildx's grammar: CSV fields `name=value`, or a lone path.
//!
//! Source: <https://github.com/docker/buildx/blob/461836ba0/util/buildflags/export.go>.

use std::fmt;

use lists::attributes::{self, Attributes};
use lists::list::Grammar;
use serde::{Serialize, Serializer};
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::value::{Expected, Item, one_of};

/// Where and how BuildKit exports the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputSpec {
    pub exporter: Exporter,
    /// `dest` among them.
    pub attributes: Attributes,
}

/// What buildx and BuildKit know (<https://docs.docker.com/build/exporters/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Exporter {
    Image,
    Registry,
    Local,
    Tar,
    Oci,
    Docker,
    CacheOnly,
}

impl OutputSpec {
    pub(crate) fn new(exporter: Exporter) -> Self {
        Self {
            exporter,
            attributes: Attributes::default(),
        }
    }

    /// Reads one item.
    ///
    /// # Errors
    /// What is expected instead.
    pub(crate) fn parse(text: &str) -> Result<Self, Expected> {
        const EXPECTED: &str = "`type=<exporter>[,name=value…]`, or the path of a folder; see https://docs.docker.com/build/exporters/";
        let fields = attributes::split(text).ok_or(EXPECTED)?;
        if let [lone] = fields.as_slice()
            && lone == text
            && !text.starts_with("type=")
        {
            let exporter = if text == "-" {
                Exporter::Tar
            } else {
                Exporter::Local
            };
            let mut output = Self::new(exporter);
            output.set("dest", text);
            return Ok(output);
        }
        let (exporter, attributes) = Attributes::with_type(fields).ok_or(EXPECTED)?;
        Ok(Self {
            exporter: exporter.parse().map_err(|_| one_of(Exporter::VARIANTS))?,
            attributes,
        })
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)
    }

    pub(crate) fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.attributes.names()
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.attributes.set(name, value);
    }

    /// Whether the result is an image in an image store or a registry.
    pub(crate) fn is_image(&self) -> bool {
        matches!(self.exporter, Exporter::Image | Exporter::Registry)
    }

    /// Whether the result is an image in a file, or on its way into the Engine.
    pub(crate) fn is_archive(&self) -> bool {
        matches!(self.exporter, Exporter::Oci | Exporter::Docker)
    }

    /// Whether this output pushes.
    pub(crate) fn pushes(&self) -> bool {
        self.exporter == Exporter::Registry
            || (self.exporter == Exporter::Image && self.attributes.is_true("push"))
    }

    /// Whether what it pushes has no tag, only its digest.
    pub(crate) fn is_by_digest(&self) -> bool {
        self.is_image() && self.attributes.is_true("push-by-digest")
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
        attributes::write(formatter, self.exporter.into(), &self.attributes)
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
            (
                "quotes around the type",
                "\"type=image\",PUSH=true",
                "type=image,push=true",
            ),
            (
                "the last of a name",
                "type=image,push=true,push=false",
                "type=image,push=false",
            ),
            (
                "a folder of this name",
                "Type=local",
                "type=local,dest=Type=local",
            ),
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
        for text in [
            "dest=x,a=b",
            "type=",
            "type= image",
            "type=IMAGE",
            "type=image,push",
            "type=local,dest=\"x\"",
            "",
            "a\nb",
        ] {
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
            spec.set("name", value);
            prop_assert_eq!(OutputSpec::parse(&spec.to_string()).unwrap(), spec);
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = OutputSpec::parse(&text);
        }
    }
}
