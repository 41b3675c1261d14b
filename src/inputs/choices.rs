//! The inputs that are one of a closed set; the names stand in the table of [`super::spec`].

/// The builder that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The best that is there.
    #[default]
    Auto,
    /// The best on this machine.
    Local,
    Docker,
    DockerContainer,
    /// In a cluster.
    Kubernetes,
}

/// What to do when the cluster can't build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Build on this machine.
    Local,
    Fail,
}

/// The cache that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheMode {
    /// The image's layers.
    Min,
    /// The layers of all stages.
    Max,
}

/// The compression that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    #[default]
    Auto,
    Gzip,
    Zstd,
    Estargz,
    Uncompressed,
}

impl Compression {
    /// BuildKit's name of it; none for [`Self::Auto`].
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Estargz => Some("estargz"),
            Self::Uncompressed => Some("uncompressed"),
        }
    }
}
