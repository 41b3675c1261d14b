//! Platforms, in the form that BuildKit gives them.

use std::fmt;

use crate::unsupported::Reason;

/// An operating system and an architecture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v7`; empty for most.
    pub variant: String,
}

impl Platform {
    /// `os/architecture[/variant]`, with the architecture's usual name: `linux/aarch64` is `linux/arm64`.
    ///
    /// Follows `Normalize` of <https://github.com/containerd/platforms>. Forms that depend on the builder are refused: `linux`
    /// or `arm64` alone, and those with a version of the system.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let bad = || Reason::Platform(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return Err(bad()),
        };
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        if !is_word(os) || !is_word(architecture) || (parts.len() == 3 && !is_word(variant)) {
            return Err(bad());
        }
        let os = if os == "macos" { "darwin" } else { os };
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386", _) => ("386", ""),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            other => other,
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(to, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_platforms_their_usual_names() {
        for (given, usual) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/ppc64le", "linux/ppc64le"),
        ] {
            assert_eq!(Platform::parse(given).unwrap().to_string(), usual);
        }
    }

    #[test]
    fn refuses_platforms_that_only_the_builder_can_complete() {
        for bad in [
            "",
            "linux",
            "arm64",
            "linux/",
            "/amd64",
            "linux/amd64/",
            "linux/a/b/c",
            "windows(10.0)/amd64",
            "local",
        ] {
            assert_eq!(
                Platform::parse(bad),
                Err(Reason::Platform(bad.to_owned())),
                "{bad}"
            );
        }
    }
}
