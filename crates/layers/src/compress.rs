//! Compression of a layer on all cores, while it is written.
//!
//! The tar is cut into chunks of a fixed length. Each is compressed by itself, by whichever thread is free, and passed on in order,
//! so the blob depends on the tar, the method and its level, but not on the number of threads.
//!
//! - **zstd**: each chunk is a frame. A decoder reads frames one after the other as if they were one
//!   (<https://www.rfc-editor.org/rfc/rfc8878#section-3.1>), and can decode several at a time.
//! - **gzip**: one member, because some readers stop after the first. Each chunk is raw deflate that ends with a sync flush: an
//!   empty stored block, which fills the last byte (<https://www.rfc-editor.org/rfc/rfc1951#section-3.2.4>). An empty final block
//!   ends the stream; the checksum is combined from those of the chunks.
//!
//! Deflate is zlib-rs's. ISA-L is faster (566 against 231 MB/s a core at level 1 on Python packages, 483 against 205 on shared
//! libraries, and 13 % smaller), but its bindings (isal-rs 0.5.3, of 2024) build C with autotools and NASM and truncate at level 0.
//! On two cores that is 5 s of a layer of 4 GB for those who need gzip; zstd at level 1 takes half of either's time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Compress, FlushCompress};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::turns::Turn;
use crate::workers::{Share, Workers};

/// How blobs are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// zstd: `application/vnd.oci.image.layer.v1.tar+zstd`.
    Zstd {
        /// 1 to 22, or negative for even faster ones. Level 1 packs about 500 MB/s a core, level 3 about 300.
        level: i32,
    },
    /// gzip: `application/vnd.oci.image.layer.v1.tar+gzip`.
    Gzip {
        /// 1 to 9; 0 stores. Level 1 packs about 220 MB/s a core, level 6 about 70.
        level: u32,
    },
}

/// Bytes after compression, guessed. A connection to Amazon ECR takes 10 s for so many.
const LARGEST_AT_LEVEL_1: u64 = 256 << 20;

impl Compression {
    /// That of a layer of about `estimate` bytes. Level 2 instead of 1 for the largest: the image waits for the connection that carries
    /// one. Of a library of 760 MB it makes 340 MB instead of 370, in 3.2 s of processor time instead of 2.8; of all layers it would take
    /// a seventh more for 7 % less. It depends on the layer alone, so that images share it.
    pub(crate) fn of_layer(self, estimate: u64) -> Self {
        match self {
            Self::Zstd { level: 1 } if estimate > LARGEST_AT_LEVEL_1 => Self::Zstd { level: 2 },
            other => other,
        }
    }

    /// The tar's bytes in a chunk. Larger chunks compress better, smaller ones need less memory. Against chunks of 16 MiB, these
    /// cost 0.2 % with gzip, 0.4 % with zstd at level 1 and 1 to 2 % at level 3.
    pub(crate) fn chunk(self) -> usize {
        match self {
            Self::Zstd { .. } => 2 << 20,
            Self::Gzip { .. } => 1 << 20,
        }
    }
}

/// Compressors of one kind, kept for the next chunk.
pub(crate) struct Codec {
    compression: Compression,
    zstd: Idle<zstd::bulk::Compressor<'static>>,
    deflate: Idle<Compress>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Codec").field(&self.compression).finish()
    }
}

impl Codec {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            zstd: Idle::default(),
            deflate: Idle::default(),
        }
    }

    fn compress(&self, chunk: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        match self.compression {
            Compression::Zstd { level } => {
                let mut zstd = match self.zstd.take() {
                    Some(zstd) => zstd,
                    None => zstd::bulk::Compressor::new(level)?,
                };
                out.reserve(zstd::zstd_safe::compress_bound(chunk.len()));
                zstd.compress_to_buffer(chunk, out)?;
                self.zstd.put(zstd);
            }
            Compression::Gzip { level } => {
                let mut deflate = self
                    .deflate
                    .take()
                    .unwrap_or_else(|| Compress::new(flate2::Compression::new(level), false));
                deflate.reset();
                out.reserve(chunk.len() + chunk.len() / 8 + 1024);
                loop {
                    let done = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
                    let rest = chunk.get(done..).unwrap_or_default();
                    deflate.compress_vec(rest, out, FlushCompress::Sync)?;
                    if out.len() < out.capacity() {
                        break;
                    }
                    out.reserve(64 << 10);
                }
                self.deflate.put(deflate);
            }
        }
        Ok(())
    }
}

struct Idle<T>(Mutex<Vec<T>>);

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Idle<T> {
    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, compressor: T) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(compressor);
    }
}

/// Takes a tar, passes a blob on to `sink`.
pub(crate) struct Stream<'a, W> {
    workers: &'a Workers,
    codec: &'a Arc<Codec>,
    sink: W,
    /// About the blob's bytes.
    size: u64,
    filling: Option<Chunk>,
    pending: VecDeque<Receiver<io::Result<Chunk>>>,
    spare: Vec<Chunk>,
    tar: Counted,
    blob: Counted,
    checksum: crc32fast::Hasher,
}

/// Bytes on their way, before and after compression.
struct Chunk {
    tar: Vec<u8>,
    blob: Vec<u8>,
    checksum: Option<crc32fast::Hasher>,
    share: Option<Share>,
    turn: Option<Turn>,
}

/// A hash and the number of bytes that went into it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counted {
    hash: Sha256,
    size: u64,
}

