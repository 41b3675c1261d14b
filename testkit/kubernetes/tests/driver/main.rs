//! The action on a Kubernetes builder: buildx's real driver and a real BuildKit.
//!
//! [`any_cluster`] runs on the API stand-in and, by `make test-kubernetes`, on any real cluster.
//! [`stand_in`] needs what only the stand-in does: troubles by script, refused credentials, records
//! of every call. On the rig: `rig exec -- cargo test --workspace --test driver`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a test that can't go on has failed"
)]

mod any_cluster;
#[path = "../../../../tests/action/authority.rs"]
mod authority;
mod cluster;
mod load;
mod stand_in;
#[path = "../../../../tests/e2e/traffic.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod traffic;
