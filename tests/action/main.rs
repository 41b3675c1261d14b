//! Tests of the whole binary, without network and without Docker.
//!
//! The binary is the real one; only what can't run here is a stand-in: buildx (a script that
//! replays recorded streams), the Engine's API, those of Amazon ECR, AWS STS and GitHub, and GitHub's
//! issuer of tokens.
//!
//! - [`runner`], [`ran`], [`recording`]: the harness; [`engine`], [`ecr`], [`sts`]: the stand-ins, [`http`] beneath
//! - [`inputs`]: what is wrong with them, before anything is started
//! - [`build`]: a build that goes well, its command line, its log
//! - [`cache`]: where it is kept, and what is said when there is none
//! - [`failure`]: builds, builders and registries that fail
//! - [`preflight`], [`retry`]: what is known before the build, and what is tried again
//! - [`report`]: outputs, summary, timings file
//! - [`compare`]: timings files of several runs
//! - [`history`]: earlier runs and comments, of the stand-in [`github`]
//! - [`cancel`]: signals, and what a killed run leaves; [`abandoned`]: what one leaves for which no post step comes
//! - [`session`], [`permission`], [`credentials`], [`registries`]: AWS credentials, logins; [`secrets`], [`canaries`]: that nothing secret gets out
//! - [`untrusted`]: that no text of a stranger's breaks out of log, summary, comment, outputs
//! - [`network`], [`authority`]: who goes through a proxy, who is trusted, where the Engine is
//! - [`plan`]: the command line
//! - [`workflows`], [`commands`]: what the documents show ([`pages`])
//! - [`release`]: the scripts of a release
//! - [`architecture`]: which module may use which; [`marks`]: pages that are generated in part
//! - [`faults`]: which tests prove how a run ends that something breaks
//! - [`examples`]: what examples/eks says, twice
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests; only functions marked as tests are exempt by themselves"
)]

mod abandoned;
mod architecture;
mod authority;
mod build;
mod cache;
mod canaries;
mod cancel;
mod commands;
mod compare;
mod credentials;
mod dockerfile;
mod ecr;
mod engine;
mod examples;
mod failure;
mod faults;
mod github;
mod history;
mod http;
mod inputs;
mod marks;
mod network;
mod pages;
mod permission;
mod plan;
mod preflight;
mod proxies;
mod proxy;
mod ran;
mod recording;
mod registries;
mod release;
mod report;
mod retry;
mod runner;
mod running;
mod secrets;
mod session;
mod sts;
mod tags;
mod untrusted;
mod workflows;
