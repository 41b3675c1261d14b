//! Image references, parsed and printed.
//!
//! The grammar and the normalisation are Docker's: `reference.go` and `normalize.go` in
//! <https://github.com/distribution/reference>.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, DigestError, is_lower_hex};
use super::registry::Registry;

/// Docker Hub's host, the default of a reference without one.
const DOCKER_HUB: &str = "docker.io";
/// Docker replaces this host by [`DOCKER_HUB`].
const LEGACY_DOCKER_HUB: &str = "index.docker.io";
/// Docker Hub's namespace for repositories of one path component.
const OFFICIAL: &str = "library/";
/// Longest repository path, in bytes (`RepositoryNameTotalLengthMax`).
const REPOSITORY_MAX: usize = 255;
/// Longest tag, in bytes.
const TAG_MAX: usize = 128;

/// An image reference, `host/repository[:tag][@digest]`. Printing gives the full form, with host and `library/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// Registry host, with the port if one was given.
    pub host: String,
    /// Path of the repository inside the registry.
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl ImageRef {
    /// The registry that holds this image.
    pub fn registry(&self) -> Registry {
        Registry::from_host(&self.host)
    }

    /// The same repository under this tag.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        }
    }

    /// `host/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let fault = |kind| ImageRefError {
            given: given.to_owned(),
            kind,
        };
        if given.is_empty() {
            return Err(fault(Fault::Empty));
        }
        if given.len() == 64 && given.bytes().all(is_lower_hex) {
            return Err(fault(Fault::ImageId));
        }
        let (host, rest) = split_host(given);
        if !is_host(host) {
            return Err(fault(Fault::Host(host.to_owned())));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let digest = digest.map(str::parse).transpose();
        let digest = digest.map_err(|error| fault(Fault::Digest(error)))?;
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(fault(Fault::Tag(tag.to_owned())));
        }
        let repository = if host == DOCKER_HUB && !path.contains('/') {
            format!("{OFFICIAL}{path}")
        } else {
            path.to_owned()
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(fault(Fault::Uppercase(path.to_owned())));
        }
        if !repository.split('/').all(is_path_component) {
            return Err(fault(Fault::Repository(path.to_owned())));
        }
        if repository.len() > REPOSITORY_MAX {
            return Err(fault(Fault::TooLong(repository.len())));
        }
        Ok(Self {
            host: host.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether a text is a valid tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX
        && bytes.next().is_some_and(word)
        && bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// Splits a reference into its host, given or implied, and the rest. The first component is a host only when it
/// cannot be a path component.
fn split_host(reference: &str) -> (&str, &str) {
    match reference.split_once('/') {
        Some((LEGACY_DOCKER_HUB, rest)) => (DOCKER_HUB, rest),
        Some((host, rest))
            if host == "localhost"
                || host.contains(['.', ':'])
                || host.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (host, rest)
        }
        _ => (DOCKER_HUB, reference),
    }
}

/// Whether a text is a host, `name[:port]` or `[IPv6 address][:port]`.
pub fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let edge_is_dash = label.starts_with('-') || label.ends_with('-');
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty() && !edge_is_dash && label.bytes().all(allowed)
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let allowed = |b: u8| b.is_ascii_hexdigit() || b == b':';
        return !address.is_empty()
            && address.bytes().all(allowed)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Words of `[a-z0-9]+` joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = text;
    loop {
        let after_word = rest.trim_start_matches(word);
        if after_word.len() == rest.len() {
            return false;
        }
        if after_word.is_empty() {
            return true;
        }
        let after_dashes = after_word.trim_start_matches('-');
        let mut separators = ["__", "_", "."].iter();
        rest = match separators.find_map(|separator| after_word.strip_prefix(separator)) {
            Some(rest) => rest,
            None if after_dashes.len() < after_word.len() => after_dashes,
            None => return false,
        };
    }
}

