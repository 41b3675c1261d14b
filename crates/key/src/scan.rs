//! Walks a folder, and hashes its files on several threads.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};

use dockerfile::Ignore;
use rustix::fs::{OFlags, lgetxattr, llistxattr};
use sha2::{Digest as _, Sha256};

use crate::folder::FolderError;
use crate::hash::{Fields, Hash};

/// How large a folder may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files, folders and links.
    pub entries: u64,
    /// Of all files.
    pub bytes: u64,
}

impl Default for Limits {
    /// A million entries and 64 GiB: half a minute of hashing.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 64 << 30,
        }
    }
}

/// How many folders may be in each other: the walk calls itself for each, and a path may name 2,000.
pub(crate) const DEEPEST: usize = 256;

/// How far the work is. It can also stop the work.
#[derive(Debug, Default)]
pub struct Progress {
    entries: AtomicU64,
    bytes: AtomicU64,
    stopped: AtomicBool,
}

impl Progress {
    /// Entries found, and bytes hashed.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.entries), read(&self.bytes))
    }

    /// Ends the work.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Kind {
    Folder(Vec<Entry>),
    /// A file, by its number.
    File(usize),
    Link(Vec<u8>),
    /// A device, by its number; a pipe.
    Other(u64),
}

/// An entry of a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    /// Type and permissions.
    pub(crate) mode: u32,
    /// Of its extended attributes that an image may have.
    pub(crate) attributes: Option<Hash>,
    pub(crate) kind: Kind,
    /// Size, times and place, to see later whether it was written to.
    pub(crate) stamp: [u64; 6],
}

/// What is left to hash of a file.
#[derive(Debug)]
pub(crate) struct Job {
    file: usize,
    path: PathBuf,
    /// Device and inode: another file in its place is not read.
    identity: (u64, u64),
    size: u64,
    chunk: u64,
}

/// Files are hashed in pieces of so many bytes, so that one large file keeps all threads busy.
const CHUNK: u64 = 4 << 20;

/// Of one read.
const BUFFER: usize = 256 << 10;

/// Hashes of chunks: number of the file, number of the chunk.
pub(crate) type Chunks = Vec<(usize, u64, [u8; 32])>;

/// Walks a folder.
pub(crate) struct Walk<'a> {
    pub(crate) ignore: &'a Ignore,
    pub(crate) limits: Limits,
    pub(crate) progress: &'a Progress,
    /// Of files, in the order of their numbers.
    pub(crate) sizes: Vec<u64>,
    bytes: u64,
    entries: u64,
    depth: usize,
    found: &'a mut dyn FnMut(Job),
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        ignore: &'a Ignore,
        limits: Limits,
        progress: &'a Progress,
        found: &'a mut dyn FnMut(Job),
    ) -> Self {
        Self {
            ignore,
            limits,
            progress,
            sizes: Vec::new(),
            bytes: 0,
            entries: 0,
            depth: 0,
            found,
        }
    }

    /// The entries of a folder that are not left out. `relative` is its path in the context; none if a name is not UTF-8.
    pub(crate) fn folder(
        &mut self,
        path: &Path,
        relative: Option<&str>,
    ) -> Result<Vec<Entry>, FolderError> {
        let failed = |source| FolderError::Read {
            path: path.to_owned(),
            source,
        };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(FolderError::TooDeep(DEEPEST));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name().into_vec());
        }
        names.sort_unstable();
        let mut entries = Vec::new();
        for name in names {
            if self.progress.is_stopped() {
                return Err(FolderError::Stopped);
            }
            let path = path.join(std::ffi::OsStr::from_bytes(&name));
            // Patterns are UTF-8; what they can't name is not left out.
            let relative = relative.and_then(|folder| {
                let name = std::str::from_utf8(&name).ok()?;
                Some(match folder {
                    "" => name.to_owned(),
                    folder => format!("{folder}/{name}"),
                })
            });
            let is_excluded = relative
                .as_deref()
                .is_some_and(|relative| self.ignore.excludes(relative));
            if is_excluded && !self.ignore.may_take_back() {
                continue;
            }
            let entry = self.entry(name, &path, relative.as_deref(), is_excluded)?;
            entries.extend(entry);
        }
        self.depth -= 1;
        Ok(entries)
    }

    fn entry(
        &mut self,
        name: Vec<u8>,
        path: &Path,
        relative: Option<&str>,
        is_excluded: bool,
    ) -> Result<Option<Entry>, FolderError> {
        let failed = |source| FolderError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        let file_type = metadata.file_type();
        if is_excluded && !file_type.is_dir() {
            return Ok(None);
        }
        self.count(1, 0)?;
        let kind = if file_type.is_dir() {
            let entries = self.folder(path, relative)?;
            // It is part of the context where something in it is.
            if is_excluded && entries.is_empty() {
                return Ok(None);
            }
            Kind::Folder(entries)
        } else if file_type.is_symlink() {
            let target = fs::read_link(path).map_err(failed)?;
            Kind::Link(target.into_os_string().into_vec())
        } else if file_type.is_file() {
            Kind::File(self.file(path, &metadata)?)
        } else {
            Kind::Other(metadata.rdev())
        };
        Ok(Some(Entry {
            mode: metadata.mode(),
            attributes: attributes(path).map_err(failed)?,
            stamp: stamp(&metadata),
            name,
            kind,
        }))
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> Result<usize, FolderError> {
        let size = metadata.len();
        self.count(0, size)?;
        let file = self.sizes.len();
        self.sizes.push(size);
        for chunk in 0..size.div_ceil(CHUNK) {
            (self.found)(Job {
                file,
                path: path.to_owned(),
                identity: (metadata.dev(), metadata.ino()),
                size,
                chunk,
            });
        }
        Ok(file)
    }

    fn count(&mut self, entries: u64, bytes: u64) -> Result<(), FolderError> {
        self.entries += entries;
        self.bytes = self.bytes.saturating_add(bytes);
        self.progress.entries.fetch_add(entries, Ordering::Relaxed);
        if self.entries > self.limits.entries {
            return Err(FolderError::TooMany(self.limits.entries));
        }
        if self.bytes > self.limits.bytes {
            return Err(FolderError::TooLarge(self.limits.bytes));
        }
        Ok(())
    }
}

