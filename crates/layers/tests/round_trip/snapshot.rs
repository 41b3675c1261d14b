//! A tree as a value that can be compared: everything that layers hold.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Whole seconds.
    pub(crate) modified: i64,
    pub(crate) device: u64,
    /// Content of a file, target of a link.
    pub(crate) content: Vec<u8>,
    pub(crate) capability: Vec<u8>,
    /// The first name of the same inode.
    pub(crate) same_as: PathBuf,
}

/// What is below `root`, without the root and without sockets.
pub(crate) fn snapshot(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut inodes = HashMap::new();
    collect(root, Path::new(""), &mut nodes, &mut inodes);
    nodes
}

fn collect(
    root: &Path,
    directory: &Path,
    nodes: &mut BTreeMap<PathBuf, Node>,
    inodes: &mut HashMap<u64, PathBuf>,
) {
    let mut names: Vec<OsString> = fs::read_dir(root.join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let full = root.join(&path);
        let metadata = fs::symlink_metadata(&full).unwrap();
        let kind = metadata.file_type();
        let (kind, content) = if kind.is_dir() {
            ("directory", Vec::new())
        } else if kind.is_file() {
            ("file", fs::read(&full).unwrap())
        } else if kind.is_symlink() {
            (
                "link",
                fs::read_link(&full).unwrap().into_os_string().into_vec(),
            )
        } else if kind.is_fifo() {
            ("fifo", Vec::new())
        } else if kind.is_char_device() {
            ("character device", Vec::new())
        } else if kind.is_block_device() {
            ("block device", Vec::new())
        } else {
            continue;
        };
        let mut capability = vec![0; 100];
        let length = rustix::fs::lgetxattr(&full, c"security.capability", &mut capability);
        capability.truncate(length.unwrap_or(0));
        let same_as = if metadata.is_dir() {
            path.clone()
        } else {
            inodes
                .entry(metadata.ino())
                .or_insert_with(|| path.clone())
                .clone()
        };
        nodes.insert(
            path.clone(),
            Node {
                kind,
                mode: metadata.mode() & 0o7777,
                owner: (metadata.uid(), metadata.gid()),
                modified: metadata.mtime(),
                device: if matches!(kind, "character device" | "block device") {
                    metadata.rdev()
                } else {
                    0
                },
                content,
                capability,
                same_as,
            },
        );
        if metadata.is_dir() {
            collect(root, &path, nodes, inodes);
        }
    }
}

/// Fails with the names that differ rather than with two whole trees.
#[track_caller]
pub(crate) fn assert_same(got: &BTreeMap<PathBuf, Node>, expected: &BTreeMap<PathBuf, Node>) {
    let short = |node: Option<&Node>| {
        node.map(|node| {
            let mut node = node.clone();
            node.content.truncate(40);
            node
        })
    };
    let names: std::collections::BTreeSet<_> = got.keys().chain(expected.keys()).collect();
    let differing: Vec<_> = names
        .into_iter()
        .filter(|name| got.get(*name) != expected.get(*name))
        .map(|name| (name, short(got.get(name)), short(expected.get(name))))
        .collect();
    assert!(differing.is_empty(), "got, expected: {differing:#?}");
}
