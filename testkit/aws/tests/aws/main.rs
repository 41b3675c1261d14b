//! The stand-in before the records of how Amazon behaves, and before real clients: the SDK, buildx, BuildKit.
//!
//! Needs the rig, which starts it: `make e2e`, or
//! `cargo run -p rig -- exec --aws -- cargo test --workspace --test aws`.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's failure"
)]

mod api;
mod build;
mod manners;
mod oidc;
mod public;
mod wire;
