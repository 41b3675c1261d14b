//! The runner's side: workflow commands, file commands, and facts of the workflow run.
//!
//! Formats: <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>
//! and, for the exact escaping and limits, the runner's `ActionCommand.cs` and
//! `FileCommandManager.cs` (<https://github.com/actions/runner/tree/main/src/Runner.Worker>).

pub(crate) mod command;
pub(crate) mod files;
pub(crate) mod origin;
pub(crate) mod trust;
pub(crate) mod workflow;
