//! Layers that were packed before. A layer whose files did not change is not read again.
//!
//! A layer is recognised by its [`Fingerprint`]: a hash of what the file system says about everything in it. Of files that is path,
//! inode, size, owner, mode, and the times of modification and change; nothing can set the last, and an inode that is written to
//! gets a new one. Of directories it is what their headers say, since an overlay gives them new inodes when anything is put below
//! them. Snapshots are not written to any more once a step is done, so what was hashed is what is there.
//!
//! A record says which tar the layer became, and names an image that has it. The file is a hint: lost, cut off, or of another version,
//! it is an error to [`DigestCache::load`] and costs the time to pack. A digest of its own shows damage. It does not show intent: who
//! can write the file can write any record. So read the image, and believe a record only if the image's own notes, which the record's
//! writer can't write, pair the tar with these [`Headers`].

use std::collections::HashMap;
use std::io;
use std::path::Path;

use image::Digest;
use sha2::{Digest as _, Sha256};

use crate::compress::Compression;
use crate::diff::Diff;
use crate::pack::{Item, PACKER, PackedLayer, items};
use crate::path::TreePath;
use crate::plan::Layer;
use crate::shared_file;
use crate::times::{Change, Times};
use crate::tree::{Found, Kind};

/// Stands for everything that decides a layer's bytes, on this builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// Stands for what the headers of a layer's tar say: names, sizes, owners, modes and times, but not the targets of links. Equal
/// for equal tars, on every builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Headers([u8; 32]);

/// A layer as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerState {
    /// Recognises it on this builder.
    pub fingerprint: Fingerprint,
    /// Recognises another layer anywhere.
    pub headers: Headers,
}

impl Headers {
    /// 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl LayerState {
    /// Reads nothing.
    pub fn new(diff: &Diff, times: &Times<'_>, layer: &Layer) -> Self {
        let mut hash = Sha256::new();
        let mut headers = Sha256::new();
        let mut inodes: HashMap<u64, &TreePath> = HashMap::new();
        hash.update(PACKER.to_le_bytes());
        for (path, item) in items(diff, layer) {
            let path = path.as_bytes();
            for hash in [&mut hash, &mut headers] {
                text(hash, path);
            }
            match item {
                Item::Removed(_) => {
                    hash.update([0]);
                    headers.update([0]);
                }
                Item::Directory(path, found) => {
                    let capability = diff.capabilities.get(path).map_or(&[][..], Vec::as_slice);
                    for hash in [&mut hash, &mut headers] {
                        hash.update([1]);
                        attributes(hash, &times.of_directory(path, found));
                        text(hash, capability);
                    }
                }
                Item::Entry(entry) => {
                    let found = &entry.found;
                    let change = times.of(&entry.path);
                    hash.update([2]);
                    attributes(&mut hash, found);
                    hash.update(found.modified.nanoseconds.to_le_bytes());
                    hash.update(found.changed.seconds.to_le_bytes());
                    hash.update(found.changed.nanoseconds.to_le_bytes());
                    hash.update(found.inode.to_le_bytes());
                    hash.update([u8::from(found.names > 1)]);
                    match change {
                        None => hash.update([0]),
                        Some(Change::Time) => hash.update([1]),
                        Some(Change::Bytecode(source)) => {
                            hash.update([2]);
                            hash.update(source.modified.to_le_bytes());
                            hash.update(source.size.to_le_bytes());
                        }
                    }
                    headers.update([2]);
                    attributes(&mut headers, &Times::shown(change, found));
                    let first = (found.names > 1)
                        .then(|| *inodes.entry(found.inode).or_insert(&entry.path))
                        .filter(|first| *first != &entry.path);
                    text(&mut headers, first.map_or(&[], TreePath::as_bytes));
                }
            }
        }
        Self {
            fingerprint: Fingerprint(hash.finalize().into()),
            headers: Headers(headers.finalize().into()),
        }
    }
}

fn text(hash: &mut Sha256, text: &[u8]) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

fn attributes(hash: &mut Sha256, found: &Found) {
    let kind = match found.kind {
        Kind::Directory => 0_u8,
        Kind::File => 1,
        Kind::Link => 2,
        Kind::Character => 3,
        Kind::Block => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
    };
    hash.update([kind]);
    for number in [
        found.mode,
        found.uid,
        found.gid,
        found.device.0,
        found.device.1,
    ] {
        hash.update(number.to_le_bytes());
    }
    hash.update(found.size.to_le_bytes());
    hash.update(found.modified.seconds.to_le_bytes());
}

/// Layers that are kept; the ones not used for longest go first. An image has at most 24 new ones.
const MOST_RECORDS: usize = 4096;

/// A file of so many records takes about this much at most.
const LONGEST_FILE: u64 = 1 << 20;

const MAGIC: &[u8; 8] = b"fep-dig\x03";

/// Layers by fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestCache {
    records: HashMap<Fingerprint, Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    headers: [u8; 32],
    tar: PackedLayer,
    /// SHA-256 of the manifest of an image that has it, compressed so.
    zstd: Option<[u8; 32]>,
    gzip: Option<[u8; 32]>,
    /// Seconds since 1970.
    used: u64,
}