fn stamp(metadata: &Metadata) -> [u64; 6] {
    let nanoseconds = |seconds: i64, rest: i64| {
        let seconds = seconds.wrapping_mul(1_000_000_000);
        seconds.wrapping_add(rest).cast_unsigned()
    };
    [
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        u64::from(metadata.mode()),
        nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    ]
}

/// Extended attributes that get into an image: capabilities and those of users. Those of the machine, such as SELinux', do not.
fn attributes(path: &Path) -> io::Result<Option<Hash>> {
    let mut names = [0_u8; 4096];
    let length = match llistxattr(path, &mut names[..]) {
        Ok(0) => return Ok(None),
        Ok(length) => length,
        // A file system without them; one that went meanwhile is noticed elsewhere.
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let names = names.get(..length).unwrap_or_default();
    let mut counted: Vec<&[u8]> = names
        .split(|byte| *byte == 0)
        .filter(|name| *name == b"security.capability" || name.starts_with(b"user."))
        .collect();
    if counted.is_empty() {
        return Ok(None);
    }
    counted.sort_unstable();
    let mut fields = Fields::of("attributes");
    for name in counted {
        let mut value = vec![0_u8; 65536];
        let length = lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        let name = String::from_utf8_lossy(name);
        fields = fields.bytes(&name, &value);
    }
    Ok(Some(fields.end()))
}

/// Hashes what `walk` finds on several threads, while it walks.
pub(crate) fn hash_while<T: Send>(
    progress: &Progress,
    threads: usize,
    walk: impl FnOnce(&mut dyn FnMut(Job)) -> Result<T, FolderError>,
) -> Result<(T, Chunks), FolderError> {
    let (sender, jobs) = channel::<Job>();
    let jobs = Mutex::new(jobs);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| {
                scope.spawn(|| {
                    let hashed = work(&jobs, progress);
                    if hashed.is_err() {
                        progress.stop();
                    }
                    hashed
                })
            })
            .collect();
        let walked = walk(&mut |job| {
            // The receiver outlives all workers.
            let _ = sender.send(job);
        });
        if walked.is_err() {
            progress.stop();
        }
        drop(sender);
        let mut chunks = Chunks::new();
        let mut failure = None;
        for worker in workers {
            match worker.join() {
                Ok(Ok(of_worker)) => chunks.extend(of_worker),
                // That of another worker, or of the walk, says why.
                Ok(Err(FolderError::Stopped)) => {}
                Ok(Err(error)) => failure = Some(error),
                Err(_) => failure = Some(FolderError::Stopped),
            }
        }
        match (walked, failure) {
            (Err(FolderError::Stopped) | Ok(_), Some(failure)) => Err(failure),
            (Err(error), _) => Err(error),
            (Ok(_), None) if progress.is_stopped() => Err(FolderError::Stopped),
            (Ok(walked), None) => Ok((walked, chunks)),
        }
    })
}

fn work(jobs: &Mutex<Receiver<Job>>, progress: &Progress) -> Result<Chunks, FolderError> {
    let mut hashed = Chunks::new();
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return Err(FolderError::Stopped),
        };
        let Ok(job) = job else { return Ok(hashed) };
        if progress.is_stopped() {
            return Err(FolderError::Stopped);
        }
        let hash = chunk(&job, &mut buffer, progress)?;
        hashed.push((job.file, job.chunk, hash));
    }
}

fn chunk(job: &Job, buffer: &mut [u8], progress: &Progress) -> Result<[u8; 32], FolderError> {
    let failed = |source| FolderError::Read {
        path: job.path.clone(),
        source,
    };
    let changed = || FolderError::Changed(job.path.clone());
    // A link or pipe that took the file's place is not followed, and not waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&job.path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if (metadata.dev(), metadata.ino()) != job.identity || metadata.len() != job.size {
        return Err(changed());
    }
    let mut at = job.chunk * CHUNK;
    let end = job.size.min(at + CHUNK);
    let mut hash = Sha256::new();
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
        let into = buffer.get_mut(..wanted).unwrap_or_default();
        let read = file.read_at(into, at).map_err(failed)?;
        if read == 0 {
            return Err(changed());
        }
        hash.update(into.get(..read).unwrap_or_default());
        at += read as u64;
        progress.bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
    Ok(hash.finalize().into())
}
