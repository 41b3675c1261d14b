//! One attestation, as `--attest` takes it: `type=sbom,generator=image`.
//!
//! A lone boolean among the attributes means `disabled`, as docker/build-push-action has it
//! (<https://github.com/docker/actions-toolkit/blob/3d440be/src/buildx/build.ts>,
//! `resolveAttestationAttrs`). buildx: `util/buildflags/attests.go`.

use std::fmt;

use lists::attributes::{self, Attributes};

use super::value::{Expected, Field, Form, Item, Read, Single as _, Value};

/// An attestation that is asked for, or switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attest {
    /// `provenance`, `sbom`, or another that the builder knows.
    pub kind: String,
    attributes: Attributes,
}

impl Attest {
    /// Reads one item; `None` when buildx would refuse it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fields = attributes::split(text)?.into_iter();
        let fields = fields.map(|field| match attributes::boolean(field.trim()) {
            Some(on) => format!("disabled={}", !on),
            None => field,
        });
        let (kind, attributes) = Attributes::with_type(fields)?;
        if let Some(disabled) = attributes.get("disabled") {
            attributes::boolean(disabled)?;
        }
        Some(Self { kind, attributes })
    }

    /// The attestation of this kind with these attributes.
    pub(crate) fn of(kind: &str, text: &str) -> Option<Self> {
        Self::parse(&format!("type={kind},{text}"))
    }

    /// Whether it is asked for.
    pub(crate) fn is_on(&self) -> bool {
        !self.attributes.is_true("disabled")
    }

    /// Whether it stays out of registries: such a provenance goes into the build's record.
    pub(crate) fn is_inline_only(&self) -> bool {
        self.attributes.is_true("inline-only")
    }

    /// Adds an attribute unless it is there.
    pub(crate) fn set_default(&mut self, name: &str, value: &str) {
        if self.attributes.get(name).is_none() {
            self.attributes.set(name, value);
        }
    }
}

impl Item for Attest {
    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let attest = Self::parse(text);
        items.push(attest.ok_or("`type=<name>[,name=value…]`, as `type=sbom,generator=image`")?);
        Ok(())
    }
}

/// A boolean, or attributes, of the attestation that the input is named after.
impl Value for Option<Attest> {
    const FORM: Form = Form::Line;

    fn read(field: &Field<'_>) -> Read<Self> {
        let (kind, text) = (field.name, field.trimmed());
        let attest = match bool::parse(text) {
            Ok(true) => Attest::parse(&format!("type={kind}")),
            Ok(false) => Attest::of(kind, "disabled=true"),
            Err(_) => Attest::of(kind, text),
        };
        let wrong = || field.wrong(text, "a boolean, or attributes as `name=value,…`");
        attest.ok_or_else(wrong).map(Some)
    }
}

impl fmt::Display for Attest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        attributes::write(formatter, &self.kind, &self.attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_build_push_action_passes_on() {
        let cases = [
            (
                "attributes",
                "type=sbom,generator=a",
                "type=sbom,generator=a",
                true,
            ),
            (
                "a boolean is `disabled`",
                "type=sbom,false",
                "type=sbom,disabled=true",
                false,
            ),
            (
                "or its opposite",
                "type=provenance,1",
                "type=provenance,disabled=false",
                true,
            ),
            ("quotes", "type=sbom,\"x=a,b\"", "type=sbom,\"x=a,b\"", true),
            (
                "blanks",
                "type=provenance, mode=max",
                "type=provenance,mode=max",
                true,
            ),
        ];
        for (name, text, printed, on) in cases {
            let attest = Attest::parse(text).unwrap();
            assert_eq!(
                (attest.to_string().as_str(), attest.is_on()),
                (printed, on),
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_what_buildx_refuses() {
        for text in [
            "",
            "mode=max",
            "type=",
            "type=sbom,generator",
            "type=sbom,disabled=x",
        ] {
            assert_eq!(Attest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_default_does_not_replace_what_was_given() {
        let mut attest = Attest::of("provenance", "builder-id=mine").unwrap();
        attest.set_default("builder-id", "ours");
        attest.set_default("mode", "max");
        assert_eq!(
            attest.to_string(),
            "type=provenance,builder-id=mine,mode=max"
        );
    }
}