/// Why a cache is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be read.
    #[error("could not read the cache of digests")]
    Read(#[from] io::Error),
    /// It is something else, or damaged.
    #[error("the cache of digests is damaged")]
    Damaged,
    /// Another version packed other bytes.
    #[error("the cache of digests is of another version")]
    Version,
}

impl DigestCache {
    /// Reads a cache, if it is a regular file. Start with an empty one after an error.
    pub fn load(path: &Path) -> Result<Self, CacheError> {
        Self::parse(&shared_file::read(path, LONGEST_FILE)?)
    }

    /// Changes what is in the file by now, also if other runs do so at the same time. A file that is of no use is replaced.
    pub fn update(path: &Path, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        shared_file::alone(path, || {
            let mut cache = Self::load(path).unwrap_or_default();
            change(&mut cache);
            shared_file::replace(path, &cache.print())
        })
    }

    /// The tar that the layer became when it was last compressed by this method, whatever the level was, and the digest of an image
    /// that is said to have it.
    #[must_use]
    pub fn layer(
        &self,
        layer: &Fingerprint,
        compression: Compression,
    ) -> Option<(PackedLayer, Digest)> {
        let record = self.records.get(layer)?;
        Some((record.tar, record.image(compression)?))
    }

    /// The digest of an image that is said to have a tar, whichever layer that was.
    #[must_use]
    pub fn image(&self, tar: PackedLayer, compression: Compression) -> Option<Digest> {
        let mut same = self.records.values().filter(|record| record.tar == tar);
        same.find_map(|record| record.image(compression))
    }

    /// Whether a layer with these headers is known. Without one, the layer's tar is a new one.
    #[must_use]
    pub fn has(&self, headers: &Headers) -> bool {
        let mut records = self.records.values();
        records.any(|record| record.headers == headers.0)
    }

    /// Keeps what a layer has become, and the digest of the image, if that is a SHA-256. `now`, in seconds since 1970, is its last use.
    pub fn keep(
        &mut self,
        layer: LayerState,
        compression: Compression,
        tar: PackedLayer,
        image: &Digest,
        now: u64,
    ) {
        let Some(image) = image.hash() else {
            return;
        };
        let fresh = Record {
            headers: layer.headers.0,
            tar,
            zstd: None,
            gzip: None,
            used: now,
        };
        let record = self.records.entry(layer.fingerprint);
        let record = record.or_insert_with(|| fresh.clone());
        if record.tar != tar {
            *record = fresh;
        }
        record.used = now;
        match compression {
            Compression::Zstd { .. } => record.zstd = Some(image),
            Compression::Gzip { .. } => record.gzip = Some(image),
        }
    }

    fn print(&self) -> Vec<u8> {
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_by_key(|(fingerprint, record)| (std::cmp::Reverse(record.used), *fingerprint));
        records.truncate(MOST_RECORDS);
        let mut out = MAGIC.to_vec();
        out.extend(PACKER.to_le_bytes());
        for (fingerprint, record) in records {
            out.extend(fingerprint.0);
            out.extend(record.used.to_le_bytes());
            out.extend(record.tar.hash);
            out.extend(record.tar.size.to_le_bytes());
            out.extend(record.headers);
            out.push(u8::from(record.zstd.is_some()) | u8::from(record.gzip.is_some()) << 1);
            for image in [record.zstd, record.gzip].into_iter().flatten() {
                out.extend(image);
            }
        }
        let digest = Sha256::digest(&out);
        out.extend(digest);
        out
    }

    fn parse(content: &[u8]) -> Result<Self, CacheError> {
        let (content, digest) = content
            .split_last_chunk::<32>()
            .ok_or(CacheError::Damaged)?;
        if content.len() as u64 + 32 > LONGEST_FILE || Sha256::digest(content)[..] != digest[..] {
            return Err(CacheError::Damaged);
        }
        let content = content.strip_prefix(MAGIC).ok_or(CacheError::Damaged)?;
        let (version, rest) = content.split_first_chunk().ok_or(CacheError::Damaged)?;
        if u32::from_le_bytes(*version) != PACKER {
            return Err(CacheError::Version);
        }
        let mut fields = Fields(rest);
        let mut records = HashMap::new();
        while !fields.0.is_empty() {
            let fingerprint = Fingerprint(fields.take()?);
            let used = u64::from_le_bytes(fields.take()?);
            let tar = PackedLayer {
                hash: fields.take()?,
                size: u64::from_le_bytes(fields.take()?),
            };
            let headers = fields.take()?;
            let [images] = fields.take()?;
            let mut image = |bit| {
                let is_there = images & bit != 0;
                is_there.then(|| fields.take()).transpose()
            };
            let (zstd, gzip) = (image(1)?, image(2)?);
            let record = Record {
                headers,
                tar,
                zstd,
                gzip,
                used,
            };
            records.insert(fingerprint, record);
        }
        Ok(Self { records })
    }
}

