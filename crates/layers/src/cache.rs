//! Digests of layers that were packed before, so that a layer nobody touched is not even read.
//!
//! A layer is recognised by its [`Fingerprint`]: a hash of what the file system says about everything in it. Of files that is path,
//! inode, size, owner, mode, and the times of modification and change; nothing can set the last, and an inode that is written to
//! gets a new one. Of directories it is what their headers say, since an overlay gives them new inodes when anything is put below
//! them. Snapshots are not written to any more once a step is done, so what was hashed is what is there.
//!
//! The file is a hint: lost, cut off, or of another version, it is an error to [`DigestCache::load`] and costs the time to pack.
//! A digest of its own shows damage. It does not show intent: who can write the file can name the layers of later images, so keep
//! it where only this program writes.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{CWD, Mode};
use sha2::{Digest as _, Sha256};

use crate::compress::Compression;
use crate::diff::Diff;
use crate::pack::{Blob, Item, PACKER, PackedLayer, items};
use crate::plan::Layer;
use crate::times::{Change, Times};
use crate::tree::{FILE, Found, Kind};

/// Stands for everything that decides a layer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a layer as it was found. Reads nothing.
    pub fn new(diff: &Diff, times: &Times<'_>, layer: &Layer) -> Self {
        let mut hash = Sha256::new();
        hash.update(PACKER.to_le_bytes());
        for (path, item) in items(diff, layer) {
            let path = path.as_bytes();
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            match item {
                Item::Removed(_) => hash.update([0]),
                Item::Directory(path, found) => {
                    let capability = diff.capabilities.get(path).map_or(&[][..], Vec::as_slice);
                    hash.update([1]);
                    attributes(&mut hash, &times.of_directory(path, found));
                    hash.update((capability.len() as u64).to_le_bytes());
                    hash.update(capability);
                }
                Item::Entry(entry) => {
                    let found = &entry.found;
                    hash.update([2]);
                    attributes(&mut hash, found);
                    hash.update(found.modified.nanoseconds.to_le_bytes());
                    hash.update(found.changed.seconds.to_le_bytes());
                    hash.update(found.changed.nanoseconds.to_le_bytes());
                    hash.update(found.inode.to_le_bytes());
                    hash.update([u8::from(found.names > 1)]);
                    match times.of(&entry.path) {
                        None => hash.update([0]),
                        Some(Change::Time) => hash.update([1]),
                        Some(Change::Bytecode(source)) => {
                            hash.update([2]);
                            hash.update(source.modified.to_le_bytes());
                            hash.update(source.size.to_le_bytes());
                        }
                    }
                }
            }
        }
        Self(hash.finalize().into())
    }
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

const MAGIC: &[u8; 8] = b"fep-dig\x01";

