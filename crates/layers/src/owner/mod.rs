//! Who owns a file: the package that installed it, or the directory it is in.
//!
//! Package managers keep lists of what they installed. Only lists that are new or changed themselves are read: a package that
//! the base brought has a list that the base brought. In this order, the first claim counts:
//!
//! 1. conda: `conda-meta/NAME-VERSION-BUILD.json` of any environment;
//! 2. dpkg: `var/lib/dpkg/info/NAME.list`;
//! 3. pip, uv, poetry: `NAME-VERSION.dist-info/RECORD` of any `site-packages` or `dist-packages`;
//! 4. bytecode (`__pycache__/MODULE.TAG.pyc`) belongs to the owner of its source;
//! 5. what else is in a package's directory of `site-packages` belongs to that package;
//! 6. npm, pnpm, yarn: the innermost `node_modules/NAME` or `node_modules/@SCOPE/NAME`;
//! 7. the first three directories of the path.
//!
//! The lists are hostile input. They decide which layer a file goes to, never what is in it: a claim to a file that is not in the
//! diff means nothing. Lists longer than [`LONGEST_LIST`] and malformed ones are left aside.

mod conda;
mod dpkg;
mod pip;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;

use crate::diff::{Diff, Entry};
use crate::error::Result;
use crate::path::TreePath;
use crate::times::source;
use crate::tree::{Kind, Tree};
use crate::workers::Workers;

/// Bytes of a list that is read. PyTorch's, the longest of those seen, has 1.5 MB.
pub const LONGEST_LIST: u64 = 32 << 20;

/// How many directories name the owner of a file that no package owns.
const DIRECTORIES: usize = 3;

/// An owner of files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A package that conda installed.
    Conda(String),
    /// A Debian package.
    Dpkg(String),
    /// A Python package, by its normalised name.
    Pip(String),
    /// A package in `node_modules`.
    Npm(String),
    /// No package: what is in a directory.
    Directory(String),
}

impl Owner {
    /// The owner of what no package owns.
    pub(crate) fn of_directory(path: &TreePath) -> Self {
        let parent = path.parent().unwrap_or_default();
        let parts: Vec<_> = parent.components().take(DIRECTORIES).collect();
        Self::Directory(text(&parts.join(&b'/')))
    }

    /// Whether a package manager installed the files.
    pub fn is_package(&self) -> bool {
        !matches!(self, Self::Directory(_))
    }
}

/// `pip/torch`, `files/usr/local/lib`: how annotations name owners.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Conda(name) => ("conda", name),
            Self::Dpkg(name) => ("dpkg", name),
            Self::Pip(name) => ("pip", name),
            Self::Npm(name) => ("npm", name),
            Self::Directory(path) => ("files", path),
        };
        write!(f, "{kind}/{name}")
    }
}

/// Who owns what in one image.
#[derive(Debug, Default)]
pub struct Owners {
    claims: HashMap<TreePath, Arc<Owner>>,
    /// Whose a directory directly in `site-packages` is.
    python: HashMap<TreePath, Arc<Owner>>,
    versions: HashMap<Arc<Owner>, String>,
    /// One for each entry of the diff.
    entries: Vec<Arc<Owner>>,
}

impl Owners {
    /// Reads the lists that are new or changed. Uses all workers.
    pub fn read(image: &Tree, diff: &Diff, workers: &Workers) -> Result<Self> {
        let usr = merged_usr(image)?;
        let mut owners = Self::default();
        let mut lists: [Vec<(&TreePath, Package)>; 3] = Default::default();
        for entry in &diff.entries {
            if entry.found.kind != Kind::File {
                continue;
            }
            let path = &entry.path;
            if let Some(package) = conda::package(path) {
                lists[0].push((path, package));
            } else if let Some(package) = dpkg::package(path)
                && path.name().ends_with(b".list")
            {
                lists[1].push((path, package));
            } else if let Some(package) = pip::package(path) {
                lists[2].push((path, package));
            }
        }
        let lists: Vec<_> = lists.into_iter().flatten().collect();
        let claims: Vec<Option<Vec<TreePath>>> = workers.pool().install(|| {
            let lists = lists.par_iter();
            lists
                .map(|(path, package)| {
                    let list = image.read(path, LONGEST_LIST)?;
                    Ok(list.map(|list| package.claims(&list, &usr)))
                })
                .collect::<Result<_>>()
        })?;
        for ((_, package), claims) in lists.iter().zip(claims) {
            let Some(claims) = claims else {
                continue;
            };
            if let Some(version) = &package.version {
                let versions = owners.versions.entry(package.owner.clone());
                versions.or_insert_with(|| version.clone());
            }
            for path in claims {
                owners.claim(package, path);
            }
        }
        owners.look_up(diff, workers);
        Ok(owners)
    }

    fn look_up(&mut self, diff: &Diff, workers: &Workers) {
        let owners = &*self;
        self.entries = workers.pool().install(|| {
            let entries = diff.entries.par_iter();
            entries.map(|entry| owners.find(&entry.path)).collect()
        });
    }

