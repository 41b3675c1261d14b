//! How much content may wait in memory.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Layers that are packed at a time. Whatever the others say, each has up to two chunks, a buffer of files and one of its upload:
    /// some 5 MB.
    pub layers: usize,
    /// Bytes of chunks that are compressed or wait for their upload, besides those.
    pub chunks: usize,
    /// Bytes that wait for their uploads, or were sent and are kept for another try, of all layers together.
    pub sent: usize,
    /// The same of one layer: more is made again after a failed upload.
    pub sent_of_layer: usize,
}

/// With no limit. A layer is an upload, and a connection to Amazon ECR carries some 26 MB/s: with these there is work for as many as two
/// cores can pack for.
const USUAL: Room = Room {
    layers: 12,
    chunks: 48 << 20,
    sent: 64 << 20,
    sent_of_layer: 32 << 20,
};

/// Content may have one of so many shares of a limited memory. BuildKit needs some 70 MB of the rest; in what is left the kernel keeps
/// what it has read of programs and files. Without room for that, it reads them from disk again and again, and a push of seconds takes
/// minutes.
const SHARES: u64 = 8;

/// What a layer takes that is packed (bytes).
const LAYER: u64 = 5 << 20;

impl Room {
    /// For a step whose share of the builder's memory is limited to so many bytes.
    pub(crate) fn of(limit: Option<u64>) -> Self {
        let Some(limit) = limit else {
            return USUAL;
        };
        let all = (USUAL.chunks + USUAL.sent) as u64;
        let room = (limit / SHARES).min(all);
        let layers = usize::try_from(limit / SHARES / LAYER).unwrap_or(USUAL.layers);
        let part = |usual: usize| {
            let part = (usual as u64).saturating_mul(room) / all;
            usize::try_from(part).unwrap_or(usual)
        };
        Self {
            layers: layers.clamp(1, USUAL.layers),
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
            layers: 2,
            chunks: 6 << 20,
            sent: 8 << 20,
            sent_of_layer: 4 << 20,
        };
        assert_eq!(small, expected);
        let none = Room::of(Some(0));
        assert_eq!((none.layers, none.sent), (1, 0));
    }
}
