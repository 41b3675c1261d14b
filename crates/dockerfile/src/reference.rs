//! Names of images as Docker completes them.
//!
//! Follows `normalize.go` of <https://github.com/distribution/reference>.

/// An image's name, completed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// `alpine` is `docker.io/library/alpine`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return None;
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (domain, rest) = match name.split_once('/') {
            Some((domain, rest))
                if domain.contains(['.', ':'])
                    || domain == "localhost"
                    || domain.bytes().any(|byte| byte.is_ascii_uppercase()) =>
            {
                (domain, rest)
            }
            _ => ("docker.io", name),
        };
        let domain = if domain == "index.docker.io" {
            "docker.io"
        } else {
            domain
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let path = if domain == "docker.io" && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let valid = is_domain(domain)
            && path.split('/').all(is_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        (valid && domain.len() + 1 + path.len() <= 255).then(|| Self {
            domain: domain.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// With the tag `latest` where there is neither tag nor digest.
    pub(crate) fn tagged(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    pub(crate) fn full(&self) -> String {
        self.with(&format!("{}/{}", self.domain, self.path))
    }

    /// The short name under which a named context replaces the image: without `docker.io`, `library` and `:latest`.
    pub(crate) fn context_name(&self) -> String {
        let name = match (self.domain.as_str(), self.path.strip_prefix("library/")) {
            ("docker.io", Some(path)) if !path.contains('/') => path.to_owned(),
            ("docker.io", _) => self.path.clone(),
            (domain, _) => format!("{domain}/{}", self.path),
        };
        let name = self.with(&name);
        name.strip_suffix(":latest").unwrap_or(&name).to_owned()
    }

    /// Domain and path.
    pub(crate) fn repository(&self) -> (&str, &str) {
        (&self.domain, &self.path)
    }

    pub(crate) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub(crate) fn has_digest(&self) -> bool {
        self.digest.is_some()
    }

    fn with(&self, name: &str) -> String {
        let mut text = name.to_owned();
        for (mark, part) in [(':', &self.tag), ('@', &self.digest)] {
            if let Some(part) = part {
                text.push(mark);
                text.push_str(part);
            }
        }
        text
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !domain.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
        None => host.split('.').all(is_label),
    };
    is_host
        && port
            .is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Lower-case letters and digits, parted by `.`, `_`, `__` or dashes.
fn is_component(component: &str) -> bool {
    let word = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
    component.starts_with(word)
        && component.ends_with(word)
        && component.split(word).all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    match digest.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && is_hex(hex),
        Some(("sha512", hex)) => hex.len() == 128 && is_hex(hex),
        _ => false,
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("alpine", "docker.io/library/alpine:latest", "alpine"),
            ("alpine:3", "docker.io/library/alpine:3", "alpine:3"),
            (
                "index.docker.io/alpine",
                "docker.io/library/alpine:latest",
                "alpine",
            ),
            ("docker.io/a/b", "docker.io/a/b:latest", "a/b"),
            ("library/a", "docker.io/library/a:latest", "a"),
            ("localhost/a", "localhost/a:latest", "localhost/a"),
            ("a.b:5000/c/d:x", "a.b:5000/c/d:x", "a.b:5000/c/d:x"),
            ("Host/c", "Host/c:latest", "Host/c"),
            ("[::1]:5000/c", "[::1]:5000/c:latest", "[::1]:5000/c"),
            (
                "a__b/c---d.e_f",
                "docker.io/a__b/c---d.e_f:latest",
                "a__b/c---d.e_f",
            ),
        ];
        for (given, full, context) in cases {
            let reference = Reference::parse(given).map(Reference::tagged).unwrap();
            assert_eq!(reference.full(), full);
            assert_eq!(reference.context_name(), context);
        }
        let pinned = Reference::parse(&format!("alpine:3@{digest}"))
            .unwrap()
            .tagged();
        assert_eq!(
            pinned.full(),
            format!("docker.io/library/alpine:3@{digest}")
        );
        let untagged = Reference::parse(&format!("alpine@{digest}"))
            .unwrap()
            .tagged();
        assert_eq!(
            untagged.full(),
            format!("docker.io/library/alpine@{digest}")
        );
    }

    #[test]
    fn refuses_what_is_no_name() {
        let identifier = "a".repeat(64);
        for bad in [
            "",
            "Alpine",
            "a b",
            "a:",
            "a:b:c",
            "a@b",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            ".a",
            "a.b:x/c",
            "-a.b/c",
            "a@sha256:abc",
            "a:-x",
            "é",
            identifier.as_str(),
        ] {
            assert_eq!(Reference::parse(bad), None, "{bad}");
        }
    }
}