/// Digests of layers by fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestCache {
    records: HashMap<Fingerprint, Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    tar: PackedLayer,
    zstd: Option<([u8; 32], u64)>,
    gzip: Option<([u8; 32], u64)>,
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
        let file = rustix::fs::openat(CWD, path, FILE, Mode::empty()).map_err(io::Error::from)?;
        let file = fs::File::from(file);
        if !file.metadata()?.is_file() {
            return Err(CacheError::Damaged);
        }
        let mut content = Vec::new();
        file.take(LONGEST_FILE + 1).read_to_end(&mut content)?;
        Self::parse(&content)
    }

    /// Writes the cache: to a file beside it first, so that a reader sees the old one or the new one.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", rustix::process::getpid()));
        // What a killed run left, or what somebody has put there to be written through: a new file follows no link.
        let _ = fs::remove_file(&beside);
        fs::File::create_new(&beside)?.write_all(&self.print())?;
        fs::rename(&beside, path).inspect_err(|_| {
            // The error that matters is the first.
            let _ = fs::remove_file(&beside);
        })
    }

    /// The tar that the layer became when it was packed last. `now`, in seconds since 1970, is kept as its last use.
    pub fn tar(&mut self, layer: &Fingerprint, now: u64) -> Option<PackedLayer> {
        let record = self.records.get_mut(layer)?;
        record.used = now;
        Some(record.tar)
    }

    /// The blob that the layer became when it was last compressed by this method, whatever the level was.
    pub fn blob(
        &mut self,
        layer: &Fingerprint,
        compression: Compression,
        now: u64,
    ) -> Option<Blob> {
        let record = self.records.get_mut(layer)?;
        let (hash, size) = (*record.blob(compression))?;
        record.used = now;
        let tar = record.tar;
        Some(Blob { hash, size, tar })
    }

    /// The blob that a tar became, whichever layer it was.
    pub fn blob_of(
        &mut self,
        tar: PackedLayer,
        compression: Compression,
        now: u64,
    ) -> Option<Blob> {
        let mut same = self.records.values_mut().filter(|record| record.tar == tar);
        same.find_map(|record| {
            let (hash, size) = (*record.blob(compression))?;
            record.used = now;
            Some(Blob { hash, size, tar })
        })
    }

    /// Keeps what a layer has become.
    pub fn keep(&mut self, layer: Fingerprint, compression: Compression, blob: &Blob, now: u64) {
        let fresh = Record {
            tar: blob.tar,
            zstd: None,
            gzip: None,
            used: now,
        };
        let record = self.records.entry(layer).or_insert_with(|| fresh.clone());
        if record.tar != blob.tar {
            *record = fresh;
        }
        record.used = now;
        *record.blob(compression) = Some((blob.hash, blob.size));
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
            out.push(u8::from(record.zstd.is_some()) | u8::from(record.gzip.is_some()) << 1);
            for (hash, size) in [record.zstd, record.gzip].into_iter().flatten() {
                out.extend(hash);
                out.extend(size.to_le_bytes());
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
            let [blobs] = fields.take()?;
            let mut blob = |bit| {
                if blobs & bit == 0 {
                    return Ok(None);
                }
                Ok::<_, CacheError>(Some((fields.take()?, u64::from_le_bytes(fields.take()?))))
            };
            let (zstd, gzip) = (blob(1)?, blob(2)?);
            let record = Record {
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
    fn blob(&mut self, compression: Compression) -> &mut Option<([u8; 32], u64)> {
        match compression {
            Compression::Zstd { .. } => &mut self.zstd,
            Compression::Gzip { .. } => &mut self.gzip,
        }
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

    fn blob(seed: u8, tar: u8) -> Blob {
        Blob {
            hash: [seed; 32],
            size: seed.into(),
            tar: PackedLayer {
                hash: [tar; 32],
                size: 1 << 40,
            },
        }
    }

    /// Other builds on the builder may mount the folder, too.
    #[test]
    fn what_is_no_file_is_neither_read_nor_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(DigestCache::load(&path).is_err());

        let other = folder.path().join("other");
        DigestCache::default().save(&other).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(DigestCache::load(&path).is_err());

        // The name that is written first is a guess away.
        fs::write(&other, "stays").unwrap();
        let beside = format!("digests.{}", rustix::process::getpid());
        std::os::unix::fs::symlink(&other, folder.path().join(beside)).unwrap();
        DigestCache::default().save(&path).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"stays");
        assert_eq!(DigestCache::load(&path).unwrap(), DigestCache::default());
    }

    #[test]
    fn remembers_layers_across_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        let layer = Fingerprint([1; 32]);
        let mut cache = DigestCache::default();
        cache.keep(layer, ZSTD, &blob(2, 9), 100);
        cache.keep(layer, GZIP, &blob(3, 9), 101);
        cache.save(&path).unwrap();
        cache.save(&path).unwrap();

        let mut loaded = DigestCache::load(&path).unwrap();
        assert_eq!(loaded, cache);
        let other_level = Compression::Zstd { level: 9 };
        assert_eq!(loaded.blob(&layer, other_level, 102), Some(blob(2, 9)));
        assert_eq!(loaded.blob(&layer, GZIP, 102), Some(blob(3, 9)));
        assert_eq!(loaded.tar(&layer, 102), Some(blob(2, 9).tar));
        assert_eq!(loaded.blob(&Fingerprint([2; 32]), ZSTD, 102), None);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn another_tar_makes_the_blobs_of_the_last_worthless() {
        let layer = Fingerprint([1; 32]);
        let mut cache = DigestCache::default();
        cache.keep(layer, ZSTD, &blob(2, 9), 1);
        cache.keep(layer, GZIP, &blob(3, 8), 2);
        assert_eq!(cache.blob(&layer, ZSTD, 3), None);
    }

    #[test]
    fn a_tar_is_known_under_any_layer() {
        let mut cache = DigestCache::default();
        cache.keep(Fingerprint([1; 32]), GZIP, &blob(3, 9), 1);
        cache.keep(Fingerprint([2; 32]), ZSTD, &blob(2, 9), 1);
        let tar = blob(2, 9).tar;
        assert_eq!(cache.blob_of(tar, ZSTD, 2), Some(blob(2, 9)));
        assert_eq!(cache.blob_of(tar, GZIP, 2), Some(blob(3, 9)));
        assert_eq!(cache.blob_of(blob(1, 8).tar, ZSTD, 2), None);
    }

    #[test]
    fn forgets_what_was_not_used_for_longest_and_stays_small() {
        let mut cache = DigestCache::default();
        for number in 0..MOST_RECORDS as u32 + 10 {
            let mut name = [0; 32];
            name[..4].copy_from_slice(&number.to_le_bytes());
            cache.keep(Fingerprint(name), ZSTD, &blob(1, 1), number.into());
            cache.keep(Fingerprint(name), GZIP, &blob(1, 1), number.into());
        }
        let printed = cache.print();
        assert!(printed.len() as u64 <= LONGEST_FILE);
        let mut read = DigestCache::parse(&printed).unwrap();
        assert_eq!(read.records.len(), MOST_RECORDS);
        assert_eq!(read.tar(&Fingerprint([0; 32]), 0), None);
    }

    #[test]
    fn says_what_is_wrong_with_a_cache() {
        let folder = tempfile::tempdir().unwrap();
        let none = DigestCache::load(&folder.path().join("none"));
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
            cache.keep(Fingerprint([1; 32]), ZSTD, &blob(2, 9), 100);
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
