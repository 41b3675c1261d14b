//! `call`: ask the Dockerfile's frontend something instead of building.
//!
//! `<method>[,format=<name>][,ignorestatus=<boolean>]`, as buildx reads `--call`
//! (<https://github.com/docker/buildx/blob/461836ba0/util/buildflags/callfunc.go>).

use lists::attributes;

use super::value::{Field, Form, Read, Value};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// `check`, `outline`, `targets`, or another that the frontend knows.
    pub method: String,
    /// The whole text.
    pub text: String,
}

impl Call {
    const EXPECTED: &'static str = "`check`, `outline` or `targets`, perhaps with `,format=json`";

    /// Reads the input: `Ok(None)` for `build`, which is what happens anyway.
    fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let mut method = None;
        for field in attributes::split(text).ok_or(Self::EXPECTED)? {
            match field.split_once('=') {
                None if method.is_none() && !field.is_empty() => method = Some(field),
                Some(("format", _)) => {}
                Some(("ignorestatus", value)) if attributes::boolean(value).is_some() => {}
                _ => return Err(Self::EXPECTED),
            }
        }
        let method = method.ok_or(Self::EXPECTED)?;
        let text = text.to_owned();
        Ok((method != "build").then_some(Self { method, text }))
    }

    /// Whether it runs the build checks.
    pub(crate) fn is_check(&self) -> bool {
        matches!(self.method.as_str(), "check" | "lint")
    }
}

impl Value for Option<Call> {
    const FORM: Form = Form::Line;

    fn read(field: &Field<'_>) -> Read<Self> {
        let text = field.trimmed();
        Call::parse(text).map_err(|expected| field.wrong(text, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_reads() {
        let method = |text| Call::parse(text).map(|call| call.map(|call| call.method));
        for (text, expected) in [
            ("check", Some("check")),
            ("outline,format=json", Some("outline")),
            ("ignorestatus=true,lint", Some("lint")),
            ("subrequests.describe", Some("subrequests.describe")),
            ("build", None),
        ] {
            assert_eq!(method(text), Ok(expected.map(str::to_owned)), "{text}");
        }
        for text in [
            "check,outline",
            "format=json",
            "check,colour=red",
            "check,ignorestatus=x",
        ] {
            assert_eq!(method(text), Err(Call::EXPECTED), "{text}");
        }
    }
}
