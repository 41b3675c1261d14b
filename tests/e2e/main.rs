//! End-to-end tests: the real binary, real buildx, real BuildKit, a real registry.
//!
//! They need the rig and are started by it: `make test`, or
//! `cargo run -p rig -- exec --aws --classic -- cargo test --workspace --test e2e`.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test starts processes and reads the rig's variables; a panic is its failure; what it measures is printed"
)]

mod abandoned;
mod action;
#[path = "../action/authority.rs"]
mod authority;
mod aws;
mod builders;
mod cache;
mod cache_ecr;
mod cancel;
mod cancel_ecr;
mod dist;
mod ecr;
mod exit;
mod failures;
mod faults;
mod faulty;
mod hostile;
mod image;
mod inputs;
mod late;
mod leaks;
mod load;
mod machine_faults;
mod main_job;
#[path = "../action/marks.rs"]
mod marks;
mod memory;
mod network;
mod newcomer;
mod oidc;
#[path = "../action/pages.rs"]
#[expect(dead_code, reason = "the tests without network use more of it")]
mod pages;
mod paths;
mod proxies;
#[path = "../action/proxy.rs"]
mod proxy;
mod push_engine;
mod push_engine_builds;
mod push_engine_faults;
mod push_engine_platforms;
mod registry;
mod rig;
mod runner;
mod silence;
mod stopwatch;
#[expect(dead_code, reason = "the bench uses more of it")]
mod traffic;
mod trees;
mod unchanged;
