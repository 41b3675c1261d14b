//! A folder as a build sees it: types, permissions and content of what its ignore file leaves.
//!
//! Owners and times don't count, as in BuildKit's own cache
//! (<https://github.com/moby/buildkit/blob/v0.30.0/cache/contenthash/filehash.go>): buildx sends all files as those of root. Links are
//! not followed.

use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use dockerfile::Ignore;

use crate::hash::{Fields, Hash};
use crate::scan::{Chunks, Entry, Kind, Limits, Progress, Walk, hash_while};

/// Why a folder has no key.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It can't be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was written to while it was read.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// More entries than the limit.
    #[error("there are more than {0} files")]
    TooMany(u64),
    /// More bytes than the limit.
    #[error("the files have more than {} GiB", .0 >> 30)]
    TooLarge(u64),
    /// More folders in each other than the limit.
    #[error("more than {0} folders are in each other")]
    TooDeep(usize),
    /// It was ended from outside.
    #[error("it was stopped")]
    Stopped,
}

/// A folder, hashed.
#[derive(Debug)]
pub struct Folder {
    root: Node,
    stamp: Hash,
    entries: u64,
    bytes: u64,
}

/// An entry, hashed.
#[derive(Debug)]
struct Node {
    name: Vec<u8>,
    mode: u32,
    is_link: bool,
    hash: Hash,
    /// By name, sorted.
    children: Vec<Node>,
}

/// Type and permissions, without the bit by which some systems mark large files.
const MODE: u32 = 0o17_7777;

impl Folder {
    /// Reads a folder. The folder itself may be a link.
    ///
    /// # Errors
    /// When it can't be read, changes meanwhile, or is too large.
    pub fn read(
        path: &Path,
        ignore: &Ignore,
        limits: Limits,
        progress: &Progress,
    ) -> Result<Self, FolderError> {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (root, own) = open(path)?;
        let ((entries, sizes), chunks) = hash_while(progress, threads, |found| {
            let mut walk = Walk::new(ignore, limits, progress, found);
            let entries = walk.folder(&root, Some(""))?;
            Ok((entries, walk.sizes))
        })?;
        let stamp = stamp_of(&own, &entries);
        let (count, bytes) = (count(&entries), sizes.iter().sum());
        let files = files(&sizes, chunks);
        let children = nodes(entries, &files);
        Ok(Self {
            root: Node {
                name: Vec::new(),
                mode: 0,
                is_link: false,
                hash: folder_hash(&children),
                children,
            },
            stamp,
            entries: count,
            bytes,
        })
    }

    /// Whether nothing was written to since it was read, as sizes and times tell.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn is_untouched(&self, path: &Path, ignore: &Ignore) -> Result<bool, FolderError> {
        let (root, own) = open(path)?;
        let progress = Progress::default();
        let mut nothing = |_| {};
        let limits = Limits {
            entries: u64::MAX,
            bytes: u64::MAX,
        };
        let mut walk = Walk::new(ignore, limits, &progress, &mut nothing);
        let entries = walk.folder(&root, Some(""))?;
        Ok(stamp_of(&own, &entries) == self.stamp)
    }

    /// The hash of everything in it.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.root.hash
    }

    /// Files, folders and links in it, and the size of all files.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        (self.entries, self.bytes)
    }

    /// The hash of what a path of an instruction names. Where that can't be told for sure (patterns, links on the way, nothing there), it
    /// is that of everything.
    #[must_use]
    pub fn at(&self, path: &str) -> Hash {
        self.find(path).unwrap_or(self.root.hash)
    }

    fn find(&self, path: &str) -> Option<Hash> {
        if path.contains(['*', '?', '[', '\\']) {
            return None;
        }
        let mut node = &self.root;
        let mut fields = Fields::of("path");
        for part in path.split('/') {
            match part {
                "" | "." => continue,
                ".." => return None,
                _ => {}
            }
            let place = node
                .children
                .binary_search_by(|child| child.name.as_slice().cmp(part.as_bytes()));
            node = node.children.get(place.ok()?)?;
            if node.is_link {
                return None;
            }
            // Folders on the way may be copied, too, with `--parents`.
            fields = fields
                .text("name", part)
                .number("mode", u64::from(node.mode));
        }
        Some(fields.hash("entry", &node.hash).end())
    }
}

