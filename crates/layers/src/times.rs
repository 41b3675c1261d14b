//! Which times layers have.
//!
//! Installers write the time of the installation into every file and directory, and compilers of bytecode write the time of the source into
//! the bytecode. So a package that is installed once more has other bytes in its tar although nothing in it changed. [`Times::of_packages`] gives
//! what packages own one time, [`NORMAL`]:
//!
//! - files, links and devices that belong to a Python package. Debian's, conda's and npm's files have the times of the package already;
//! - bytecode below `__pycache__` of any package;
//! - directories above something that a package owns: installations change their times, and each layer has all above its files;
//! - in the header of bytecode, the time of its source, if that gets a new time and the header had the old one
//!   (<https://peps.python.org/pep-0552/>): Python takes the same bytecode as before. Bytecode that was out of date stays so.
//!
//! Times are kept
//! - of what no package owns;
//! - of an inode with names outside of packages;
//! - of a source with bytecode that can't be adapted: not new in this image, another name of an inode, by Python 3.6 or older;
//! - of all Python files where something else has noted times: Numba's index of compiled functions (`.nbi`), bytecode in a tree of
//!   its own (`PYTHONPYCACHEPREFIX`), and an archive of Java's classes (`.jsa`), which notes the time of a program that a package may have
//!   (<https://docs.oracle.com/en/java/javase/21/vm/class-data-sharing.html>);
//! - of directories whose time others have noted in a cache (fontconfig, icon themes, MIME types).

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::bytecode::{NORMAL, Source};
use crate::diff::{Diff, Entry};
use crate::owner::{Owner, Owners};
use crate::path::TreePath;
use crate::tree::{Found, Kind, Time};

/// Directories below these have their times in caches.
const NOTED: [&[u8]; 4] = [b"fonts", b"icons", b"mime", b"applications"];

/// Names of a diff with other times than found.
#[derive(Debug, Default)]
pub struct Times<'a> {
    files: HashMap<&'a TreePath, Change>,
    directories: BTreeSet<TreePath>,
}

/// What is written instead of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Another time.
    Time,
    /// Another time, and that of the source in the header.
    Bytecode(Source),
}

impl<'a> Times<'a> {
    /// All as found.
    #[must_use]
    pub fn kept() -> Self {
        Self::default()
    }

    /// [`NORMAL`] for what packages own. Reads nothing.
    #[must_use]
    pub fn of_packages(diff: &'a Diff, owners: &Owners) -> Self {
        let directories = directories(diff, owners);
        let is_noted = diff.entries.iter().any(|entry| notes_times(&entry.path));
        if is_noted {
            return Self {
                files: HashMap::new(),
                directories,
            };
        }
        let owned = Owned::new(diff, owners);
        let kept = owned.sources_to_keep(diff);
        let files = owned.all.iter().filter(|(path, _)| !kept.contains(*path));
        let files = files.map(|(path, _)| {
            let source = source(path).filter(|source| !kept.contains(source));
            let source = source.and_then(|source| owned.all.get(&source));
            // Python looks at the time of what a link points to, which no package need own.
            let source = source.filter(|source| source.found.kind == Kind::File);
            let change = source.map_or(Change::Time, |source| {
                let found = &source.found;
                Change::Bytecode(Source::new(found.modified.seconds, found.size))
            });
            (*path, change)
        });
        let files = files.collect();
        Self { files, directories }
    }

    pub(crate) fn of(&self, path: &TreePath) -> Option<Change> {
        self.files.get(path).copied()
    }

    /// What a file's header says.
    pub(crate) fn shown(change: Option<Change>, found: &Found) -> Found {
        change.map_or(*found, |_| normal(found))
    }

    /// What a directory's header says.
    pub(crate) fn of_directory(&self, path: &TreePath, found: &Found) -> Found {
        if self.directories.contains(path) {
            normal(found)
        } else {
            *found
        }
    }
}

fn normal(found: &Found) -> Found {
    Found {
        modified: Time {
            seconds: NORMAL,
            nanoseconds: 0,
        },
        ..*found
    }
}

