//! buildx: how it is called, and every text format that it reads or writes.
//!
//! Command lines ([`command`], [`create`]), progress ([`rawjson`], shown by [`progress`]), the metadata file ([`metadata`]), `imagetools`,
//! instance files, and what its errors mean ([`catalogue`], [`failure`]). Nothing here knows where a time is recorded or how a
//! builder is made: progress goes to the caller, status by status.

mod accelerated;
#[cfg(test)]
#[path = "../../tests/any_bytes/buildx.rs"]
pub(crate) mod any_bytes;
pub(crate) mod bake;
mod budget;
mod build;
pub(crate) mod cache;
mod cache_step;
pub(crate) mod catalogue;
pub(crate) mod checks;
pub(crate) mod command;
pub(crate) mod create;
pub(crate) mod failure;
mod final_lines;
pub(crate) mod imagetools;
mod index;
mod instance;
pub(crate) mod metadata;
pub(crate) mod progress;
pub(crate) mod rawjson;
mod redact;
pub(crate) mod retry;
pub(crate) mod silence;
mod targets;
mod write_cache;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::process::Command;

pub(crate) use accelerated::{Accelerated, NotPushed, Reason};
pub(crate) use build::{Build, BuildError};
pub(crate) use instance::{add_options, remove_instance};

/// How buildx is called.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub program: PathBuf,
    /// Variables of every call. `BUILDX_CONFIG` among them is a folder of this run alone.
    pub env: BTreeMap<String, OsString>,
}

impl Tool {
    pub(crate) fn command<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program).args(args);
        command.env = self.env.clone();
        command
    }
}
