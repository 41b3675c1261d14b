//! Reads Dockerfiles as BuildKit's frontend does, and says what a build needs.
//!
//! - [`Dockerfile::read`]: stages and instructions, typed, with their lines.
//! - [`Dockerfile::resolve`]: the stages, images and named contexts that a target needs, arguments replaced.
//! - [`Graph::configuration`]: the Dockerfile that gives the target's image configuration without its files.
//! - [`Graph::reach`]: whether the target's copies can change some directories.
//! - [`Graph::steps`]: what each step's result depends on, for keys.
//! - [`Ignore`] reads `.dockerignore`.
//!
//! Everything that is not understood is [`Unsupported`], with a line and a reason: nothing is guessed, and the caller leaves
//! such a build to BuildKit alone. A reader that is wrong would make an image that is wrong.
//!
//! Crates that read Dockerfiles stop before the hard parts. `parse-dockerfile` 0.1.9, the best kept, finds a here-document only
//! where it is a command's first word and only the first one, takes `\\\\` at a line's end for a continuation, leaves `ENV`, `LABEL`
//! and `ARG` and the quotes of flags unread, refuses two stages of one name, and has no variables.
mod arguments;
mod configuration;
mod directives;
mod environment;
mod file;
mod flags;
mod frontend;
mod graph;
mod ignore;
mod instruction;
mod lines;
mod mount;
mod pattern;
mod platform;
mod reach;
mod reference;
mod step;
mod substitution;
mod unsupported;
mod word;

pub use configuration::{Configuration, Entry, History, Removed};
pub use file::{Dockerfile, Global, Stage, Syntax};
pub use graph::{Build, Graph, Image, Input, Node, Origin};
pub use ignore::{IGNORE_FILE, Ignore, ignore_file_beside};
pub use instruction::{
    Add, Arg, Command, Copy, Document, Files, Healthcheck, Instruction, Kind, Run,
};
pub use lines::{Heredoc, Lines};
pub use mount::{Mount, MountFields, MountType};
pub use platform::Platform;
pub use reach::Reach;
pub use step::{Source, Step, Value};
pub use unsupported::{Reason, Unsupported};
