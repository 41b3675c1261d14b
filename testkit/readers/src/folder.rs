//! A checkout's files: names, links and patterns of any bytes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Mutex;

use dockerfile::Ignore;
use key::{Folder, Hash, Limits, Progress};

use crate::{SEPARATOR, memory};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Folder,
    File(Vec<u8>, u32),
    Link(Vec<u8>),
}

type Tree = BTreeMap<Vec<u8>, Kind>;

/// The trees of the hashes so far.
static SEEN: Mutex<BTreeMap<Hash, Tree>> = Mutex::new(BTreeMap::new());

/// Names of a path.
const DEEPEST: usize = 200;

/// As many trees are remembered.
const MOST_SEEN: usize = 2_000;

/// Lines of an ignore file, a separator, and lines that make entries: `f PATH CONTENT`, `x PATH CONTENT`, `l PATH TARGET`, `d PATH`. A folder
/// has one hash, no other has the same, and what links lead to is not in it.
pub(crate) fn folder(bytes: &[u8]) {
    let (patterns, lines) = match bytes.iter().position(|byte| *byte == SEPARATOR as u8) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&b""[..], bytes),
    };
    let outside = tempfile::tempdir_in(memory()).unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("secret"), "one").unwrap();
    let tree = make(&root, lines);
    let all = Ignore::read(b"").unwrap();
    let read = read(&root, &all);
    assert_eq!(read.size().0, tree.len() as u64);
    fs::write(outside.path().join("secret"), "another").unwrap();
    assert!(read.is_untouched(&root, &all).unwrap());
    assert_eq!(self::read(&root, &all).hash(), read.hash());
    for path in tree.keys() {
        if let Ok(path) = std::str::from_utf8(path) {
            let _ = read.at(path);
        }
    }
    let mut seen = SEEN.lock().unwrap();
    if seen.len() > MOST_SEEN {
        seen.clear();
    }
    let same = seen.entry(read.hash()).or_insert_with(|| tree.clone());
    assert_eq!(*same, tree, "two folders of one hash");
    drop(seen);
    if let Ok(ignore) = Ignore::read(patterns) {
        let some = self::read(&root, &ignore);
        assert!(some.size().0 <= tree.len() as u64);
        assert!(some.is_untouched(&root, &ignore).unwrap());
    }
}

fn read(root: &Path, ignore: &Ignore) -> Folder {
    Folder::read(root, ignore, Limits::default(), &Progress::default()).unwrap()
}

/// Makes what can be made, and says what is there then.
fn make(root: &Path, lines: &[u8]) -> Tree {
    let mut tree = Tree::new();
    for line in lines.split(|byte| *byte == b'\n').take(200) {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let mut word = || words.next().unwrap_or_default();
        let (kind, path, content) = (word(), word(), word());
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let is_part = |part: &&[u8]| {
            !matches!(**part, [] | [b'.'] | [b'.', b'.']) && part.len() < 256 && !part.contains(&0)
        };
        if parts.len() > DEEPEST || !parts.iter().all(is_part) || tree.contains_key(path) {
            continue;
        }
        // Only below folders of its own: the test writes through no link.
        let above: Vec<Vec<u8>> = (1..parts.len())
            .map(|end| parts[..end].join(&b'/'))
            .collect();
        let is_free = |path: &Vec<u8>| matches!(tree.get(path), None | Some(Kind::Folder));
        let place = root.join(OsStr::from_bytes(path));
        if !above.iter().all(is_free) || fs::create_dir_all(place.parent().unwrap()).is_err() {
            continue;
        }
        tree.extend(above.into_iter().map(|path| (path, Kind::Folder)));
        let (made, kind) = match kind {
            b"l" => {
                let made = symlink(OsStr::from_bytes(content), &place);
                (made, Kind::Link(content.to_vec()))
            }
            b"d" => (fs::create_dir(&place), Kind::Folder),
            _ => {
                let mode = if kind == b"x" { 0o755 } else { 0o644 };
                let permissions = Permissions::from_mode(mode);
                let made = fs::write(&place, content);
                let made = made.and_then(|()| fs::set_permissions(&place, permissions));
                (made, Kind::File(content.to_vec(), mode))
            }
        };
        if made.is_ok() {
            tree.insert(path.to_vec(), kind);
        }
    }
    tree
}
