//! Layers as tars and blobs, in bounded memory, while whoever sends them takes them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::Digest;

use crate::bytecode::{HEADER, Source};
use crate::compress::{Codec, Compression, Counted, Stream};
use crate::diff::{Diff, Entry};
use crate::error::{Error, Result};
use crate::path::TreePath;
use crate::plan::Layer;
use crate::tar::{self, Link};
use crate::times::{Change, Times};
use crate::tree::{Cursor, Found, Kind, Tree, capability};
use crate::workers::Workers;

/// Part of what goes into a layer's digest: changes whenever the same tree would become other bytes. Digests kept from another
/// packer are of no use.
pub const PACKER: u32 = 2;

/// A layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackedLayer {
    pub(crate) hash: [u8; 32],
    /// Bytes of the tar.
    pub size: u64,
}

impl PackedLayer {
    fn new(counted: Counted) -> Self {
        let (hash, size) = counted.finish();
        Self { hash, size }
    }

    /// The digest of the tar, which the image's configuration lists.
    pub fn diff_id(&self) -> Digest {
        Digest::sha256(self.hash)
    }
}

/// A layer's blob, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blob {
    pub(crate) hash: [u8; 32],
    /// Bytes of the blob.
    pub size: u64,
    /// The tar in it.
    pub tar: PackedLayer,
}

impl Blob {
    /// A blob that is in a registry already, of this tar. None if its digest is no SHA-256.
    #[must_use]
    pub fn known(digest: &Digest, size: u64, tar: PackedLayer) -> Option<Self> {
        Some(Self {
            hash: digest.hash()?,
            size,
            tar,
        })
    }

    /// The digest of the blob, which the manifest lists.
    pub fn digest(&self) -> Digest {
        Digest::sha256(self.hash)
    }
}

/// Packs the layers of one image. Several layers may be packed at a time, from several threads.
#[derive(Debug)]
pub struct Packer<'a> {
    image: &'a Tree,
    diff: &'a Diff,
    times: &'a Times<'a>,
    workers: &'a Workers,
    compression: Compression,
    codec: Arc<Codec>,
    /// For the largest layers.
    denser: Arc<Codec>,
    packed: Option<&'a AtomicU64>,
}

impl<'a> Packer<'a> {
    /// For the layers of `diff`, found in `image`.
    pub fn new(
        image: &'a Tree,
        diff: &'a Diff,
        times: &'a Times<'a>,
        workers: &'a Workers,
        compression: Compression,
    ) -> Self {
        Self {
            image,
            diff,
            times,
            workers,
            compression,
            codec: Arc::new(Codec::new(compression)),
            denser: Arc::new(Codec::new(compression.of_layer(u64::MAX))),
            packed: None,
        }
    }

    /// Adds what is packed to `bytes`, bytes of tar, while layers are read.
    #[must_use]
    pub fn counted_in(self, bytes: &'a AtomicU64) -> Self {
        Self {
            packed: Some(bytes),
            ..self
        }
    }

    /// Writes the layer's tar to `sink`. So many layers are packed at a time as there are threads, the largest first.
    pub fn pack(&self, layer: &Layer, sink: &mut impl Write) -> Result<PackedLayer> {
        let _turn = self.workers.layer(layer.estimate);
        let mut counted = Counted::default();
        self.write(layer, &mut |bytes| {
            counted.update(bytes);
            sink.write_all(bytes).map_err(Error::Sink)
        })?;
        sink.flush().map_err(Error::Sink)?;
        Ok(PackedLayer::new(counted))
    }

    /// Writes the layer's blob to `sink`: compressed on all workers, passed on in order while the rest is read.
    pub fn compress(&self, layer: &Layer, sink: &mut impl Write) -> Result<Blob> {
        let is_as_asked = self.compression.of_layer(layer.estimate) == self.compression;
        let codec = if is_as_asked {
            &self.codec
        } else {
            &self.denser
        };
        let mut stream = Stream::new(self.workers, codec, sink, layer.estimate)?;
        self.write(layer, &mut |bytes| stream.write(bytes))?;
        let (tar, blob) = stream.finish()?;
        let (hash, size) = blob.finish();
        Ok(Blob {
            hash,
            size,
            tar: PackedLayer::new(tar),
        })
    }