/// Directories above something that a package owns: each layer has all above its files.
fn directories(diff: &Diff, owners: &Owners) -> BTreeSet<TreePath> {
    let mut directories = BTreeSet::new();
    let mut last = None;
    for (entry, owner) in owners.each(diff) {
        if !owner.is_package() {
            continue;
        }
        // Neighbours are in the same directory.
        let parent = entry.path.split().map(|(parent, _)| parent);
        if parent == last {
            continue;
        }
        last = parent;
        for above in entry.path.ancestors() {
            if above.components().any(|part| NOTED.contains(&part)) {
                continue;
            }
            if !directories.insert(above) {
                break;
            }
        }
    }
    directories
}

/// Whether times of files may be noted in this file, other than in bytecode next to its source.
fn notes_times(path: &TreePath) -> bool {
    let name = path.name();
    // Java's own archives are of Java's own classes.
    let has_classes = name.ends_with(b".jsa") && !name.starts_with(b"classes");
    if has_classes || name.ends_with(b".nbi") {
        return true;
    }
    // Bytecode without a tag has no source.
    name.ends_with(b".pyc")
        && !is_bytecode(path)
        && name.iter().filter(|&&byte| byte == b'.').count() > 1
}

/// Files that may get another time.
struct Owned<'a> {
    all: HashMap<&'a TreePath, &'a Entry>,
}

impl<'a> Owned<'a> {
    fn new(diff: &'a Diff, owners: &Owners) -> Self {
        let may_change = |entry: &Entry, owner: &Owner| match owner {
            Owner::Pip(_) => true,
            Owner::Directory(_) => false,
            Owner::Conda(_) | Owner::Dpkg(_) | Owner::Npm(_) => source(&entry.path).is_some(),
        };
        let files = owners
            .each(diff)
            .filter(|(entry, owner)| {
                entry.found.kind != Kind::Directory && may_change(entry, owner)
            })
            .map(|(entry, _)| entry);
        let mut names: HashMap<u64, u64> = HashMap::new();
        for entry in files.clone().filter(|entry| entry.found.names > 1) {
            *names.entry(entry.found.inode).or_default() += 1;
        }
        let is_whole = |found: &Found| {
            found.names == 1 || names.get(&found.inode).is_some_and(|it| *it == found.names)
        };
        let all = files.filter(|entry| is_whole(&entry.found));
        Self {
            all: all.map(|entry| (&entry.path, entry)).collect(),
        }
    }

    /// Sources with bytecode that can't be adapted.
    fn sources_to_keep(&self, diff: &Diff) -> HashSet<TreePath> {
        let new = diff.entries.iter().map(|entry| &entry.path);
        let all = new.chain(&diff.bytecode).filter(|path| is_bytecode(path));
        let fixed = all.filter(|path| {
            let entry = self.all.get(path);
            let can_change =
                entry.is_some_and(|it| it.found.kind == Kind::File && it.found.names == 1);
            !(can_change && has_pep_552(path.name()))
        });
        fixed.filter_map(source).collect()
    }
}

/// Whether it is bytecode in the directory where Python looks for it.
pub(crate) fn is_bytecode(path: &TreePath) -> bool {
    path.as_bytes().ends_with(b".pyc")
        && path.split().is_some_and(|(parent, _)| {
            parent
                .strip_suffix(b"__pycache__")
                .is_some_and(|above| matches!(above, [] | [.., b'/']))
        })
}

/// `a/m.py` for `a/__pycache__/m.cpython-312.opt-1.pyc`. <https://peps.python.org/pep-3147/>
pub(crate) fn source(path: &TreePath) -> Option<TreePath> {
    if !is_bytecode(path) {
        return None;
    }
    let parent = path.parent()?;
    let module = path.name().split(|&byte| byte == b'.').next()?;
    Some(parent.parent()?.join(&[module, b".py"].concat()))
}

/// Whether the interpreter in the name of bytecode (`m.cpython-312.pyc`) writes headers as PEP 552 has them: Python 3.7 and newer.
fn has_pep_552(name: &[u8]) -> bool {
    let tag = name.split(|&byte| byte == b'.').nth(1).unwrap_or_default();
    let version = [&b"cpython-3"[..], b"pypy3"]
        .iter()
        .find_map(|prefix| tag.strip_prefix(*prefix));
    match version {
        Some([minor]) => (b'7'..=b'9').contains(minor),
        Some([ten @ b'1'..=b'9', one]) => ten.is_ascii_digit() && one.is_ascii_digit(),
        _ => false,
    }
}
