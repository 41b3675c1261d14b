//! Which frontend reads the Dockerfile.

use std::collections::BTreeMap;

use crate::file::Dockerfile;
use crate::reference::Reference;
use crate::unsupported::{Reason, Unsupported};

/// The first minor version of docker/dockerfile 1 that has here-documents: older ones read their bodies as instructions.
const OLDEST_MINOR: u32 = 4;

/// The build argument that names a frontend in place of the `syntax` directive.
const ARGUMENT: &str = "BUILDKIT_SYNTAX";

impl Dockerfile {
    /// The image of the frontend that reads this Dockerfile in place of the builder's own, completed.
    ///
    /// Supported is `docker/dockerfile`, its labs channel included, under a tag that says it is 1.4 or newer. A digest beside such
    /// a tag is fine; a digest alone says nothing about the version.
    pub fn frontend(&self, args: &BTreeMap<String, String>) -> Result<Option<String>, Unsupported> {
        let (line, image) = match (args.get(ARGUMENT), &self.syntax) {
            (Some(given), _) => (None, given.trim().split(' ').next().unwrap_or_default()),
            (None, Some(syntax)) => (Some(syntax.line), syntax.image.as_str()),
            (None, None) => return Ok(None),
        };
        match Reference::parse(image).filter(is_known) {
            Some(reference) => Ok(Some(reference.tagged().full())),
            None => Err(Unsupported {
                line,
                reason: Reason::Frontend(image.to_owned()),
            }),
        }
    }
}

fn is_known(reference: &Reference) -> bool {
    let (domain, path) = reference.repository();
    (domain, path) == ("docker.io", "docker/dockerfile")
        && match reference.tag() {
            None => !reference.has_digest(),
            Some(tag) => is_known_tag(tag),
        }
}

fn is_known_tag(tag: &str) -> bool {
    let tag = tag.strip_suffix("-labs").unwrap_or(tag);
    if matches!(tag, "latest" | "labs" | "1") {
        return true;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let parts: Vec<Option<u32>> = tag.split('.').map(number).collect();
    matches!(
        parts.as_slice(),
        [Some(1), Some(minor)] | [Some(1), Some(minor), Some(_)] if *minor >= OLDEST_MINOR
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontend(syntax: &str) -> Result<Option<String>, Unsupported> {
        Dockerfile::read(format!("# syntax={syntax}\nFROM scratch\n").as_bytes())
            .unwrap()
            .frontend(&BTreeMap::new())
    }

    #[test]
    fn knows_dockers_frontend_from_the_version_with_here_documents_on() {
        for (given, full) in [
            ("docker/dockerfile", "docker.io/docker/dockerfile:latest"),
            ("docker/dockerfile:1", "docker.io/docker/dockerfile:1"),
            (
                "docker.io/docker/dockerfile:1.4",
                "docker.io/docker/dockerfile:1.4",
            ),
            (
                "docker/dockerfile:1.22.3",
                "docker.io/docker/dockerfile:1.22.3",
            ),
            ("docker/dockerfile:labs", "docker.io/docker/dockerfile:labs"),
            (
                "docker/dockerfile:1-labs",
                "docker.io/docker/dockerfile:1-labs",
            ),
            (
                "docker/dockerfile:1.7-labs",
                "docker.io/docker/dockerfile:1.7-labs",
            ),
            (
                "docker/dockerfile:1 with words",
                "docker.io/docker/dockerfile:1",
            ),
        ] {
            assert_eq!(frontend(given).unwrap().as_deref(), Some(full), "{given}");
        }
        let pinned = format!("docker/dockerfile:1@sha256:{}", "0".repeat(64));
        assert_eq!(
            frontend(&pinned).unwrap(),
            Some(format!("docker.io/{pinned}"))
        );
    }

    #[test]
    fn leaves_other_frontends_alone() {
        let digest = format!("docker/dockerfile@sha256:{}", "0".repeat(64));
        for bad in [
            "docker/dockerfile:1.3",
            "docker/dockerfile:1.0-experimental",
            "docker/dockerfile:experimental",
            "docker/dockerfile:2",
            "docker/dockerfile:1.4.",
            "docker/dockerfile:1.+4",
            "docker/dockerfile-upstream:master",
            "mirror.example.com/docker/dockerfile:1",
            "Not an image",
            digest.as_str(),
        ] {
            let error = frontend(bad).unwrap_err();
            let image = bad.split(' ').next().unwrap().to_owned();
            assert_eq!(error, Reason::Frontend(image).at(1), "{bad}");
        }
    }

    #[test]
    fn the_argument_goes_before_the_directive() {
        let file = Dockerfile::read(b"# syntax=example.com/other\nFROM scratch\n").unwrap();
        let args = |value: &str| BTreeMap::from([(ARGUMENT.to_owned(), value.to_owned())]);
        assert_eq!(
            file.frontend(&args(" docker/dockerfile:1 x "))
                .unwrap()
                .as_deref(),
            Some("docker.io/docker/dockerfile:1")
        );
        let error = file.frontend(&args("")).unwrap_err();
        assert_eq!(error, Reason::Frontend(String::new()).whole());
    }

    #[test]
    fn a_dockerfile_without_a_directive_is_the_builders_own() {
        let file = Dockerfile::read(b"FROM scratch\n# syntax=x\n").unwrap();
        assert_eq!(file.frontend(&BTreeMap::new()), Ok(None));
        let file = Dockerfile::read(b"# a comment\n# syntax=x\nFROM scratch\n").unwrap();
        assert_eq!(file.frontend(&BTreeMap::new()), Ok(None));
    }
}