    /// The entries of the diff, each with its owner.
    pub(crate) fn each<'o, 'd>(
        &'o self,
        diff: &'d Diff,
    ) -> impl Iterator<Item = (&'d Entry, &'o Owner)> + Clone {
        diff.entries
            .iter()
            .zip(self.entries.iter().map(|owner| &**owner))
    }

    /// The owner of `path`.
    pub fn of(&self, path: &TreePath) -> Owner {
        (*self.find(path)).clone()
    }

    fn find(&self, path: &TreePath) -> Arc<Owner> {
        self.claims
            .get(path)
            .or_else(|| self.claims.get(&source(path)?))
            .or_else(|| self.python.get(&in_site_packages(path)?))
            .cloned()
            .or_else(|| node_package(path).map(Arc::new))
            .or_else(|| {
                conda::package(path)
                    .or_else(|| dpkg::package(path))
                    .map(|it| it.owner)
            })
            .unwrap_or_else(|| Arc::new(Owner::of_directory(path)))
    }

    /// The version of a package, if its list's name tells.
    pub(crate) fn version(&self, owner: &Owner) -> Option<&str> {
        self.versions.get(owner).map(String::as_str)
    }

    /// For tests of plans: each owns its directory in `site-packages`.
    #[cfg(test)]
    pub(crate) fn of_python_packages(
        names: &std::collections::BTreeSet<&str>,
        diff: &Diff,
    ) -> Self {
        let directory = |name: &&str| TreePath::from("site-packages").join(name.as_bytes());
        let owned = names
            .iter()
            .map(|name| (directory(name), Arc::new(Owner::Pip((*name).to_owned()))));
        let mut owners = Self {
            python: owned.collect(),
            ..Self::default()
        };
        owners.look_up(diff, &Workers::new(1, 0).unwrap());
        owners
    }

    fn claim(&mut self, package: &Package, path: TreePath) {
        if let Some(directory) = in_site_packages(&path) {
            self.python
                .entry(directory)
                .or_insert_with(|| package.owner.clone());
        }
        self.claims
            .entry(path)
            .or_insert_with(|| package.owner.clone());
    }
}

/// A package's list, as its name tells.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    owner: Arc<Owner>,
    version: Option<String>,
    format: Format,
    /// What relative paths in the list start from.
    base: TreePath,
}

impl Package {
    /// What its list names. `usr`: see [`merged_usr`].
    fn claims(&self, list: &[u8], usr: &[Box<[u8]>]) -> Vec<TreePath> {
        let mut claims = Vec::new();
        let mut claim = |path: &[u8]| {
            let Some(path) = TreePath::resolve(&self.base, path) else {
                return;
            };
            let first = path.components().next().unwrap_or_default();
            if usr.iter().any(|name| &**name == first) {
                claims.push(TreePath::from("usr").join(path.as_bytes()));
            } else if !path.is_root() {
                claims.push(path);
            }
        };
        match self.format {
            Format::Conda => conda::read(list, claim),
            Format::Dpkg => dpkg::read(list, claim),
            Format::Record => pip::read(list, &mut claim),
        }
        claims
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Format {
    Conda,
    Dpkg,
    Record,
}

/// The names at the root that are links into `usr`: dpkg's lists say `/lib/x`, the file is `usr/lib/x`.
/// <https://wiki.debian.org/UsrMerge>
fn merged_usr(image: &Tree) -> Result<Vec<Box<[u8]>>> {
    let root = image.root();
    let mut links = Vec::new();
    for name in root.names()? {
        if root.look(&name)?.kind == Kind::Link {
            let target = root.target(&name)?;
            let target = TreePath::resolve(&TreePath::root(), &target);
            if target == Some(TreePath::from("usr").join(&name)) {
                links.push(name);
            }
        }
    }
    Ok(links)
}

/// The directory or file directly in `site-packages` or `dist-packages` that `path` is in or is.
fn in_site_packages(path: &TreePath) -> Option<TreePath> {
    let mut directory = TreePath::root();
    let mut components = path.components();
    while let Some(part) = components.next() {
        directory = directory.join(part);
        if matches!(part, b"site-packages" | b"dist-packages") {
            // Single modules share their directory of bytecode.
            let name = components.next().filter(|name| *name != b"__pycache__")?;
            return Some(directory.join(name));
        }
    }
    None
}

/// The innermost package of `node_modules`, if `path` is in one.
fn node_package(path: &TreePath) -> Option<Owner> {
    let parts: Vec<_> = path.components().collect();
    let at = parts.iter().rposition(|part| *part == b"node_modules")?;
    let name = parts.get(at + 1)?;
    // Names with a dot are npm's own: `.bin`, `.package-lock.json`, `.pnpm`.
    if name.starts_with(b".") {
        return None;
    }
    let name = match parts.get(at + 2) {
        Some(package) if name.starts_with(b"@") => [*name, *package].join(&b'/'),
        _ => name.to_vec(),
    };
    Some(Owner::Npm(text(&name)))
}

/// For names in annotations. Two names that differ in bytes that are no UTF-8 may become one: they share a layer then.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Owners {
        fn claim_all(&mut self, package: &Package, list: &[u8], usr: &[Box<[u8]>]) {
            for path in package.claims(list, usr) {
                self.claim(package, path);
            }
        }
    }

