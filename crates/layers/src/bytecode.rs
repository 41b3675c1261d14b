//! What the header of Python's bytecode says about its source (<https://peps.python.org/pep-0552/>).

/// The time of what packages own: 1985-10-26 08:15 UTC, which npm gives to files for the same reason; ZIP can express it.
/// <https://github.com/npm/pacote/blob/v21.0.0/lib/util/tar-create-options.js>
pub const NORMAL: i64 = 499_162_500;

/// How much of bytecode is its header (bytes).
pub(crate) const HEADER: usize = 16;

/// What the header says about the source: the lowest 32 bits of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub modified: u32,
    pub size: u32,
}

impl Source {
    /// That of a source with this time (seconds since 1970) and size (bytes).
    pub(crate) fn new(modified: i64, size: u64) -> Self {
        let [.., a, b, c, d] = modified.to_be_bytes();
        let [.., e, f, g, h] = size.to_be_bytes();
        Self {
            modified: u32::from_be_bytes([a, b, c, d]),
            size: u32::from_be_bytes([e, f, g, h]),
        }
    }

    /// Changes the header of bytecode of this source: version (two bytes, then a carriage return and a line feed), flags, time, size. Headers
    /// with a hash instead of a time are left alone, as is what is no header.
    pub(crate) fn adapt(self, header: &mut [u8; HEADER]) {
        let [_, _, b'\r', b'\n', 0, 0, 0, 0, time @ .., s0, s1, s2, s3] = header else {
            return;
        };
        let [t0, t1, t2, t3] = *time;
        let noted = u32::from_le_bytes([t0, t1, t2, t3]);
        let is_fresh =
            noted == self.modified && u32::from_le_bytes([*s0, *s1, *s2, *s3]) == self.size;
        // What fits in 32 bits, as it is a constant.
        let [.., a, b, c, d] = NORMAL.to_be_bytes();
        let normal = u32::from_be_bytes([a, b, c, d]);
        if is_fresh {
            *time = normal.to_le_bytes();
        } else if noted == normal {
            // Out of date, and must not fit by chance.
            *time = (normal + 1).to_le_bytes();
        }
    }
}
