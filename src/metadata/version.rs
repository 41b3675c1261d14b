//! Versions in git tags, split into the parts that a pattern may print.
//!
//! Semantic versions are parsed like strict [node-semver](https://github.com/npm/node-semver): a leading `v`, numbers
//! up to 2^53-1, at most 256 characters. Python's follow [PEP 440](https://peps.python.org/pep-0440/).

use std::str::FromStr as _;

use lists::list::trim;

use super::expression::Name;

/// The largest number of a version that JavaScript holds exactly (`Number.MAX_SAFE_INTEGER`).
const LARGEST: u64 = (1 << 53) - 1;
/// The longest version that node-semver accepts (UTF-16 units).
const LONGEST: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    values: [(Name, String); 7],
    /// Whether this is no pre-release, post-release or development release: patterns apply, and `latest` may follow.
    pub is_final: bool,
}

impl Version {
    pub(crate) fn semver(raw: &str) -> Option<Self> {
        if raw.encode_utf16().count() > LONGEST {
            return None;
        }
        let text = trim(raw);
        let version = semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()?;
        if version.major.max(version.minor).max(version.patch) > LARGEST {
            return None;
        }
        let numbers = [version.major, version.minor, version.patch].map(|part| part.to_string());
        let mut full = numbers.join(".");
        if !version.pre.is_empty() {
            full = format!("{full}-{}", version.pre);
        }
        let is_final = version.pre.is_empty();
        let identifiers = [&*version.pre, &*version.build].map(|text| text.replace('.', ","));
        Some(Self::new(raw, full, numbers, identifiers, is_final))
    }

    /// Parses a Python version. The full form is the normalised one.
    pub(crate) fn pep440(raw: &str) -> Option<Self> {
        let version = pep440_rs::Version::from_str(raw).ok()?;
        let part = |index: usize| {
            let number = version.release().get(index).copied().unwrap_or_default();
            number.to_string()
        };
        let full = version.to_string();
        // docker/metadata-action prints the local part with commas: `1.2+a.b` gives the tag `1.2-a-b`.
        let full = match full.split_once('+') {
            Some((public, local)) => format!("{public}+{}", local.replace('.', ",")),
            None => full,
        };
        let is_final = !version.any_prerelease() && !version.is_post();
        let numbers = [part(0), part(1), part(2)];
        Some(Self::new(raw, full, numbers, Default::default(), is_final))
    }

    fn new(
        raw: &str,
        full: String,
        [major, minor, patch]: [String; 3],
        [prerelease, build]: [String; 2],
        is_final: bool,
    ) -> Self {
        let values = [
            (Name::Raw, raw.to_owned()),
            (Name::Version, full),
            (Name::Major, major),
            (Name::Minor, minor),
            (Name::Patch, patch),
            (Name::Prerelease, prerelease),
            (Name::Build, build),
        ];
        Self { values, is_final }
    }

    /// The part that an expression names; empty for other names.
    pub(crate) fn value(&self, name: Name) -> String {
        let value = self.values.iter().find(|(known, _)| *known == name);
        value.map(|(_, text)| text.clone()).unwrap_or_default()
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
                (version.value(Name::Version), version.is_final),
                (full.to_owned(), is_final),
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
                (version.value(Name::Version), version.is_final),
                (full.to_owned(), is_final),
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