/// A text that is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not an image reference: {kind}")]
pub struct ImageRefError {
    given: String,
    kind: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it is empty, expected `[host/]repository[:tag][@digest]`")]
    Empty,
    #[error("64 hexadecimal digits are an image id, expected a repository name")]
    ImageId,
    #[error("host `{0}`, expected a domain name or an address with an optional port")]
    Host(String),
    #[error(
        "repository `{0}`, expected lower-case letters and digits, joined by `.`, `_`, `__` or `-`, in parts separated by `/`"
    )]
    Repository(String),
    #[error("repository `{0}` has upper-case letters, expected lower case")]
    Uppercase(String),
    #[error("the repository has {0} characters, expected at most {REPOSITORY_MAX}")]
    TooLong(usize),
    #[error(
        "tag `{0}`, expected at most {TAG_MAX} letters, digits, `_`, `.` and `-`, the first not `.` or `-`"
    )]
    Tag(String),
    #[error(transparent)]
    Digest(DigestError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn reads_every_form_that_docker_reads() {
        let cases = [
            ("ubuntu", "docker.io", "library/ubuntu", None),
            ("ubuntu:24.04", "docker.io", "library/ubuntu", Some("24.04")),
            (
                "moby/buildkit:v0.30",
                "docker.io",
                "moby/buildkit",
                Some("v0.30"),
            ),
            ("docker.io/ubuntu", "docker.io", "library/ubuntu", None),
            (
                "index.docker.io/ubuntu",
                "docker.io",
                "library/ubuntu",
                None,
            ),
            ("localhost/app", "localhost", "app", None),
            (
                "localhost:5000",
                "docker.io",
                "library/localhost",
                Some("5000"),
            ),
            ("localhost:5000/a/b:c", "localhost:5000", "a/b", Some("c")),
            ("127.0.0.1:5000/app", "127.0.0.1:5000", "app", None),
            ("[::1]:5000/app", "[::1]:5000", "app", None),
            ("[2001:db8::1]/app", "[2001:db8::1]", "app", None),
            ("registry:80/app", "registry:80", "app", None),
            ("Registry/app", "Registry", "app", None),
            ("a.b/c__d.e-f---g_h", "a.b", "c__d.e-f---g_h", None),
            ("gcr.io/a/b:T.1-_", "gcr.io", "a/b", Some("T.1-_")),
        ];
        for (given, host, repository, tag) in cases {
            for digest in [None, Some(DIGEST)] {
                let given = match digest {
                    Some(digest) => format!("{given}@{digest}"),
                    None => given.to_owned(),
                };
                let image: ImageRef = given.parse().unwrap();
                assert_eq!(image.host, host, "{given}");
                assert_eq!(image.repository, repository, "{given}");
                assert_eq!(image.tag.as_deref(), tag, "{given}");
                assert_eq!(image.digest.as_ref().map(Digest::as_str), digest, "{given}");
            }
        }
    }

    #[test]
    fn refuses_what_docker_refuses_and_says_why() {
        let long = format!("a.b/{}", "a".repeat(256));
        let long_tag = format!("a:{}", "t".repeat(129));
        let id = "a".repeat(64);
        let cases = [
            ("", "it is empty"),
            (id.as_str(), "an image id"),
            ("a b", "repository `a b`"),
            ("App", "repository `App` has upper-case letters"),
            ("a.b/App:x", "repository `App` has upper-case letters"),
            ("a/", "repository `a/`"),
            ("a//b", "repository `a//b`"),
            ("/a", "repository `/a`"),
            ("a.b/", "repository ``"),
            ("a...b", "repository `a...b`"),
            ("a.b/a___b", "repository `a___b`"),
            ("-a", "repository `-a`"),
            ("a-", "repository `a-`"),
            ("a_.b", "repository `a_.b`"),
            ("é", "repository `é`"),
            ("a:", "tag ``"),
            ("a:-x", "tag `-x`"),
            ("a:b:c", "tag `b:c`"),
            ("a:b c", "tag `b c`"),
            (&long_tag, "expected at most 128"),
            (&long, "the repository has 256 characters"),
            ("a:b/c", "host `a:b`"),
            ("-a.b/c", "host `-a.b`"),
            ("a..b/c", "host `a..b`"),
            ("a.b:/c", "host `a.b:`"),
            ("https://a.b/c", "host `https:`"),
            ("[::1/c", "host `[::1`"),
            ("[::1]x/c", "host `[::1]x`"),
            ("a@sha256:12", "digest `sha256:12`"),
            ("a@", "digest ``"),
        ];
        for (given, why) in cases {
            let error = given.parse::<ImageRef>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{given}` is not an image reference")),
                "{error}"
            );
            assert!(error.contains(why), "{given}: {error}");
        }
    }

    #[test]
    fn names_its_registry() {
        let image: ImageRef = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1"
            .parse()
            .unwrap();
        assert!(matches!(image.registry(), Registry::Ecr(ecr) if ecr.region == "eu-west-1"));
    }

    #[test]
    fn takes_the_longest_names_allowed() {
        let repository = "a".repeat(255);
        let tag = "t".repeat(128);
        let image: ImageRef = format!("a.b/{repository}:{tag}").parse().unwrap();
        assert_eq!((image.repository, image.tag), (repository, Some(tag)));
        assert!("b".repeat(247).parse::<ImageRef>().is_ok());
        assert!(
            "b".repeat(248).parse::<ImageRef>().is_err(),
            "`library/` counts"
        );
    }

    proptest! {
        #[test]
        fn prints_what_it_read(
            host in "(localhost|[a-zA-Z0-9]{1,5}(\\.[a-z0-9]([a-z-]{0,3}[a-z])?){1,3}|\\[[0-9a-f]{0,4}:[0-9a-f:]{0,9}\\])(:[0-9]{1,5})?",
            path in "[a-z0-9]{1,4}(([._/]|__|-{1,3})[a-z0-9]{1,4}){0,4}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
            digest in proptest::option::of("sha256:[0-9a-f]{64}"),
        ) {
            let mut text = format!("{host}/{path}");
            if let Some(tag) = tag { text = format!("{text}:{tag}"); }
            if let Some(digest) = digest { text = format!("{text}@{digest}"); }
            let image: ImageRef = text.parse().unwrap();
            prop_assert_eq!(&image.to_string(), &text);
            prop_assert_eq!(image.name(), format!("{host}/{path}"));
        }

        #[test]
        fn reads_again_what_it_printed(text in "[a-zA-B0-1./:@_\\[\\]-]{1,24}|\\PC{0,40}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                prop_assert_eq!(image.to_string().parse(), Ok(image));
            }
        }
    }
}
