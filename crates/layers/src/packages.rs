//! Which packages an image adds, to compare with those of another image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::diff::Diff;
use crate::owner::Owners;
use crate::tree::Kind;

/// Packages by name: `pip/torch`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Packages(BTreeMap<String, Package>);

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Package {
    /// Bytes of its files.
    #[serde(rename = "s")]
    size: u64,
    /// The start of a hash of names and sizes. Files of bytecode count as a size of 0: two runs of a compiler may write other bytes.
    #[serde(rename = "h")]
    files: String,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

/// A package that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// `pip/torch`.
    pub name: String,
    /// None: it is new.
    pub before: Option<PackageState>,
    /// None: it was removed.
    pub after: Option<PackageState>,
}

/// A package of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    /// Bytes of its files.
    pub size: u64,
    /// If its list says so.
    pub version: Option<String>,
}

impl Packages {
    /// The packages that a diff adds or changes.
    #[must_use]
    pub fn new(diff: &Diff, owners: &Owners) -> Self {
        let mut found: BTreeMap<String, (u64, Sha256, Option<String>)> = BTreeMap::new();
        for (entry, owner) in owners.each(diff) {
            if entry.found.kind == Kind::Directory || !owner.is_package() {
                continue;
            }
            let version = || owners.version(owner).map(str::to_owned);
            let (sum, hash, _) = found
                .entry(owner.to_string())
                .or_insert_with(|| (0, Sha256::new(), version()));
            let size = entry.found.size;
            *sum = sum.saturating_add(size);
            let is_bytecode = entry.path.name().ends_with(b".pyc");
            hash.update(entry.path.as_bytes());
            hash.update([0]);
            hash.update(if is_bytecode { 0 } else { size }.to_le_bytes());
        }
        let packages = found.into_iter().map(|(name, (size, hash, version))| {
            let files = hash.finalize();
            let files = files.iter().take(6).map(|byte| format!("{byte:02x}"));
            let package = Package {
                size,
                files: files.collect(),
                version,
            };
            (name, package)
        });
        Self(packages.collect())
    }

    /// What is not as it was in `before`, by name.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<PackageChange> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(before.0.keys()).collect();
        let changed = names.into_iter().filter_map(|name| {
            let (before, after) = (before.0.get(name), self.0.get(name));
            let is_same = matches!((before, after), (Some(before), Some(after))
                if (&before.files, &before.version) == (&after.files, &after.version));
            let state = |package: &Package| PackageState {
                size: package.size,
                version: package.version.clone(),
            };
            (!is_same).then(|| PackageChange {
                name: name.clone(),
                before: before.map(state),
                after: after.map(state),
            })
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(given: &[(&str, u64, &str, Option<&str>)]) -> Packages {
        let packages = given.iter().map(|(name, size, files, version)| {
            let package = Package {
                size: *size,
                files: (*files).to_owned(),
                version: version.map(str::to_owned),
            };
            ((*name).to_owned(), package)
        });
        Packages(packages.collect())
    }

    #[test]
    fn new_changed_and_removed_packages_are_named_and_others_are_not() {
        let before = packages(&[
            ("pip/a", 1, "a", Some("1")),
            ("pip/b", 2, "b", Some("1")),
            ("pip/c", 3, "c", None),
            ("pip/d", 4, "d", None),
        ]);
        let after = packages(&[
            ("pip/a", 1, "a", Some("1")),
            ("pip/b", 2, "b", Some("2")),
            ("pip/d", 5, "e", None),
            ("pip/e", 6, "f", None),
        ]);
        let changes = after.changes(&before);
        let sizes = |state: &Option<PackageState>| state.as_ref().map(|state| state.size);
        let text: Vec<_> = changes
            .iter()
            .map(|it| (it.name.as_str(), sizes(&it.before), sizes(&it.after)))
            .collect();
        assert_eq!(
            text,
            [
                ("pip/b", Some(2), Some(2)),
                ("pip/c", Some(3), None),
                ("pip/d", Some(4), Some(5)),
                ("pip/e", None, Some(6)),
            ]
        );
        assert!(before.changes(&before).is_empty());
        let json = serde_json::to_string(&after).unwrap();
        assert_eq!(serde_json::from_str::<Packages>(&json).unwrap(), after);
    }
}
