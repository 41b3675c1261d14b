//! The threads that compare and compress, and the memory they may use.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::turns::{Turn, Turns};

/// Threads for comparing and compressing, shared by all layers that are packed at a time.
#[derive(Debug)]
pub struct Workers {
    pool: rayon::ThreadPool,
    chunks: Arc<Turns>,
    layers: Arc<Turns>,
    memory: Arc<Memory>,
}

/// Chunks for each thread: one that it compresses, and one that is read and hashed meanwhile.
const CHUNKS_PER_THREAD: usize = 2;

impl Workers {
    /// Starts `threads` threads, one per core. Chunks that wait for a thread or for the taker of a layer use at most `memory`
    /// bytes, and one chunk of each layer that is packed at a time.
    pub fn new(threads: usize, memory: usize) -> Result<Self> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("pack-{number}"))
            .build()
            .map_err(Error::Threads)?;
        Ok(Self {
            pool,
            chunks: Turns::new(threads.saturating_mul(CHUNKS_PER_THREAD)),
            layers: Turns::new(threads),
            memory: Arc::new(Memory {
                free: Mutex::new(memory),
            }),
        })
    }

    pub(crate) fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Does both at the same time.
    pub fn join<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        self.pool.join(one, other)
    }

    /// Waits until a chunk of a layer of about `size` bytes is next.
    pub(crate) fn chunk(&self, size: u64) -> Turn {
        self.chunks.take(size)
    }

    /// Waits until a layer of about `size` bytes is next, of those that are only read. Were all read at the same pace, the largest
    /// would be read last, alone, on one core.
    pub(crate) fn layer(&self, size: u64) -> Turn {
        self.layers.take(size)
    }

    /// Takes `bytes` if they are free now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Share> {
        let mut free = self.memory.free();
        self.memory.take(&mut free, bytes)
    }
}

#[derive(Debug)]
struct Memory {
    free: Mutex<usize>,
}

impl Memory {
    fn free(&self) -> std::sync::MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, free: &mut usize, bytes: usize) -> Option<Share> {
        *free = free.checked_sub(bytes)?;
        Some(Share {
            memory: Arc::clone(self),
            bytes,
        })
    }
}

/// Memory that is in use; free again when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.memory.free() += self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_no_more_memory_than_there_is() {
        let workers = Workers::new(1, 100).unwrap();
        let first = workers.try_take(60).unwrap();
        assert!(workers.try_take(60).is_none());
        let second = workers.try_take(40).unwrap();
        assert!(workers.try_take(1).is_none());
        drop((first, second));
        assert!(workers.try_take(100).is_some());
    }
}
