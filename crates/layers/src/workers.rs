//! The threads that compare and compress, and the memory they may use.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Threads for comparing and compressing, shared by all layers that are packed at a time.
#[derive(Debug)]
pub struct Workers {
    pool: rayon::ThreadPool,
    memory: Arc<Memory>,
}

impl Workers {
    /// Starts `threads` threads, one per core. Chunks that wait for a thread or for the taker of a layer use at most `memory`
    /// bytes, whatever the number of layers that are packed at a time.
    pub fn new(threads: usize, memory: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|number| format!("pack-{number}"))
            .build()
            .map_err(Error::Threads)?;
        Ok(Self {
            pool,
            memory: Arc::new(Memory {
                free: Mutex::new(memory),
                whole: memory,
                changed: Condvar::new(),
            }),
        })
    }

    pub(crate) fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Takes `bytes` if they are free now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Share> {
        let mut free = self.memory.free();
        self.memory.take(&mut free, bytes)
    }

    /// Waits until `bytes` are free. More than there are at all is as many as there are.
    pub(crate) fn take(&self, bytes: usize) -> Share {
        let mut free = self.memory.free();
        loop {
            if let Some(share) = self.memory.take(&mut free, bytes) {
                return share;
            }
            free = self
                .memory
                .changed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[derive(Debug)]
struct Memory {
    free: Mutex<usize>,
    whole: usize,
    changed: Condvar,
}

impl Memory {
    fn free(&self) -> std::sync::MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, free: &mut usize, bytes: usize) -> Option<Share> {
        let bytes = bytes.min(self.whole);
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
        self.memory.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_no_more_memory_than_there_is() {
        let workers = Workers::new(1, 100).unwrap();
        let first = workers.take(60);
        assert!(workers.try_take(60).is_none());
        let second = workers.try_take(40).unwrap();
        assert!(workers.try_take(1).is_none());
        drop((first, second));
        // More than there is at all must not wait for ever.
        drop(workers.take(1000));
        assert!(workers.try_take(100).is_some());
    }
}
