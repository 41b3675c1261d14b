//! What the step is to do. Holds no secret: it lies in a build context.

use serde::{Deserialize, Serialize};

/// Everything that the step needs to know, but for logins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// [`crate::VERSION`].
    pub version: u32,
    /// Random lower-case letters and digits, new in each run. They keep BuildKit from taking the step from its cache, and other steps
    /// that reach BuildKit's loopback from guessing the repository of [`crate::configuration_repository`].
    pub nonce: String,
    /// Where the image goes. All get the same manifest.
    pub destinations: Vec<Destination>,
    pub compression: Compression,
    /// What the image starts from.
    pub base: Base,
    /// The image's platform, if it is one of several: `linux/arm64`. An image before it is looked for in an index.
    pub platform: Option<String>,
    /// Instructions of the Dockerfile that the configuration's history has, at its end.
    pub kept: usize,
    pub times: LayerTimes,
    /// Tags of the first destination under which an earlier image may be, the nearest first.
    pub previous: Vec<String>,
    /// Instructions of the Dockerfile that the configuration does not know, in order.
    pub removed: Vec<RemovedInstruction>,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
    /// Seconds that a registry may take for an answer. Default: what the step finds right.
    pub answer_within: Option<u64>,
    /// Threads that compress. Default: one per core.
    pub threads: Option<usize>,
    /// The step's share of the memory to which the builder is limited (bytes). Default: no limit.
    pub memory: Option<u64>,
}

/// To write the index of images that other steps have pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexJob {
    /// [`crate::VERSION`].
    pub version: u32,
    /// That of the images' jobs. It keeps BuildKit from taking the step from its cache.
    pub nonce: String,
    /// Where the images are, and the tags that the index gets.
    pub destinations: Vec<Destination>,
    pub media_type: String,
    /// Text of the index.
    pub index: String,
    /// Digests of the images that it names.
    pub images: Vec<String>,
    /// As in a [`Job`].
    pub answer_within: Option<u64>,
}

/// A repository that gets the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Host of the registry, with its port.
    pub registry: String,
    pub repository: String,
    /// None: the image is pushed by digest only.
    pub tags: Vec<String>,
    /// Talk HTTP without TLS.
    pub is_plain: bool,
    /// Repositories of the same registry that may hold layers of the base image.
    pub mount_from: Vec<String>,
}

/// What the image starts from: the tree to compare with, and the layers that come first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Base {
    /// The image of the configuration, with the layers that `WORKDIR` made. Its tree is mounted.
    Configuration,
    /// Nothing, and nothing is mounted.
    Scratch,
    /// An image in a registry, whose tree is mounted. The Engine's classic store pushes the configuration, and no longer knows
    /// how layers were compressed.
    Registry(BaseImage),
}

/// The repository of a base image. Its digest is part of the name under which the configuration is pushed
/// ([`crate::configuration_repository`]), since BuildKit says it while it builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseImage {
    /// Host of the registry, with its port.
    pub registry: String,
    pub repository: String,
    /// Talk HTTP without TLS.
    pub is_plain: bool,
    /// The image's, in Docker's words. Default: the builder's.
    pub architecture: Option<String>,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "method")]
pub enum Compression {
    /// Levels 1 to 22.
    Zstd { level: i32 },
    /// Levels 0 to 9.
    Gzip { level: u32 },
}

/// Which times files and directories have in layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerTimes {
    /// As they are in the image.
    Keep,
    /// One time for what packages own.
    Packages,
}

/// An instruction that made layers and is not in the configuration's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovedInstruction {
    /// How many instructions that the configuration does know come after it.
    pub followed_by: usize,
    /// As the history shows it: `RUN pip install -r requirements.txt`.
    pub text: String,
}
