//! What a git tag says as a version: a text in, the parts that a pattern may print out.
//!
//! Semantic versions as [node-semver](https://github.com/npm/node-semver) reads them strictly (a leading `v`, numbers
//! up to 2^53-1, at most 256 characters); Python's as [PEP 440](https://peps.python.org/pep-0440/) has them.

use std::str::FromStr as _;

use lists::list::trim;

use super::expression::Name;

/// The largest number of a version that JavaScript holds exactly (`Number.MAX_SAFE_INTEGER`).
const LARGEST: u64 = (1 << 53) - 1;
/// The longest version that node-semver reads, in characters.
const LONGEST: usize = 256;

/// The parts of a version, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    raw: String,
    full: String,
    major: String,
    minor: String,
    patch: String,
    prerelease: String,
    build: String,
    /// Whether neither pre-release, post-release nor development release: patterns apply, and `latest` may follow.
    pub is_final: bool,
}

impl Version {
    /// Reads a semantic version.
    pub(crate) fn semver(raw: &str) -> Option<Self> {
        if raw.encode_utf16().count() > LONGEST {
            return None;
        }
        let text = trim(raw);
        let version = semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()?;
        if [version.major, version.minor, version.patch]
            .iter()
            .any(|number| *number > LARGEST)
        {
            return None;
        }
        let identifiers = |text: &str| text.replace('.', ",");
        let mut full = format!("{}.{}.{}", version.major, version.minor, version.patch);
        if !version.pre.is_empty() {
            full = format!("{full}-{}", version.pre);
        }
        Some(Self {
            raw: raw.to_owned(),
            full,
            major: version.major.to_string(),
            minor: version.minor.to_string(),
            patch: version.patch.to_string(),
            prerelease: identifiers(&version.pre),
            build: identifiers(&version.build),
            is_final: version.pre.is_empty(),
        })
    }

    /// Reads a Python version; the full form is the normalised one.
    pub(crate) fn pep440(raw: &str) -> Option<Self> {
        let version = pep440_rs::Version::from_str(raw).ok()?;
        let part = |index: usize| {
            let number = version.release().get(index).copied().unwrap_or_default();
            number.to_string()
        };
        let full = version.to_string();
        // The local part is printed with commas there: `1.2+a.b` gives the tag `1.2-a-b`.
        let full = match full.split_once('+') {
            Some((public, local)) => format!("{public}+{}", local.replace('.', ",")),
            None => full,
        };
        Some(Self {
            raw: raw.to_owned(),
            full,
            major: part(0),
            minor: part(1),
            patch: part(2),
            prerelease: String::new(),
            build: String::new(),
            is_final: !version.any_prerelease() && !version.is_post(),
        })
    }

    /// The part that an expression names; names that are no part of a version are empty.
    pub(crate) fn value(&self, name: Name) -> String {
        match name {
            Name::Raw => &self.raw,
            Name::Version => &self.full,
            Name::Major => &self.major,
            Name::Minor => &self.minor,
            Name::Patch => &self.patch,
            Name::Prerelease => &self.prerelease,
            Name::Build => &self.build,
            _ => "",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_semantic_versions() {
        for (raw, full, is_final) in [
            ("1.2.3", "1.2.3", true),
            ("v1.2.3", "1.2.3", true),
            ("v2.0.8-beta.67", "2.0.8-beta.67", false),
            ("1.2.3+build.5", "1.2.3", true),
        ] {
            let version = Version::semver(raw).unwrap();
            assert_eq!(
                (version.full.as_str(), version.is_final),
                (full, is_final),
                "{raw}"
            );
            assert_eq!(version.value(Name::Raw), raw);
        }
        for raw in [
            "",
            "1",
            "1.2",
            "V1.2.3",
            "vv1.2.3",
            "01.2.3",
            "1.2.3-01",
            "9007199254740992.0.0",
        ] {
            assert_eq!(Version::semver(raw), None, "{raw}");
        }
    }

    #[test]
    fn reads_python_versions() {
        for (raw, full, is_final) in [
            ("1.2.3", "1.2.3", true),
            ("v1.2", "1.2", true),
            ("1.2.3beta2", "1.2.3b2", false),
            ("1.2.3post1", "1.2.3.post1", false),
            ("1.0dev4", "1.0.dev4", false),
            ("1!2.0+Ubuntu.01", "1!2.0+ubuntu,1", true),
        ] {
            let version = Version::pep440(raw).unwrap();
            assert_eq!(
                (version.full.as_str(), version.is_final),
                (full, is_final),
                "{raw}"
            );
        }
        assert_eq!(Version::pep440("20200110-foo"), None);
        let short = Version::pep440("7").unwrap();
        assert_eq!(
            [Name::Major, Name::Minor, Name::Patch].map(|name| short.value(name)),
            ["7", "0", "0"]
        );
    }
}
