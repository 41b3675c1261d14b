//! Content on its way from a producer to uploads: kept in memory for another try, and never more than allowed.
//!
//! A producer (a thread) writes into a [`Writer`]; uploads, one for each registry, read the same chunks. What all of them
//! have sent stays in memory as long as there is room, so that a failed upload can start over without work of the
//! producer. Where room is short, what was sent is forgotten: the upload goes on, but another try needs the content made
//! again ([`crate::Blob::with_repeat`]). Where nothing can be forgotten, the producer waits.
//!
//! All spools share one [`Memory`]. Each may hold [`FLOOR`] bytes whatever the others hold, so an upload that runs can
//! always be fed, and waits never form a circle.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::{Context as Hash, SHA256};
use bytes::{Bytes, BytesMut};
use image::Digest;

use crate::blob::{Descriptor, named};

/// Bytes in a chunk.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Bytes that each spool may hold, however little room there is. Two chunks on their way and two being made.
const FLOOR: usize = 4 * CHUNK;
/// Bytes that are worth to begin an upload whose length is not known. A blob that ends before is looked up first, and
/// sent in one request less.
const WORTH_BEGINNING: usize = 4 * 1024 * 1024;

/// The place of an upload that wants nothing more.
const SKIPPED: u64 = u64::MAX;

/// Room for content that waits, shared by all spools of a process.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is more room.
    room: Condvar,
    /// Bytes that one spool keeps of what was sent.
    per_spool: usize,
}

#[derive(Debug)]
struct State {
    /// Bytes; below zero by what the floors are above the limit.
    left: isize,
    last: u64,
    spools: HashMap<u64, Content>,
}

#[derive(Debug, Default)]
struct Content {
    chunks: VecDeque<Bytes>,
    /// Chunks forgotten before the first of `chunks`.
    forgotten: u64,
    held: usize,
    end: End,
    /// The writer waits for room.
    is_full: bool,
    /// The place of each upload.
    readers: HashMap<u64, Position>,
    /// Uploads there were, ever.
    last_reader: u64,
    wakers: Vec<Waker>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Position {
    /// The chunk that is sent next.
    next: u64,
    /// Which try it is.
    pass: u64,
}

#[derive(Debug, Default, Clone)]
enum End {
    #[default]
    Open,
    Whole(Descriptor),
    /// What went wrong at the producer.
    Failed(String),
}

impl Memory {
    /// `total` bytes for all spools, of which one keeps at most `per_spool` of what it has sent.
    #[must_use]
    pub fn new(total: usize, per_spool: usize) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                left: isize::try_from(total).unwrap_or(isize::MAX),
                last: 0,
                spools: HashMap::new(),
            }),
            room: Condvar::new(),
            per_spool,
        }))
    }

    /// Two ends of a blob that is about to be made; hashed on its way, or by its producer.
    pub(crate) fn spool(&self, is_hashed: bool) -> (Writer, Spool) {
        let mut state = self.0.lock();
        state.last += 1;
        let id = state.last;
        state.spools.insert(id, Content::default());
        drop(state);
        let spool = Spool(Arc::new(Handle {
            memory: Arc::clone(&self.0),
            id,
        }));
        let writer = Writer {
            spool: spool.clone(),
            chunk: BytesMut::with_capacity(CHUNK),
            hash: is_hashed.then(|| Hash::new(&SHA256)),
            length: 0,
            is_over: false,
        };
        (writer, spool)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn content(&mut self, id: u64) -> &mut Content {
        self.spools.entry(id).or_default()
    }

    /// Forgets the oldest chunk, if all uploads have sent it.
    fn forget_one(&mut self, id: u64) -> bool {
        let content = self.content(id);
        // Before the first upload begins, nothing was sent.
        let sent = content.readers.values().map(|place| place.next).min();
        if content.forgotten >= sent.unwrap_or(0) {
            return false;
        }
        let Some(chunk) = content.chunks.pop_front() else {
            return false;
        };
        content.held -= chunk.len();
        content.forgotten += 1;
        self.give_back(chunk.len());
        true
    }

    /// Forgets what no upload wants.
    fn forget_skipped(&mut self, id: u64) {
        let readers = &self.content(id).readers;
        if !readers.is_empty() && readers.values().all(|place| place.next == SKIPPED) {
            while self.forget_one(id) {}
        }
    }

    fn forget_all(&mut self, id: u64) {
        let content = self.content(id);
        content.forgotten += content.chunks.len() as u64;
        content.chunks = VecDeque::new();
        let freed = std::mem::take(&mut content.held);
        self.give_back(freed);
    }

    fn give_back(&mut self, bytes: usize) {
        self.left = self.left.saturating_add_unsigned(bytes);
    }

    /// Whether a spool may hold so many more bytes.
    fn has_room(&mut self, id: u64, bytes: usize, per_spool: usize) -> bool {
        let held = self.content(id).held + bytes;
        let is_left = self.left >= isize::try_from(bytes).unwrap_or(isize::MAX);
        held <= FLOOR || (is_left && held <= per_spool)
    }
}