    fn write(&self, layer: &Layer, take: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let out = &mut |bytes: &[u8]| {
            if let Some(packed) = self.packed {
                packed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            take(bytes)
        };
        let mut cursor = Cursor::new(self.image.clone());
        let mut buffer = vec![0; 256 << 10];
        let mut header = Vec::new();
        let mut inodes: HashMap<u64, Written<'_>> = HashMap::new();
        for (_, item) in items(self.diff, layer) {
            header.clear();
            match item {
                Item::Directory(path, found) => {
                    let capability = self.diff.capabilities.get(path).map(Vec::as_slice);
                    let shown = self.times.of_directory(path, found);
                    tar::header(&mut header, path, &shown, Link::None, capability);
                    out(&header)?;
                }
                Item::Removed(path) => {
                    tar::whiteout(&mut header, path);
                    out(&header)?;
                }
                Item::Entry(Entry { path, found }) => {
                    let change = self.times.of(path);
                    let shown = &Times::shown(change, found);
                    if let Some(first) = inodes.get(&found.inode).filter(|_| found.names > 1) {
                        // With the capabilities once more: unpackers set the owner of each name, which drops them.
                        let capability = first.capability.as_deref();
                        tar::header(&mut header, path, shown, Link::Hard(first.path), capability);
                        out(&header)?;
                        continue;
                    }
                    let parent = path.parent().unwrap_or_default();
                    let directory = cursor.enter(&parent)?;
                    let mut written = Written {
                        path,
                        capability: None,
                    };
                    match found.kind {
                        Kind::File => {
                            let file = directory.open(path.name())?;
                            unchanged(&file, path, found)?;
                            written.capability = capability(&file, path)?;
                            tar::header(
                                &mut header,
                                path,
                                shown,
                                Link::None,
                                written.capability.as_deref(),
                            );
                            out(&header)?;
                            let mut file = File::from(file);
                            let head = match change {
                                Some(Change::Bytecode(source)) => {
                                    copy_header(&mut file, path, found.size, source, out)?
                                }
                                _ => 0,
                            };
                            copy(file, path, found.size - head, &mut buffer, out)?;
                            out(tar::padding(found.size))?;
                        }
                        kind => {
                            let target = match kind {
                                Kind::Link => Some(directory.target(path.name())?),
                                _ => None,
                            };
                            written.capability = directory.capability_of(path.name())?;
                            tar::header(
                                &mut header,
                                path,
                                shown,
                                target.as_deref().map_or(Link::None, Link::Symbolic),
                                written.capability.as_deref(),
                            );
                            out(&header)?;
                        }
                    }
                    if found.names > 1 {
                        inodes.insert(found.inode, written);
                    }
                }
            }
        }
        out(&tar::END)
    }
}

/// The first name of an inode in a layer.
struct Written<'a> {
    path: &'a TreePath,
    capability: Option<Vec<u8>>,
}

/// What a layer consists of, in the order of its names: every directory above something in it, with the same attributes in each
/// layer, since the topmost layer's count.
pub(crate) fn items<'a>(diff: &'a Diff, layer: &Layer) -> BTreeMap<TreePath, Item<'a>> {
    let mut items = BTreeMap::new();
    let removed = layer.removed.iter().filter_map(|&at| diff.removed.get(at));
    let entries = layer.entries.iter().filter_map(|&at| diff.entries.get(at));
    for path in removed
        .clone()
        .chain(entries.clone().map(|entry| &entry.path))
    {
        for above in path.ancestors() {
            let Some((path, found)) = diff.directories.get_key_value(&above) else {
                continue;
            };
            if items.insert(above, Item::Directory(path, found)).is_some() {
                break;
            }
        }
    }
    for path in removed {
        items.insert(tar::whiteout_path(path), Item::Removed(path));
    }
    for entry in entries {
        let item = match entry.found.kind {
            Kind::Directory => Item::Directory(&entry.path, &entry.found),
            _ => Item::Entry(entry),
        };
        items.insert(entry.path.clone(), item);
    }
    items
}

/// One header of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'a> {
    Directory(&'a TreePath, &'a Found),
    Entry(&'a Entry),
    Removed(&'a TreePath),
}

/// Whether an open file is the one that was found.
fn unchanged(file: &std::os::fd::OwnedFd, path: &TreePath, found: &Found) -> Result<()> {
    let stat = rustix::fs::fstat(file).map_err(Error::tree("could not look at", path))?;
    if Found::from(&stat) == *found {
        Ok(())
    } else {
        Err(Error::Changed { path: path.clone() })
    }
}

/// Copies the header of bytecode, adapted; returns its length. A shorter file is left to [`copy`].
fn copy_header(
    file: &mut File,
    path: &TreePath,
    size: u64,
    source: Source,
    out: &mut impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let length = HEADER as u64;
    if size < length {
        return Ok(0);
    }
    let mut header = [0; HEADER];
    file.read_exact(&mut header)
        .map_err(Error::tree("could not read", path))?;
    source.adapt(&mut header);
    out(&header)?;
    Ok(length)
}

/// Copies exactly `size` bytes. Holes are read as zeros.
fn copy(
    mut file: File,
    path: &TreePath,
    size: u64,
    buffer: &mut [u8],
    out: &mut impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = match file.read(buffer.get_mut(..most).unwrap_or_default()) {
            Ok(0) => return Err(Error::Changed { path: path.clone() }),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::tree("could not read", path)(error)),
        };
        out(buffer.get(..read).unwrap_or_default())?;
        left = left.saturating_sub(read as u64);
    }
    Ok(())
}