impl Record {
    fn image(&self, compression: Compression) -> Option<Digest> {
        let hash = match compression {
            Compression::Zstd { .. } => self.zstd,
            Compression::Gzip { .. } => self.gzip,
        };
        hash.map(Digest::sha256)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], CacheError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(CacheError::Damaged)?;
        self.0 = rest;
        Ok(*field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZSTD: Compression = Compression::Zstd { level: 1 };
    const GZIP: Compression = Compression::Gzip { level: 1 };

    fn tar(seed: u8) -> PackedLayer {
        PackedLayer {
            hash: [seed; 32],
            size: 1 << 40,
        }
    }

    fn image(seed: u8) -> Digest {
        Digest::sha256([seed; 32])
    }

    /// The state of a layer, another one for each `number`.
    fn state(number: u32) -> LayerState {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        LayerState {
            fingerprint: Fingerprint(hash),
            headers: Headers(hash),
        }
    }

    #[test]
    fn remembers_layers_across_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        let layer = state(1);
        DigestCache::update(&path, |cache| {
            cache.keep(layer, ZSTD, tar(9), &image(2), 100);
        })
        .unwrap();
        DigestCache::update(&path, |cache| {
            cache.keep(layer, GZIP, tar(9), &image(3), 101);
        })
        .unwrap();

        let loaded = DigestCache::load(&path).unwrap();
        let other_level = Compression::Zstd { level: 9 };
        let known = |layer: LayerState, compression| loaded.layer(&layer.fingerprint, compression);
        assert_eq!(known(layer, other_level), Some((tar(9), image(2))));
        assert_eq!(known(layer, GZIP), Some((tar(9), image(3))));
        assert_eq!(known(state(2), ZSTD), None);
        assert!(loaded.has(&layer.headers));
        assert!(!loaded.has(&state(2).headers));
    }

    #[test]
    fn runs_at_the_same_time_lose_no_record_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        std::thread::scope(|scope| {
            for run in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..20 {
                        DigestCache::update(path, |cache| {
                            cache.keep(state(run * 100 + number), ZSTD, tar(1), &image(1), 1);
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(DigestCache::load(&path).unwrap().records.len(), 160);
    }

    #[test]
    fn another_tar_makes_the_images_of_the_last_worthless() {
        let mut cache = DigestCache::default();
        cache.keep(state(1), ZSTD, tar(9), &image(2), 1);
        cache.keep(state(1), GZIP, tar(8), &image(3), 2);
        assert_eq!(cache.layer(&state(1).fingerprint, ZSTD), None);
    }

    #[test]
    fn a_tar_is_known_under_any_layer() {
        let mut cache = DigestCache::default();
        cache.keep(state(1), GZIP, tar(9), &image(3), 1);
        cache.keep(state(2), ZSTD, tar(9), &image(2), 1);
        assert_eq!(cache.image(tar(9), ZSTD), Some(image(2)));
        assert_eq!(cache.image(tar(9), GZIP), Some(image(3)));
        assert_eq!(cache.image(tar(8), ZSTD), None);
    }

    #[test]
    fn forgets_what_was_not_used_for_longest_and_stays_small() {
        let mut cache = DigestCache::default();
        for number in 0..MOST_RECORDS as u32 + 10 {
            cache.keep(state(number), ZSTD, tar(1), &image(1), number.into());
            cache.keep(state(number), GZIP, tar(1), &image(1), number.into());
        }
        let printed = cache.print();
        assert!(printed.len() as u64 <= LONGEST_FILE);
        let read = DigestCache::parse(&printed).unwrap();
        assert_eq!(read.records.len(), MOST_RECORDS);
        assert_eq!(read.layer(&state(0).fingerprint, ZSTD), None);
    }

    #[test]
    fn says_what_is_wrong_with_a_cache() {
        let none = DigestCache::load("/none".as_ref());
        assert!(matches!(none, Err(CacheError::Read(_))));
        let mut other = MAGIC.to_vec();
        other.extend((PACKER + 1).to_le_bytes());
        let digest = Sha256::digest(&other);
        other.extend(digest);
        assert!(matches!(
            DigestCache::parse(&other),
            Err(CacheError::Version)
        ));
        assert!(matches!(DigestCache::parse(b""), Err(CacheError::Damaged)));
    }

    proptest! {
        #[test]
        fn damage_is_seen(at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in any::<prop::sample::Index>()) {
            let mut cache = DigestCache::default();
            cache.keep(state(1), ZSTD, tar(9), &image(2), 100);
            let printed = cache.print();
            let mut flipped = printed.clone();
            flipped[at.index(printed.len())] ^= flip;
            prop_assert!(DigestCache::parse(&flipped).is_err());
            prop_assert!(DigestCache::parse(&printed[..cut.index(printed.len())]).is_err());
        }

        #[test]
        fn anything_can_be_read(content: Vec<u8>) {
            let mut whole = MAGIC.to_vec();
            whole.extend(PACKER.to_le_bytes());
            whole.extend(content);
            let digest = Sha256::digest(&whole);
            whole.extend(digest);
            let _ = DigestCache::parse(&whole);
        }
    }
}