impl Content {
    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    fn register(&mut self, context: &Context<'_>) {
        if !self.wakers.iter().any(|w| w.will_wake(context.waker())) {
            self.wakers.push(context.waker().clone());
        }
    }

    /// All uploads are over.
    fn is_abandoned(&self) -> bool {
        self.last_reader > 0 && self.readers.is_empty()
    }
}

/// Where a producer writes a blob. Dropped before [`Writer::finish`], it fails the uploads.
pub struct Writer {
    spool: Spool,
    chunk: BytesMut,
    /// None where the producer knows the digest.
    hash: Option<Hash>,
    length: u64,
    is_over: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// The blob is whole. Uploads now know its digest.
    ///
    /// # Errors
    /// When all uploads have failed, or the digest is left to the producer.
    pub fn finish(mut self) -> io::Result<Descriptor> {
        self.pass_on()?;
        let Some(hash) = &self.hash else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the producer of this blob has to name its digest",
            ));
        };
        let descriptor = Descriptor {
            digest: named(&hash.clone().finish()),
            size: self.length,
        };
        self.end(End::Whole(descriptor.clone()));
        Ok(descriptor)
    }

    /// The blob is whole, and its producer has computed its digest. A wrong one is refused by registries.
    ///
    /// # Errors
    /// When all uploads have failed.
    pub fn finish_as(mut self, digest: Digest) -> io::Result<Descriptor> {
        self.pass_on()?;
        let descriptor = Descriptor {
            digest,
            size: self.length,
        };
        self.end(End::Whole(descriptor.clone()));
        Ok(descriptor)
    }

    /// The blob cannot be made. Its uploads fail with this reason.
    pub fn fail(mut self, reason: &io::Error) {
        self.end(End::Failed(reason.to_string()));
    }

    fn end(&mut self, end: End) {
        self.is_over = true;
        let handle = &self.spool.0;
        let mut state = handle.memory.lock();
        let content = state.content(handle.id);
        content.end = end;
        content.wake();
    }

    /// Hands the chunk to the uploads, as soon as there is room.
    fn pass_on(&mut self) -> io::Result<()> {
        let chunk = self.chunk.split().freeze();
        self.chunk.reserve(CHUNK);
        let length = chunk.len();
        if length == 0 {
            return Ok(());
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&chunk);
        }
        self.length += length as u64;
        let handle = &self.spool.0;
        let per_spool = handle.memory.per_spool;
        let mut state = handle.memory.lock();
        loop {
            if state.content(handle.id).is_abandoned() {
                return Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "all uploads of this blob are over",
                ));
            }
            // As few as possible: what is kept may be wanted again.
            let has_room = loop {
                if state.has_room(handle.id, length, per_spool) {
                    break true;
                }
                if !state.forget_one(handle.id) {
                    break false;
                }
            };
            let content = state.content(handle.id);
            content.is_full = !has_room;
            content.wake();
            if has_room {
                content.chunks.push_back(chunk);
                content.held += length;
                state.left = state.left.saturating_sub_unsigned(length);
                state.forget_skipped(handle.id);
                return Ok(());
            }
            state = handle
                .memory
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (taken, _) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
        self.chunk.extend_from_slice(taken);
        if self.chunk.len() == CHUNK {
            self.pass_on()?;
        }
        Ok(taken.len())
    }

    /// Nothing: small chunks would be small writes to the network.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(End::Failed("its producer ended early".to_owned()));
        }
    }
}

/// The content of one blob.
#[derive(Debug, Clone)]
pub(crate) struct Spool(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    memory: Arc<Shared>,
    id: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.memory.lock();
        state.forget_all(self.id);
        state.spools.remove(&self.id);
        self.memory.room.notify_all();
    }
}

