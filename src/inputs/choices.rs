//! The inputs that are one of a closed set. Users type the variants' names, in lower case.

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::value::Choice;

/// The builder that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Driver {
    /// The best available one.
    #[default]
    Auto,
    /// The best one on this machine.
    Local,
    Docker,
    DockerContainer,
    /// In a cluster.
    Kubernetes,
}

/// What to do when the cluster cannot build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Fallback {
    /// Build on this machine.
    Local,
    Fail,
}

/// What to do if an image exists under an immutable tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum IfExists {
    /// Fail before the build.
    Fail,
    /// Build, and accept the existing image if it has the same digest.
    #[default]
    Same,
    /// End with the existing image.
    Skip,
}

/// The cache that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Cache {
    /// The one that suits the builder.
    #[default]
    Auto,
    /// In the image itself.
    Inline,
    Registry,
    /// GitHub's cache service.
    Gha,
    None,
}

/// How much of the build a cache holds
/// (<https://docs.docker.com/build/cache/backends/#cache-mode>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum CacheMode {
    /// The image's layers.
    Min,
    /// The layers of all stages.
    Max,
}

/// The compression that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Compression {
    #[default]
    Auto,
    Gzip,
    Zstd,
    Estargz,
    Uncompressed,
}

/// Whether the push engine pushes instead of BuildKit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Accelerate {
    /// Where it can, and the job ends sooner with it.
    #[default]
    Auto,
    /// An error where it can't.
    On,
    Off,
}

/// Which times files and directories have in the push engine's layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum LayerTimes {
    /// As the build left them.
    Keep,
    /// One time for what packages own.
    #[default]
    Packages,
}

/// The network of `RUN` steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Network {
    Default,
    Host,
    None,
}

impl Choice for Driver {
    fn note(text: &str) -> &'static str {
        match text {
            "remote" | "cloud" => {
                "; a builder that already runs elsewhere is not supported: use `kubernetes` with a persistent `builder`"
            }
            _ => "",
        }
    }
}

impl Choice for Fallback {}
impl Choice for IfExists {}
impl Choice for Cache {}
impl Choice for Accelerate {}
impl Choice for LayerTimes {}
impl Choice for CacheMode {}
impl Choice for Compression {}
impl Choice for Network {}

impl Compression {
    /// BuildKit's name for it; none for [`Self::Auto`].
    pub(crate) fn name(self) -> Option<&'static str> {
        (self != Self::Auto).then(|| self.into())
    }
}
