//! How much content may wait in memory.

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Chunks that are compressed or wait for their upload, besides one of each layer.
    pub chunks: usize,
    /// What waits for its uploads, or was sent and is kept for another try, of all layers together.
    pub sent: usize,
    /// The same of one layer: more is made again after a failed upload.
    pub sent_of_layer: usize,
}

/// With no limit.
const USUAL: Room = Room {
    chunks: 48 << 20,
    sent: 64 << 20,
    sent_of_layer: 32 << 20,
};

/// The part of a limited memory that content may have. The rest is BuildKit's, some 70 MB, and what the kernel has read of programs and
/// files. Where that finds no room, all of it is read again and again, and a push that takes seconds takes minutes.
const PART: u64 = 8;

impl Room {
    /// For a step whose share of the builder's memory is limited to so many bytes.
    pub(crate) fn of(limit: Option<u64>) -> Self {
        let Some(limit) = limit else {
            return USUAL;
        };
        let all = (USUAL.chunks + USUAL.sent) as u64;
        let room = (limit / PART).min(all);
        let part = |usual: usize| {
            let part = (usual as u64).saturating_mul(room) / all;
            usize::try_from(part).unwrap_or(usual)
        };
        Self {
            chunks: part(USUAL.chunks),
            sent: part(USUAL.sent),
            sent_of_layer: part(USUAL.sent_of_layer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_a_limited_memory_is_used() {
        let gigabyte = 1 << 30;
        for limit in [None, Some(gigabyte), Some(u64::MAX)] {
            assert_eq!(Room::of(limit), USUAL, "{limit:?}");
        }
        let small = Room::of(Some(112 << 20));
        let expected = Room {
            chunks: 6 << 20,
            sent: 8 << 20,
            sent_of_layer: 4 << 20,
        };
        assert_eq!(small, expected);
        assert_eq!(Room::of(Some(0)).sent, 0);
    }
}