impl Spool {
    /// A place at the start of the content, for one upload.
    pub(crate) fn subscribe(&self) -> Reader {
        let mut state = self.0.memory.lock();
        let content = state.content(self.0.id);
        content.last_reader += 1;
        let reader = content.last_reader;
        content.readers.insert(reader, Position::default());
        Reader(Arc::new(Subscription {
            spool: self.clone(),
            reader,
        }))
    }

    /// Digest and size, where the content is whole.
    pub(crate) fn descriptor(&self) -> Option<Descriptor> {
        let mut state = self.0.memory.lock();
        match &state.content(self.0.id).end {
            End::Whole(descriptor) => Some(descriptor.clone()),
            End::Open | End::Failed(_) => None,
        }
    }

    /// Waits for the end of the content.
    pub(crate) async fn ended(&self) -> io::Result<Descriptor> {
        std::future::poll_fn(|context| {
            let mut state = self.0.memory.lock();
            let content = state.content(self.0.id);
            match &content.end {
                End::Whole(descriptor) => Poll::Ready(Ok(descriptor.clone())),
                End::Failed(reason) => Poll::Ready(Err(io::Error::other(reason.clone()))),
                End::Open => {
                    content.register(context);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits until there is so much to send that an upload is worth to begin.
    pub(crate) async fn worth_beginning(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.0.memory.lock();
            let content = state.content(self.0.id);
            let is_open = matches!(content.end, End::Open);
            if is_open && content.held < WORTH_BEGINNING && !content.is_full {
                content.register(context);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// One upload's place in the content.
#[derive(Debug)]
pub(crate) struct Reader(Arc<Subscription>);

#[derive(Debug)]
struct Subscription {
    spool: Spool,
    reader: u64,
}

impl Reader {
    pub(crate) fn spool(&self) -> &Spool {
        &self.0.spool
    }

    /// Wants nothing more of the content, and lets its producer come to the end.
    pub(crate) fn skip(&self) {
        let handle = &self.0.spool.0;
        let mut state = handle.memory.lock();
        let content = state.content(handle.id);
        let place = content.readers.entry(self.0.reader).or_default();
        place.next = SKIPPED;
        place.pass += 1;
        content.wake();
        state.forget_skipped(handle.id);
        handle.memory.room.notify_all();
    }

    /// Whether the start is there.
    pub(crate) fn can_pass(&self) -> bool {
        let handle = &self.0.spool.0;
        handle.memory.lock().content(handle.id).forgotten == 0
    }

    /// Goes back to the start and ends all passes before; `None` where the start is forgotten.
    pub(crate) fn pass(&self) -> Option<Pass> {
        let handle = &self.0.spool.0;
        let mut state = handle.memory.lock();
        let content = state.content(handle.id);
        if content.forgotten > 0 {
            return None;
        }
        content.wake();
        let place = content.readers.entry(self.0.reader).or_default();
        place.next = 0;
        place.pass += 1;
        let number = place.pass;
        Some(Pass {
            subscription: Arc::clone(&self.0),
            number,
        })
    }
}

/// One way through the content.
#[derive(Debug)]
pub(crate) struct Pass {
    subscription: Arc<Subscription>,
    number: u64,
}

impl Pass {
    /// The next chunk, or the end.
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let handle = &self.subscription.spool.0;
        let mut state = handle.memory.lock();
        let content = state.content(handle.id);
        let place = content.readers.get_mut(&self.subscription.reader);
        let place = place.filter(|place| place.pass == self.number);
        let index = place.as_ref().and_then(|place| {
            let index = place.next.checked_sub(content.forgotten)?;
            usize::try_from(index).ok()
        });
        let (Some(place), Some(index)) = (place, index) else {
            return Poll::Ready(Some(Err(io::Error::other("another try has begun"))));
        };
        if let Some(chunk) = content.chunks.get(index) {
            let chunk = chunk.clone();
            place.next += 1;
            handle.memory.room.notify_all();
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &content.end {
            End::Whole(_) => Poll::Ready(None),
            End::Failed(reason) => Poll::Ready(Some(Err(io::Error::other(reason.clone())))),
            End::Open => {
                content.register(context);
                Poll::Pending
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let handle = &self.spool.0;
        let mut state = handle.memory.lock();
        let content = state.content(handle.id);
        content.readers.remove(&self.reader);
        if content.is_abandoned() {
            state.forget_all(handle.id);
        }
        handle.memory.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn next(pass: &Pass) -> Poll<Option<io::Result<Bytes>>> {
        pass.poll_next(&Context::from_waker(Waker::noop()))
    }

    fn all(reader: &Reader) -> Vec<u8> {
        let pass = reader.pass().unwrap();
        let mut all = Vec::new();
        loop {
            match next(&pass) {
                Poll::Ready(Some(chunk)) => all.extend(chunk.unwrap()),
                Poll::Ready(None) => return all,
                Poll::Pending => thread::yield_now(),
            }
        }
    }

    fn wait_until_full(spool: &Spool) {
        while !spool.0.memory.lock().content(spool.0.id).is_full {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_blob_that_fits_is_read_again_from_memory() {
        let memory = Memory::new(64 * CHUNK, 32 * CHUNK);
        let (mut writer, spool) = memory.spool(true);
        let (first, second) = (spool.subscribe(), spool.subscribe());
        let content: Vec<u8> = (0..3 * CHUNK + 5).map(|i| i as u8).collect();
        writer.write_all(&content).unwrap();
        let descriptor = writer.finish().unwrap();
        assert_eq!(descriptor, Descriptor::of(&content));
        assert_eq!(spool.descriptor(), Some(descriptor));
        let early = first.pass().unwrap();
        assert!(all(&first) == content);
        assert!(all(&first) == content);
        assert!(matches!(next(&early), Poll::Ready(Some(Err(_)))));
        drop(first);
        assert!(all(&second) == content);
    }

    #[test]
    fn a_producer_that_hashes_names_the_digest() {
        let memory = Memory::new(64 * CHUNK, 32 * CHUNK);
        let expected = Descriptor::of(b"content");
        let (mut writer, spool) = memory.spool(false);
        let reader = spool.subscribe();
        writer.write_all(b"content").unwrap();
        let descriptor = writer.finish_as(expected.digest.clone()).unwrap();
        assert_eq!(descriptor, expected);
        assert_eq!(spool.descriptor(), Some(expected));
        assert_eq!(all(&reader), b"content");
        let (writer, _spool) = memory.spool(false);
        let error = writer.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_blob_that_does_not_fit_goes_through_and_is_forgotten() {
        let memory = Memory::new(64 * CHUNK, 6 * CHUNK);
        let (mut writer, spool) = memory.spool(true);
        let reader = spool.subscribe();
        let content: Vec<u8> = (0..40 * CHUNK + 5).map(|i| (i / 7) as u8).collect();
        let expected = content.clone();
        let producer = thread::spawn(move || {
            writer.write_all(&content).unwrap();
            writer.finish().unwrap()
        });
        assert!(all(&reader) == expected);
        producer.join().unwrap();
        assert!(reader.pass().is_none());
        let state = memory.0.lock();
        assert!(state.left >= 58 * CHUNK as isize, "{}", state.left);
    }

    #[test]
    fn a_producer_waits_for_room_and_the_room_comes_back() {
        let memory = Memory::new(8 * CHUNK, 32 * CHUNK);
        let (mut writer, spool) = memory.spool(true);
        let reader = spool.subscribe();
        let producer = thread::spawn(move || {
            writer.write_all(&vec![1; 20 * CHUNK]).unwrap();
            writer.finish().unwrap();
        });
        wait_until_full(&spool);
        assert!(!producer.is_finished());
        assert_eq!(memory.0.lock().left, 0);
        // Others have their floor all the same.
        let (mut other, other_spool) = memory.spool(true);
        other.write_all(&vec![2; FLOOR]).unwrap();
        assert_eq!(all(&reader).len(), 20 * CHUNK);
        producer.join().unwrap();
        drop((reader, spool, other, other_spool));
        let state = memory.0.lock();
        assert_eq!((state.left, state.spools.len()), (8 * CHUNK as isize, 0));
    }

    #[test]
    fn a_slow_upload_keeps_what_a_fast_one_has_sent() {
        let memory = Memory::new(64 * CHUNK, 6 * CHUNK);
        let (mut writer, spool) = memory.spool(true);
        let (fast, slow) = (spool.subscribe(), spool.subscribe());
        let producer = thread::spawn(move || {
            writer.write_all(&vec![3; 12 * CHUNK]).unwrap();
            writer.finish().unwrap();
        });
        wait_until_full(&spool);
        let mut sent = 0;
        let pass = fast.pass().unwrap();
        while let Poll::Ready(Some(chunk)) = next(&pass) {
            sent += chunk.unwrap().len();
        }
        assert!(sent <= 6 * CHUNK, "{sent}");
        assert!(!producer.is_finished());
        drop((fast, pass));
        assert_eq!(all(&slow).len(), 12 * CHUNK);
        producer.join().unwrap();
    }

    #[test]
    fn an_upload_goes_on_when_others_hold_more_than_all_the_room() {
        let memory = Memory::new(6 * CHUNK, 6 * CHUNK);
        let (mut writer, spool) = memory.spool(true);
        let reader = spool.subscribe();
        writer.write_all(&vec![0; 6 * CHUNK]).unwrap();
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (mut other, spool) = memory.spool(true);
                other.write_all(&vec![0; FLOOR]).unwrap();
                (other, spool)
            })
            .collect();
        assert_eq!(memory.0.lock().left, -12 * CHUNK as isize);
        let pass = reader.pass().unwrap();
        while let Poll::Ready(Some(Ok(_))) = next(&pass) {}
        writer.write_all(&vec![0; CHUNK]).unwrap();
        drop(others);
    }

    #[test]
    fn a_producer_whose_content_is_skipped_comes_to_its_end() {
        let memory = Memory::new(8 * CHUNK, 8 * CHUNK);
        let (mut writer, spool) = memory.spool(true);
        let reader = spool.subscribe();
        writer.write_all(&vec![0; 4 * CHUNK]).unwrap();
        reader.skip();
        writer.write_all(&vec![0; 40 * CHUNK]).unwrap();
        assert_eq!(writer.finish().unwrap().size, 44 * CHUNK as u64);
        assert_eq!(memory.0.lock().left, 8 * CHUNK as isize);
        assert!(reader.pass().is_none());
    }

    #[test]
    fn a_producer_without_uploads_left_stops() {
        let memory = Memory::new(8 * CHUNK, 8 * CHUNK);
        let (mut writer, spool) = memory.spool(true);
        drop(spool.subscribe());
        let error = writer.write_all(&vec![0; 2 * CHUNK]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_producer_that_ends_early_fails_the_upload() {
        let memory = Memory::new(8 * CHUNK, 8 * CHUNK);
        for is_told in [true, false] {
            let (mut writer, spool) = memory.spool(true);
            let pass = spool.subscribe().pass().unwrap();
            writer.write_all(b"half").unwrap();
            if is_told {
                writer.fail(&io::Error::other("disk on fire"));
            } else {
                drop(writer);
            }
            assert!(matches!(
                next(&pass),
                Poll::Ready(Some(Ok(_))) | Poll::Pending | Poll::Ready(Some(Err(_)))
            ));
            let Poll::Ready(Some(Err(error))) = next(&pass) else {
                panic!("no error");
            };
            let expected = if is_told {
                "disk on fire"
            } else {
                "its producer ended early"
            };
            assert_eq!(error.to_string(), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn whatever_the_room_every_upload_gets_every_byte(
            sizes in proptest::collection::vec(0_usize..2 * CHUNK, 1..8),
            (total, per_spool) in (0_usize..12 * CHUNK, 0_usize..12 * CHUNK),
            uploads in 1_usize..4,
        ) {
            let memory = Memory::new(total, per_spool);
            let (mut writer, spool) = memory.spool(true);
            let readers: Vec<_> = (0..uploads).map(|_| spool.subscribe()).collect();
            let expected: usize = sizes.iter().sum();
            let producer = thread::spawn(move || {
                for (number, size) in sizes.into_iter().enumerate() {
                    writer.write_all(&vec![number as u8; size]).unwrap();
                }
                writer.finish().unwrap().size
            });
            let consumers: Vec<_> = readers
                .into_iter()
                .map(|reader| thread::spawn(move || all(&reader).len()))
                .collect();
            for consumer in consumers {
                prop_assert_eq!(consumer.join().unwrap(), expected);
            }
            prop_assert_eq!(producer.join().unwrap(), expected as u64);
            drop(spool);
            prop_assert_eq!(memory.0.lock().left, total as isize);
        }
    }
}
