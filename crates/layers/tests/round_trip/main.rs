//! Trees as BuildKit has them, on an overlay: compared, packed, unpacked by an independent reader, and compared again.
//!
//! They mount, make devices and set owners, so they need root on Linux.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test starts unpackers and makes files; a panic is its failure"
)]

mod cases;
mod change;
mod generated;
mod hostile;
mod image;
mod snapshot;
mod unpack;
