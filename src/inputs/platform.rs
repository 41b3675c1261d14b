//! Platforms as containerd's parser takes them, under the names that BuildKit gives them
//! (<https://github.com/containerd/platforms/blob/v1.0.0-rc.2/platforms.go>): `arm64`, `linux/arm64/v8` and
//! `linux/aarch64` are one platform, `linux/arm64`. Elsewhere platforms are compared as texts.

use std::fmt;
use std::ops::Deref;

use lists::list::Grammar;

use super::value::{Expected, Item};

/// A platform under its usual name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform(String);

impl Deref for Platform {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One that is given twice is built once.
impl Item for Platform {
    const GRAMMAR: Grammar = Grammar::Commas;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let platform = usual_name(text).map(Self);
        let platform = platform.ok_or("`os/architecture[/variant]`, as `linux/arm64`")?;
        if !items.contains(&platform) {
            items.push(platform);
        }
        Ok(())
    }
}

/// Go's names, which containerd knows.
const SYSTEMS: &str = "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 \
                       solaris windows zos";
const ARCHITECTURES: &str = "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 \
                             mips64le mips64p32 mips64p32le ppc riscv riscv64 s390 s390x sparc64 wasm";

/// The architecture that this program, and so its buildx, was compiled for.
const OWN: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// The platform's usual name; none for what is no platform. `local` and a lone operating system get this machine's
/// architecture, a lone architecture gets Linux.
fn usual_name(text: &str) -> Option<String> {
    if text.eq_ignore_ascii_case("local") {
        return Some(format!("linux/{OWN}"));
    }
    let parts: Vec<&str> = text.split('/').collect();
    let (first, rest) = parts.split_first()?;
    let (system, version) = system(first)?;
    if !rest.iter().all(|part| is_word(part)) {
        return None;
    }
    let is_one_of = |names: &str, name: &str| names.split(' ').any(|known| known == name);
    let (system, (architecture, variant)) = match *rest {
        [] if is_one_of(SYSTEMS, &system) => (system, usual_architecture(OWN, "")),
        [] => {
            let usual = usual_architecture(first, "");
            if !is_one_of(ARCHITECTURES, &usual.0) {
                return None;
            }
            ("linux".to_owned(), usual)
        }
        [architecture] => (system, usual_architecture(architecture, "")),
        [architecture, variant] => (system, usual_architecture(architecture, variant)),
        _ => return None,
    };
    let variant = match variant.as_str() {
        "" => String::new(),
        variant => format!("/{variant}"),
    };
    Some(format!("{system}{version}/{architecture}{variant}"))
}

/// An operating system, and its version and features in parentheses as they stand.
fn system(text: &str) -> Option<(String, &str)> {
    let (name, options) = text.split_at(text.find('(').unwrap_or(text.len()));
    let inner = match options {
        "" => "",
        options => options.strip_prefix('(')?.strip_suffix(')')?,
    };
    let is_option = |option: &str| option.is_empty() || is_word(option);
    if !is_word(name) || !inner.split('+').all(is_option) {
        return None;
    }
    let name = match name.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    };
    Some((name, options))
}

/// Architecture and variant, the usual variant of an architecture left out.
fn usual_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_platform_has_one_name_however_it_is_written() {
        let own = format!("linux/{OWN}");
        for (text, name) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2"),
            ("arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/AARCH64", "linux/arm64"),
            ("linux/arm64/v9.0", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/7", "linux/arm/v7"),
            ("armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("linux/unheard-of", "linux/unheard-of"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
            ("windows(10.0+win32k)/amd64", "windows(10.0+win32k)/amd64"),
            ("macos/arm64", "darwin/arm64"),
            ("linux", &own),
            ("local", &own),
        ] {
            assert_eq!(usual_name(text).as_deref(), Some(name), "{text}");
            assert_eq!(usual_name(name).as_deref(), Some(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_platform_has_no_name() {
        for text in [
            "",
            "/",
            "arm65",
            "linux/",
            "linux//v8",
            "linux/arm64/v8/x",
            "linux/*",
            "linux(/amd64",
            "linux/amd 64",
        ] {
            assert_eq!(usual_name(text), None, "{text}");
        }
    }
}
