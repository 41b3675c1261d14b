//! Items that describe the build: arguments, named contexts, SSH keys, ulimits.
//!
//! Each is read as buildx reads the flag that it becomes
//! (<https://github.com/docker/buildx/tree/461836ba0/util/buildflags>) and is printed as that flag
//! takes it.

use std::fmt;

use lists::attributes::pair;
use lists::list::Grammar;

use super::InputError;
use super::value::{Expected, Item};
use crate::runner::env::Env;

/// What is expected of a build argument.
const BUILD_ARG: &str = "`NAME=value`, or the `NAME` of an environment variable that is set; put a value of several lines in double \
     quotes, together with its name: `\"NAME=first line`, …, `last line\"`";

/// Arguments of BuildKit's own, with the same names in lower case, that workflows pass on where they are set
/// (<https://docs.docker.com/reference/dockerfile/#predefined-args>).
const PROXIES: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildArg {
    pub name: String,
    /// None for that of the variable of this name.
    pub value: Option<String>,
}

impl Item for BuildArg {
    const HIDDEN: bool = true;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let follows_a_value = items.iter().any(|item| item.value.is_some());
        if !is_variable(name) || follows_a_value && is_end_of_base64(text) {
            return Err(BUILD_ARG.into());
        }
        let name = name.to_owned();
        items.push(Self { name, value });
        Ok(())
    }
}

impl BuildArg {
    /// Whether it names a variable that is not set. buildx passes nothing then.
    pub(super) fn is_unset(&self, env: &Env) -> bool {
        self.value.is_none() && !env.has(&self.name)
    }

    /// Takes out the arguments that are not set: they have no effect, and nothing shows their names.
    ///
    /// # Errors
    /// Where one may be the rest of a value of several lines; it is not shown either.
    pub(super) fn take_out_unset(arguments: &mut Vec<Self>, env: &Env) -> Result<(), InputError> {
        let mut follows_a_value = false;
        for (index, argument) in arguments.iter().enumerate() {
            if follows_a_value && argument.is_unset(env) && !is_conventional(&argument.name) {
                return Err(InputError::item("build-args", index + 1, BUILD_ARG));
            }
            follows_a_value |= argument.value.is_some();
        }
        arguments.retain(|argument| !argument.is_unset(env));
        Ok(())
    }
}

/// Whether a name looks like that of an environment variable, not like a word or a piece of a key.
fn is_conventional(name: &str) -> bool {
    let is_variable = name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && (name.bytes())
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_variable || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// Whether a text looks like the last line of base64 text, which ends in one or two `=`.
fn is_end_of_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let has = |is: fn(&u8) -> bool| digits.as_bytes().iter().any(is);
    match text.len() - digits.len() {
        1 => {
            text.len().is_multiple_of(4)
                && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && has(u8::is_ascii_digit)
                && has(u8::is_ascii_lowercase)
                && has(u8::is_ascii_uppercase)
        }
        // A name and `=`, and a value that is nothing but `=`.
        padding => padding > 1 && !digits.contains('='),
    }
}

/// What a Dockerfile's `ARG` can name
/// (<https://docs.docker.com/reference/dockerfile/#arg>): the frontend takes more, but no blanks and
/// quotes.
fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

impl fmt::Display for BuildArg {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(formatter, "{}={value}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// A named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildContext {
    pub name: String,
    /// A path, a URL, or what a scheme of buildx's begins.
    pub value: String,
}

impl Item for BuildContext {
    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let pair = pair(text).filter(|(_, value)| !value.is_empty());
        let (name, value) =
            pair.ok_or("`name=context`, e.g. `src=../src` or `base=docker-image://alpine:3.20`")?;
        items.push(Self { name, value });
        Ok(())
    }
}

/// An SSH agent or key: `default` or an id, perhaps with the path of a socket or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshKey(String);

