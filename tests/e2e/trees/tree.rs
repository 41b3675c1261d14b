//! A root file system as a value that can be compared: everything about a name that an image keeps.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    kind: &'static str,
    mode: u32,
    owner: (u64, u64),
    /// Seconds since 1970, of which layers keep no fractions.
    modified: i64,
    size: u64,
    /// Of a file's content.
    checksum: u32,
    /// Of a symbolic link.
    target: Vec<u8>,
    device: (u32, u32),
    /// Extended ones, capabilities among them.
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of the same inode.
    same_as: Vec<u8>,
}

/// Nodes by path, without a slash at either end.
pub(crate) type Tree = BTreeMap<Vec<u8>, Node>;

/// What Docker puts into a container, in which it differs from the image.
const OF_A_CONTAINER: [&[u8]; 9] = [
    b".dockerenv",
    b"dev",
    b"etc",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/mtab",
    b"etc/resolv.conf",
    b"proc",
    b"sys",
];

/// The tree of a container that never ran, as `docker export` prints it.
pub(crate) fn exported(archive: impl Read) -> Tree {
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = trimmed(&entry.path_bytes());
        if OF_A_CONTAINER.contains(&path.as_slice()) || path.starts_with(b"dev/") || path.is_empty()
        {
            continue;
        }
        let header = entry.header().clone();
        let target = entry.link_name_bytes().map(|it| it.into_owned());
        if header.entry_type().is_hard_link() {
            let same = tree[&trimmed(&target.unwrap())].clone();
            tree.insert(path, same);
            continue;
        }
        let mut attributes = BTreeMap::new();
        for pair in entry.pax_extensions().unwrap().into_iter().flatten() {
            let pair = pair.unwrap();
            if let Some(name) = pair.key_bytes().strip_prefix(b"SCHILY.xattr.") {
                attributes.insert(name.to_vec(), pair.value_bytes().to_vec());
            }
        }
        let kind = match header.entry_type().as_byte() {
            b'0' => "file",
            b'2' => "link",
            b'3' => "character device",
            b'4' => "block device",
            b'5' => "directory",
            b'6' => "fifo",
            other => panic!("{other}"),
        };
        let device = |number: Option<u32>| number.filter(|_| kind.ends_with("device")).unwrap_or(0);
        let node = Node {
            kind,
            mode: header.mode().unwrap() & 0o7777,
            owner: (entry_id(&header, true), entry_id(&header, false)),
            modified: header.mtime().unwrap() as i64,
            size: entry.size(),
            checksum: checksum(&mut entry),
            target: target.unwrap_or_default(),
            device: (
                device(header.device_major().unwrap()),
                device(header.device_minor().unwrap()),
            ),
            attributes,
            same_as: path.clone(),
        };
        tree.insert(path, node);
    }
    tree
}

fn entry_id(header: &tar::Header, user: bool) -> u64 {
    let id = if user { header.uid() } else { header.gid() };
    id.unwrap()
}

fn trimmed(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path).to_vec()
}

fn checksum(content: &mut impl Read) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match content.read(&mut buffer).unwrap() {
            0 => return hasher.finalize(),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// A mounted tree.
pub(crate) fn mounted(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, Path::new(""), &mut tree, &mut HashMap::new());
    tree
}

fn walk(root: &Path, folder: &Path, tree: &mut Tree, inodes: &mut HashMap<u64, Vec<u8>>) {
    let mut names: Vec<_> = fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let path = folder.join(name);
        let full = root.join(&path);
        let found = fs::symlink_metadata(&full).unwrap();
        let kind = match found.mode() & 0o170_000 {
            0o100_000 => "file",
            0o120_000 => "link",
            0o020_000 => "character device",
            0o060_000 => "block device",
            0o040_000 => "directory",
            0o010_000 => "fifo",
            other => panic!("{}: {other:o}", path.display()),
        };
        let bytes = path.as_os_str().as_bytes().to_vec();
        let same_as = match kind {
            "directory" => bytes.clone(),
            _ => inodes
                .entry(found.ino())
                .or_insert_with(|| bytes.clone())
                .clone(),
        };
        let target = match kind {
            "link" => fs::read_link(&full).unwrap().into_os_string().into_vec(),
            _ => Vec::new(),
        };
        let is_device = kind.ends_with("device");
        let rdev = if is_device { found.rdev() } else { 0 };
        let node = Node {
            kind,
            mode: found.mode() & 0o7777,
            owner: (found.uid().into(), found.gid().into()),
            modified: found.mtime(),
            size: if kind == "file" { found.len() } else { 0 },
            checksum: match kind {
                "file" => checksum(&mut fs::File::open(&full).unwrap()),
                _ => 0,
            },
            target,
            device: (rustix::fs::major(rdev), rustix::fs::minor(rdev)),
            attributes: attributes(&full),
            same_as,
        };
        tree.insert(bytes, node);
        if kind == "directory" {
            walk(root, &path, tree, inodes);
        }
    }
}

/// All but those that belong to the mount and not to the image.
fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|&byte| byte == 0);
    names
        .filter(|name| !name.is_empty() && !name.starts_with(b"trusted.overlay."))
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// How two trees differ.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// One line for each name.
    pub names: Vec<String>,
    /// Names that are linked in the first tree and are files of their own in the second.
    pub links: usize,
    /// Directories that differ in their time alone.
    pub times: Vec<Vec<u8>>,
}

/// Compares all names.
///
/// Two differences are counted, since BuildKit's layers are not what a build's file system was, and the engine sees that alone:
/// - BuildKit makes a copy of a file to which a later `RUN` has made a link.
/// - A directory's time is the one that it had when a layer last changed something in it. The engine has the last of all times, or
///   the base's if nothing in the directory differs from the base in the end.
pub(crate) fn compare(ours: &Tree, theirs: &Tree) -> Difference {
    let mut difference = Difference::default();
    let mut all: Vec<_> = ours.keys().chain(theirs.keys()).collect();
    all.sort();
    all.dedup();
    for path in all {
        let (one, other) = (ours.get(path), theirs.get(path));
        if one == other {
            continue;
        }
        if let (Some(one), Some(other)) = (one, other) {
            let is_linked_to = ours.get(&other.same_as).map(|it| &it.same_as);
            let same_as = one.same_as.clone();
            if *one
                == (Node {
                    same_as,
                    ..other.clone()
                })
                && is_linked_to == Some(&one.same_as)
            {
                difference.links += 1;
                continue;
            }
            let modified = one.modified;
            if one.kind == "directory"
                && *one
                    == (Node {
                        modified,
                        ..other.clone()
                    })
            {
                difference.times.push(path.clone());
                continue;
            }
        }
        difference.names.push(format!(
            "{}: {one:?} instead of {other:?}",
            String::from_utf8_lossy(path)
        ));
    }
    difference
}

/// Whether a directory has the time that the base gave it, unless something in it is not the base's.
pub(crate) fn has_a_time_for_a_reason(tree: &Tree, base: &Tree, directory: &[u8]) -> bool {
    let is_in = |path: &[u8]| {
        path.strip_prefix(directory)
            .and_then(|rest| rest.strip_prefix(b"/"))
            .is_some()
    };
    let names = |tree: &Tree| -> Vec<(Vec<u8>, Node)> {
        let names = tree.iter().filter(|(path, _)| is_in(path));
        names
            .map(|(path, node)| (path.clone(), node.clone()))
            .collect()
    };
    match (tree.get(directory), base.get(directory)) {
        (Some(node), Some(before)) => {
            node.modified == before.modified || names(tree) != names(base)
        }
        _ => true,
    }
}
