//! What is pushed: a blob's content, and how another try gets it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::{Bytes, BytesMut};
use image::Digest;
use tokio::sync::mpsc;

use crate::spool::{CHUNK, Memory, Spool, Writer};

/// Digest and size of a blob or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Descriptor {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl Descriptor {
    /// Of content in memory.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self {
            digest: named(&digest(&SHA256, content)),
            size: content.len() as u64,
        }
    }
}

/// A hash as a digest.
pub(crate) fn named(hash: &aws_lc_rs::digest::Digest) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    Digest::sha256(bytes)
}

/// Opens content from its start, with the same bytes each time: a file, or packing once more.
type Repeat = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// A blob to push. Clones share the content, for several registries.
#[derive(Clone)]
pub struct Blob {
    pub(crate) content: Content,
    pub(crate) repeat: Option<Repeat>,
    pub(crate) mounts: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Not here, or only by [`Blob::with_repeat`].
    None(Descriptor),
    Chunks(Descriptor, VecDeque<Bytes>),
    Spool(Spool),
}

impl Blob {
    /// Content in memory, whose digest is still to be computed.
    #[must_use]
    pub fn bytes(content: Bytes) -> Self {
        let descriptor = Descriptor::of(&content);
        Self::chunks(descriptor, [content])
    }

    /// Content in memory whose digest is known.
    #[must_use]
    pub fn chunks(descriptor: Descriptor, chunks: impl IntoIterator<Item = Bytes>) -> Self {
        let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty());
        Self::new(Content::Chunks(descriptor, chunks.collect()))
    }

    /// Content that a thread is about to write. It is uploaded while it is written, and kept in `memory` for another
    /// try as long as there is room.
    #[must_use]
    pub fn written(memory: &Memory) -> (Writer, Self) {
        let (writer, spool) = memory.spool(true);
        (writer, Self::new(Content::Spool(spool)))
    }

    /// The same for a thread that computes the digest by itself, and ends with [`Writer::finish_as`].
    #[must_use]
    pub fn written_and_hashed(memory: &Memory) -> (Writer, Self) {
        let (writer, spool) = memory.spool(false);
        (writer, Self::new(Content::Spool(spool)))
    }

    /// A blob that the registry should have, in this repository or in one to mount from.
    #[must_use]
    pub fn known(descriptor: Descriptor) -> Self {
        Self::new(Content::None(descriptor))
    }

    fn new(content: Content) -> Self {
        Self {
            content,
            repeat: None,
            mounts: Vec::new(),
        }
    }

    /// How to get the content where it is not, or no longer, in memory. Called on a thread of its own; it must give the
    /// same bytes each time, which is checked.
    #[must_use]
    pub fn with_repeat(
        mut self,
        repeat: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Self {
        self.repeat = Some(Arc::new(repeat));
        self
    }

    /// Repositories of the same registry that may have the blob, the likeliest first.
    #[must_use]
    pub fn mounted_from(mut self, repositories: impl IntoIterator<Item = String>) -> Self {
        self.mounts.extend(repositories);
        self
    }

    /// Digest and size, as far as they are known by now.
    #[must_use]
    pub fn descriptor(&self) -> Option<Descriptor> {
        match &self.content {
            Content::None(descriptor) | Content::Chunks(descriptor, _) => Some(descriptor.clone()),
            Content::Spool(spool) => spool.descriptor(),
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("descriptor", &self.descriptor())
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}

/// Chunks that wait between a reading thread and the network.
const AHEAD: usize = 4;

/// Reads content again, on a thread, and checks that it is the same.
pub(crate) fn read_again(
    repeat: &Repeat,
    expected: Descriptor,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let repeat = Arc::clone(repeat);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = pump(&repeat, &expected, &sender) {
            // Nobody may want to know any more.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

fn pump(
    repeat: &Repeat,
    expected: &Descriptor,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut reader = repeat()?;
    let mut hash = Context::new(&SHA256);
    let mut left = expected.size;
    let other = |what: &str| {
        let digest = &expected.digest;
        Err(io::Error::other(format!(
            "the content made again for `{digest}` {what}"
        )))
    };
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let length = fill(&mut *reader, &mut chunk)?;
        chunk.truncate(length);
        hash.update(&chunk);
        left = match left.checked_sub(length as u64) {
            Some(left) => left,
            None => return other("is longer"),
        };
        if left == 0 {
            // The last chunk waits for the verdict: without it, the registry takes nothing.
            if fill(&mut *reader, &mut [0])? > 0 {
                return other("is longer");
            }
            if named(&hash.clone().finish()) != expected.digest {
                return other("is other content");
            }
        } else if length < CHUNK {
            return other("is shorter");
        }
        let is_gone = length > 0 && sender.blocking_send(Ok(chunk.freeze())).is_err();
        if left == 0 || is_gone {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the content ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn again(content: &'static [u8], expected: Descriptor) -> io::Result<Vec<u8>> {
        let repeat: Repeat = Arc::new(move || Ok(Box::new(content)));
        let mut receiver = read_again(&repeat, expected);
        let mut all = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            all.extend(chunk?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn content_made_again_must_be_the_same() {
        static LARGE: [u8; 3 * CHUNK + 1] = [7; 3 * CHUNK + 1];
        for content in [&b""[..], b"x", &LARGE, LARGE.split_at(CHUNK).0] {
            assert!(again(content, Descriptor::of(content)).await.unwrap() == content);
        }
        let expected = Descriptor::of(b"content");
        for (content, what) in [
            (&b"contenT"[..], "is other content"),
            (b"conten", "is shorter"),
            (b"content.", "is longer"),
            (&LARGE, "is longer"),
            (b"", "is shorter"),
        ] {
            let error = again(content, expected.clone()).await.unwrap_err();
            assert!(error.to_string().ends_with(what), "{error}");
        }
    }
}