fn open(path: &Path) -> Result<(PathBuf, fs::Metadata), FolderError> {
    let failed = |source| FolderError::Read {
        path: path.to_owned(),
        source,
    };
    let root = fs::canonicalize(path).map_err(failed)?;
    let metadata = fs::symlink_metadata(&root).map_err(failed)?;
    Ok((root, metadata))
}

fn count(entries: &[Entry]) -> u64 {
    let inner = |entry: &Entry| match &entry.kind {
        Kind::Folder(entries) => 1 + count(entries),
        _ => 1,
    };
    entries.iter().map(inner).sum()
}

/// The hashes of files, by number: of the size and of all chunks.
fn files(sizes: &[u64], mut chunks: Chunks) -> Vec<Hash> {
    chunks.sort_unstable();
    let mut chunks = chunks.into_iter().peekable();
    let file = |(number, size): (usize, &u64)| {
        let mut fields = Fields::of("file").number("size", *size);
        while let Some((_, _, hash)) = chunks.next_if(|chunk| chunk.0 == number) {
            fields = fields.bytes("chunk", &hash);
        }
        fields.end()
    };
    sizes.iter().enumerate().map(file).collect()
}

fn nodes(entries: Vec<Entry>, files: &[Hash]) -> Vec<Node> {
    let entries = entries.into_iter();
    entries.map(|entry| node(entry, files)).collect()
}

fn node(entry: Entry, files: &[Hash]) -> Node {
    let mode = entry.mode & MODE;
    let fields = Fields::of("entry").number("mode", mode.into());
    let mut children = Vec::new();
    let mut is_link = false;
    let fields = match entry.kind {
        Kind::Folder(entries) => {
            children = nodes(entries, files);
            fields.hash("folder", &folder_hash(&children))
        }
        Kind::File(number) => match files.get(number) {
            Some(hash) => fields.hash("file", hash),
            // Each file has a number of its own.
            None => fields.text("file", "unknown"),
        },
        Kind::Link(target) => {
            is_link = true;
            fields.bytes("link", &target)
        }
        Kind::Other(device) => fields.number("device", device),
    };
    let attributes: Vec<[u8; 32]> = entry.attributes.iter().map(|hash| hash.0).collect();
    Node {
        name: entry.name,
        mode,
        is_link,
        hash: fields.list("attributes", &attributes).end(),
        children,
    }
}

fn folder_hash(children: &[Node]) -> Hash {
    let fields = Fields::of("folder").number("entries", children.len() as u64);
    let add =
        |fields: Fields, child: &Node| fields.bytes("name", &child.name).hash("entry", &child.hash);
    children.iter().fold(fields, add).end()
}

/// Of sizes, times and places of everything.
fn stamp_of(root: &fs::Metadata, entries: &[Entry]) -> Hash {
    // The folder's own times change with what is left out of it.
    let fields = Fields::of("stamp").number("inode", root.ino());
    add_stamps(fields, entries).end()
}

fn add_stamps(fields: Fields, entries: &[Entry]) -> Fields {
    entries.iter().fold(fields, |fields, entry| {
        let fields = fields.bytes("name", &entry.name);
        match &entry.kind {
            Kind::Folder(entries) => {
                let [_, inode, _, mode, ..] = entry.stamp;
                let fields = fields.number("inode", inode).number("mode", mode);
                let fields = fields.number("entries", entries.len() as u64);
                add_stamps(fields, entries)
            }
            Kind::Link(target) => fields.bytes("link", target),
            _ => entry
                .stamp
                .iter()
                .fold(fields, |fields, number| fields.number("stamp", *number)),
        }
    })
}
