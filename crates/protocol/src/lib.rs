//! What the action and its build step say to each other.
//!
//! The action writes a [`Job`] into the step's build context, and [`Secrets`] into a build secret. The step prints [`Event`]s, one a
//! line, which reach the action through BuildKit's log. Both sides come from the same release, so [`VERSION`] is checked for
//! equality.

mod event;
mod job;
mod secrets;

pub use event::{
    Event, EventError, LARGEST_LINE, Layer, LayerSource, MOST_PACKAGES, PackageChange,
    PackageState, Published, Summary, parse, render,
};
pub use job::{
    Base, BaseImage, Compression, Destination, IndexJob, Job, LayerTimes, RemovedInstruction,
};
pub use secrets::{Login, Proxies, Secrets};

/// Version of the protocol.
pub const VERSION: u32 = 6;

/// File name of the [`Job`] in the step's build context.
pub const JOB_FILE: &str = "job.json";

/// File name of an [`IndexJob`] there, in place of a [`Job`].
pub const INDEX_JOB_FILE: &str = "index.json";

/// Id of the build secret with the [`Secrets`]. BuildKit asks all sessions of a build for a secret, so that a step of the user's build
/// could mount it under a name that it can guess.
#[must_use]
pub fn secrets_id(nonce: &str) -> String {
    format!("fast-ecr-push-{nonce}")
}

/// Where BuildKit mounts that secret.
pub const SECRETS_PATH: &str = "/run/secrets/fast-ecr-push-step";

/// Directories at the root of an image that BuildKit mounts something on while a step runs
/// (<https://github.com/moby/buildkit/blob/v0.32.0/executor/oci/mounts.go>).
pub const MOUNTED: [&str; 3] = ["dev", "proc", "sys"];

/// Files in `/etc` that BuildKit mounts then. It makes the directory and empty files where they are missing.
pub const NETWORK_FILES: [&str; 2] = ["hosts", "resolv.conf"];

/// User and group that own `/etc` where it was made for the step, since the image has none. Users of packages have lower numbers.
pub const OWNER_OF_MISSING: (u32, u32) = (64_123, 63_211);

/// Where the step finds the image's root file system, unless it runs in the image.
pub const IMAGE_PATH: &str = "/final";

/// Where the step finds the root file system that the image is compared with.
pub const BASE_PATH: &str = "/base";

/// Where a step that runs in the image has a copy of the image's `etc`.
pub const HIDDEN_PATH: &str = "/hidden";

/// Where the step listens, and BuildKit pushes the image's configuration to. In digits: a name may lead to who listens at `::1` first.
pub const RECEIVER_HOST: &str = "127.0.0.1";

/// Repository that the step plays on loopback for the image's configuration. Below it, the hexadecimal digits of the base image's
/// digest where the job has a [`BaseImage`].
#[must_use]
pub fn configuration_repository(nonce: &str) -> String {
    format!("fast-ecr-push/{nonce}")
}