impl SshKey {
    /// Paths of a socket or of keys; none for the environment's agent.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let paths = self.0.split_once('=').map_or("", |(_, paths)| paths);
        paths.split(',').filter(|path| !path.is_empty())
    }

    fn id(&self) -> &str {
        match self.0.split_once('=').map_or(&*self.0, |(id, _)| id) {
            "" => "default",
            id => id,
        }
    }
}

impl Item for SshKey {
    const GRAMMAR: Grammar = Grammar::Commas;
    const HIDDEN: bool = true;

    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        let key = Self(text.to_owned());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !key.id().bytes().all(allowed) || text.contains("-----BEGIN") {
            return Err("`default` or an id, or `id=path` with the path of a key; a key itself goes into a file".into());
        }
        if items.iter().any(|other| other.id() == key.id()) {
            return Err("another id: each may be given once".into());
        }
        items.push(key);
        Ok(())
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A limit of a process; -1 is unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ulimit {
    kind: &'static str,
    soft: i64,
    /// None for the same as `soft`.
    hard: Option<i64>,
}

/// Those of docker/go-units, which buildx vendors (`ulimit.go`).
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl Ulimit {
    fn parse(text: &str) -> Option<Self> {
        let (kind, limits) = text.split_once('=')?;
        let kind = ULIMITS.iter().find(|known| **known == kind)?;
        let (soft, hard) = match limits.split_once(':') {
            Some((soft, hard)) => (soft, Some(hard.parse().ok()?)),
            None => (limits, None),
        };
        let soft = soft.parse().ok()?;
        let most = hard.unwrap_or(soft);
        (most == -1 || (soft != -1 && soft <= most)).then_some(Self { kind, soft, hard })
    }
}

impl Item for Ulimit {
    fn add(text: &str, items: &mut Vec<Self>) -> Result<(), Expected> {
        items.push(Self::parse(text).ok_or(
            "`type=soft[:hard]`, e.g. `nofile=1024:2048`; soft must not exceed hard, -1 is unlimited",
        )?);
        Ok(())
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.kind, self.soft)?;
        match self.hard {
            Some(hard) => write!(formatter, ":{hard}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<T: Item>(text: &str) -> Option<T> {
        let mut items = Vec::new();
        T::add(text, &mut items).ok()?;
        items.pop()
    }

    #[test]
    fn ulimits_have_a_type_and_limits() {
        for text in [
            "nofile=1024:1024",
            "nproc=3",
            "core=-1",
            "nofile=5:-1",
            "core=0",
        ] {
            assert_eq!(read::<Ulimit>(text).unwrap().to_string(), text);
        }
        for text in [
            "nofile",
            "files=3",
            "nofile=2:1",
            "nofile=-1:3",
            "nofile=1:2:3",
            "nofile=a",
            "nofile=",
        ] {
            assert_eq!(read::<Ulimit>(text), None, "{text}");
        }
    }

    #[test]
    fn named_contexts_have_a_name_and_a_value() {
        for text in ["a=b", "a=docker-image://x:1"] {
            assert!(read::<BuildContext>(text).is_some(), "{text}");
        }
        for text in ["a", "=b", "a="] {
            assert_eq!(read::<BuildContext>(text), None, "{text}");
        }
    }

    #[test]
    fn a_build_argument_has_a_name() {
        for text in ["A=b=c", "A=", "A"] {
            assert_eq!(read::<BuildArg>(text).unwrap().to_string(), text);
        }
        assert_eq!(read::<BuildArg>("=b"), None);
    }

    #[test]
    fn the_end_of_base64_text_is_no_build_argument() {
        for (text, expected) in [
            ("aHVudGVyMg==", true),
            ("c2VjcmV0LXZhbHU=", true),
            ("GitCommitId=", false),
            ("VERSION=", false),
            ("versions=", false),
            ("version2=", false),
            ("FLAGS=a==", false),
        ] {
            assert_eq!(is_end_of_base64(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn survives_any_text(text in "[a-z0-9=:, -]{0,30}") {
            let _ = (read::<Ulimit>(&text), read::<BuildContext>(&text), read::<SshKey>(&text));
        }
    }
}