impl Counted {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> ([u8; 32], u64) {
        (self.hash.finalize().into(), self.size)
    }
}

impl<'a, W: Write> Stream<'a, W> {
    pub(crate) fn new(
        workers: &'a Workers,
        codec: &'a Arc<Codec>,
        sink: W,
        size: u64,
    ) -> Result<Self> {
        let mut stream = Self {
            workers,
            codec,
            sink,
            size,
            filling: None,
            pending: VecDeque::new(),
            spare: Vec::new(),
            tar: Counted::default(),
            blob: Counted::default(),
            checksum: crc32fast::Hasher::new(),
        };
        if matches!(codec.compression, Compression::Gzip { .. }) {
            // Deflate, no flags, no time, no hint of the level, system unknown: RFC 1952, section 2.3.
            stream.pass_on(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])?;
        }
        Ok(stream)
    }

    /// Adds bytes of the tar.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let whole = self.codec.compression.chunk();
        while !bytes.is_empty() {
            let mut chunk = match self.filling.take() {
                Some(chunk) => chunk,
                None => self.empty_chunk()?,
            };
            let (now, later) = bytes.split_at(bytes.len().min(whole - chunk.tar.len()));
            chunk.tar.extend_from_slice(now);
            bytes = later;
            if chunk.tar.len() == whole {
                self.compress(chunk)?;
            } else {
                self.filling = Some(chunk);
            }
        }
        Ok(())
    }

    /// Waits for the last chunks. Returns the counts of tar and blob.
    pub(crate) fn finish(mut self) -> Result<(Counted, Counted)> {
        if let Some(chunk) = self.filling.take() {
            self.compress(chunk)?;
        }
        while self.pass_on_next()? {}
        if matches!(self.codec.compression, Compression::Gzip { .. }) {
            // An empty final block with fixed codes; checksum and length (modulo 2^32) of the content: RFC 1952, section 2.3.1.
            let mut end = vec![3, 0];
            end.extend(self.checksum.clone().finalize().to_le_bytes());
            end.extend((self.tar.size & 0xffff_ffff).to_le_bytes().iter().take(4));
            self.pass_on(&end)?;
        }
        self.sink.flush().map_err(Error::Sink)?;
        Ok((self.tar, self.blob))
    }

    fn empty_chunk(&mut self) -> Result<Chunk> {
        let size = self.codec.compression.chunk();
        let (turn, share) = loop {
            let turn = self.workers.chunk(self.size);
            if let Some(share) = self.workers.try_take(2 * size) {
                break (turn, Some(share));
            }
            if self.pending.is_empty() {
                // Where other layers hold all memory, this one goes on with a chunk at a time: those may wait for its upload to end.
                break (turn, None);
            }
            // May wait for a connection.
            drop(turn);
            self.pass_on_next()?;
        };
        let mut chunk = self.spare.pop().unwrap_or_else(|| Chunk {
            tar: Vec::with_capacity(size),
            blob: Vec::new(),
            checksum: None,
            share: None,
            turn: None,
        });
        chunk.tar.clear();
        chunk.share = share;
        chunk.turn = Some(turn);
        Ok(chunk)
    }

    fn compress(&mut self, mut chunk: Chunk) -> Result<()> {
        let (send, receive) = sync_channel(1);
        // Both threads read the chunk: one hashes the tar, which cannot be done in parallel, the other compresses.
        self.tar.update(&chunk.tar);
        let codec = Arc::clone(self.codec);
        self.workers.pool().spawn_fifo(move || {
            let done = codec.compress(&chunk.tar, &mut chunk.blob).map(|()| {
                if matches!(codec.compression, Compression::Gzip { .. }) {
                    let mut checksum = crc32fast::Hasher::new();
                    checksum.update(&chunk.tar);
                    chunk.checksum = Some(checksum);
                }
                chunk.turn = None;
                chunk
            });
            // Nobody waits for it if the layer was given up.
            let _ = send.send(done);
        });
        self.pending.push_back(receive);
        while let Some(next) = self.pending.front() {
            // More than the threads can work on would keep memory from other layers.
            if self.pending.len() <= self.workers.pool().current_num_threads() + 1 {
                match next.try_recv() {
                    Ok(done) => {
                        self.pending.pop_front();
                        self.take_in(done)?;
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            } else {
                self.pass_on_next()?;
            }
        }
        Ok(())
    }

    /// Waits for the oldest chunk and passes it on. False if there is none.
    fn pass_on_next(&mut self) -> Result<bool> {
        let Some(next) = self.pending.pop_front() else {
            return Ok(false);
        };
        let done = next.recv().map_err(|_| {
            Error::Compress(io::Error::other("a thread that compressed it has ended"))
        })?;
        self.take_in(done)?;
        Ok(true)
    }

    fn take_in(&mut self, done: io::Result<Chunk>) -> Result<()> {
        let mut chunk = done.map_err(Error::Compress)?;
        self.pass_on(&chunk.blob)?;
        if let Some(checksum) = chunk.checksum.take() {
            self.checksum.combine(&checksum);
        }
        chunk.share = None;
        // One buffer to fill while the others are compressed or passed on.
        if self.spare.is_empty() {
            self.spare.push(chunk);
        }
        Ok(())
    }

    fn pass_on(&mut self, bytes: &[u8]) -> Result<()> {
        self.blob.update(bytes);
        self.sink.write_all(bytes).map_err(Error::Sink)
    }
}