    fn owner(owners: &Owners, path: &str) -> String {
        owners.of(&path.into()).to_string()
    }

    fn record(owners: &mut Owners, path: &str, list: &str) {
        let package = pip::package(&path.into()).unwrap();
        owners.claim_all(&package, list.as_bytes(), &[]);
    }

    #[test]
    fn python_files_belong_to_their_distribution() {
        let mut owners = Owners::default();
        record(
            &mut owners,
            "v/lib/python3.12/site-packages/Foo_Bar.baz-1.0.dist-info/RECORD",
            "foo/__init__.py,sha256=x,1\n../../../bin/foo,,\n\"foo/a, b.py\",,\n/etc/foo.conf,,\n",
        );
        for (path, expected) in [
            (
                "v/lib/python3.12/site-packages/foo/__init__.py",
                "pip/foo-bar-baz",
            ),
            ("v/bin/foo", "pip/foo-bar-baz"),
            ("etc/foo.conf", "pip/foo-bar-baz"),
            (
                "v/lib/python3.12/site-packages/foo/a, b.py",
                "pip/foo-bar-baz",
            ),
            // Bytecode that the list does not name, of a source that it does, and what only lies beside.
            (
                "v/lib/python3.12/site-packages/foo/__pycache__/__init__.cpython-312.opt-1.pyc",
                "pip/foo-bar-baz",
            ),
            (
                "v/lib/python3.12/site-packages/foo/cache.bin",
                "pip/foo-bar-baz",
            ),
            (
                "v/lib/python3.12/site-packages/other/x.py",
                "files/v/lib/python3.12",
            ),
            ("v/bin/other", "files/v/bin"),
            ("top", "files/"),
        ] {
            assert_eq!(owner(&owners, path), expected, "{path}");
        }
    }

    #[test]
    fn the_first_of_two_claims_counts() {
        let mut owners = Owners::default();
        record(
            &mut owners,
            "s/site-packages/a-1.dist-info/RECORD",
            "../../share/x,,\n",
        );
        record(
            &mut owners,
            "s/site-packages/b-1.dist-info/RECORD",
            "../../share/x,,\n",
        );
        assert_eq!(owner(&owners, "share/x"), "pip/a");
    }

    #[test]
    fn node_packages_are_their_innermost_directory() {
        let owners = Owners::default();
        for (path, expected) in [
            ("app/node_modules/react/index.js", "npm/react"),
            (
                "app/node_modules/@babel/core/lib/index.js",
                "npm/@babel/core",
            ),
            ("app/node_modules/a/node_modules/b/x.js", "npm/b"),
            (
                "app/node_modules/.pnpm/react@18.2.0/node_modules/react/x.js",
                "npm/react",
            ),
            ("app/node_modules/.bin/tsc", "files/app/node_modules/.bin"),
            (
                "app/node_modules/.package-lock.json",
                "files/app/node_modules",
            ),
        ] {
            assert_eq!(owner(&owners, path), expected, "{path}");
        }
    }

    #[test]
    fn debian_lists_reach_files_behind_the_merged_usr() {
        let mut owners = Owners::default();
        let package = dpkg::package(&"var/lib/dpkg/info/libfoo1:amd64.list".into()).unwrap();
        let usr = [Box::from(&b"lib"[..])];
        let list = b"/.\n/lib\n/lib/x/libfoo.so.1\n/usr/share/doc/libfoo1\n";
        owners.claim_all(&package, list, &usr);
        assert_eq!(owner(&owners, "usr/lib/x/libfoo.so.1"), "dpkg/libfoo1");
        assert_eq!(owner(&owners, "usr/share/doc/libfoo1"), "dpkg/libfoo1");
        assert_eq!(
            owner(&owners, "var/lib/dpkg/info/libfoo1:amd64.md5sums"),
            "dpkg/libfoo1"
        );
        assert_eq!(owner(&owners, "var/lib/dpkg/status"), "files/var/lib/dpkg");
    }

    proptest::proptest! {
        #[test]
        fn no_list_makes_a_claim_outside_the_image(list: Vec<u8>, path in "[a-z./]{0,40}") {
            let mut owners = Owners::default();
            for format in [Format::Record, Format::Dpkg, Format::Conda] {
                let package = Package {
                    owner: Arc::new(Owner::Pip("x".to_owned())),
                    version: None,
                    format,
                    base: "a/b".into(),
                };
                for list in [&list[..], path.as_bytes(), format!("{path}\n\"{path}\",,\n").as_bytes()] {
                    owners.claim_all(&package, list, &[]);
                }
            }
            for path in owners.claims.keys() {
                let parts: Vec<_> = path.components().collect();
                proptest::prop_assert!(!parts.is_empty());
                proptest::prop_assert!(!parts.iter().any(|part| matches!(*part, b"" | b"." | b"..")));
            }
        }
    }
}
