//! The runner and its machine: environment, workflow commands and files, log, mounts, private files.
//!
//! Formats: <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>; exact escaping and limits: the runner's
//! `ActionCommand.cs` and `FileCommandManager.cs` (<https://github.com/actions/runner/tree/main/src/Runner.Worker>).

mod address;
pub(crate) mod command;
pub(crate) mod env;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod host;
pub(crate) mod log;
pub(crate) mod markdown;
pub(crate) mod mounts;
pub(crate) mod origin;
pub(crate) mod owner;
pub(crate) mod private;
pub(crate) mod redact;
pub(crate) mod trust;
pub(crate) mod visible;
pub(crate) mod workflow;

/// The `User-Agent` of all our requests.
pub(crate) const USER_AGENT: &str = concat!("fast-ecr-push/", env!("CARGO_PKG_VERSION"));
