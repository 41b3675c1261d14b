//! The rows and columns of the matrix: what a run asks of registries, and what can go wrong with it.

use crate::faulty::{BASE_LAYER, Fault};

/// Begins the agent of the push engine's requests, and not of BuildKit's or buildx's.
const ENGINE: &str = "fast-ecr-push/";

/// Who pushes the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pusher {
    Engine,
    BuildKit,
}

impl Pusher {
    pub(super) const ALL: [Self; 2] = [Self::Engine, Self::BuildKit];
}

/// Which way content goes in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    None,
    Sent,
    Received,
}

/// What is built for a request to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Build {
    /// The same small image each time, which is pushed from the builder's cache.
    Cached,
    /// A new layer of so many bytes.
    New(usize),
    /// The small image, with a cache in the registry.
    WithCache,
    /// A small image, on a builder of its own that has nothing yet.
    Pulled,
    /// The same, with a cache in the registry. A BuildKit that reads a cache from a registry that never answers builds nothing else
    /// (`combinedCacheManager.Query` has the scheduler's lock), so that no other run may use it.
    PulledWithCache,
}

/// A request of a run.
#[derive(Debug)]
pub(super) struct Request {
    pub name: &'static str,
    /// Its head holds all of them.
    pub words: &'static [&'static str],
    /// It comes after one whose head holds all of these.
    pub after: &'static [&'static str],
    pub content: Content,
    /// Whether its answer names a digest.
    pub has_digest: bool,
    pub build: Build,
}

impl Request {
    const fn new(name: &'static str, words: &'static [&'static str], content: Content) -> Self {
        Self {
            name,
            words,
            after: &[],
            content,
            has_digest: false,
            build: Build::Cached,
        }
    }

    const fn with_digest(self) -> Self {
        Self {
            has_digest: true,
            ..self
        }
    }

    const fn of(self, build: Build) -> Self {
        Self { build, ..self }
    }

    const fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }
}

/// So large is a layer whose upload begins before it is packed (bytes). Packed, with its headers, it is more than the step keeps of a layer
/// (`sent_of_layer` of its room), so that no later try finds it whole, however slow the machine is.
const LARGE: usize = 32 << 20;

/// What the push engine asks.
const OF_ENGINE: &[Request] = &[
    Request::new("token", &[ENGINE, "GET /token"], Content::Received),
    Request::new(
        "image before: `GET` manifest",
        &[ENGINE, "GET /v2/", "/manifests/latest"],
        Content::Received,
    ),
    Request::new(
        "`HEAD` base layer",
        &[ENGINE, "HEAD /v2/", BASE_LAYER],
        Content::None,
    )
    .with_digest(),
    Request::new(
        "`HEAD` new blob",
        &[ENGINE, "HEAD /v2/", "/blobs/sha256:"],
        Content::None,
    )
    .with_digest(),
    Request::new(
        "`POST` mount of a base layer",
        &[ENGINE, "POST /v2/", "mount="],
        Content::None,
    ),
    Request::new(
        "`POST` upload",
        &[ENGINE, "POST /v2/", "/blobs/uploads/ HTTP"],
        Content::None,
    )
    .of(Build::New(LARGE)),
    Request::new("`PATCH` layer", &[ENGINE, "PATCH /v2/"], Content::Sent).of(Build::New(LARGE)),
    Request::new(
        "`PUT` blob",
        &[ENGINE, "PUT /v2/", "digest="],
        Content::Sent,
    )
    .with_digest(),
    Request::new(
        "`PUT` manifest",
        &[ENGINE, "PUT /v2/", "/manifests/sha256:"],
        Content::Sent,
    )
    .with_digest(),
    Request::new(
        "`PUT` tag",
        &[ENGINE, "PUT /v2/", "/manifests/1 "],
        Content::Sent,
    )
    .with_digest(),
    Request::new(
        "`GET` manifest, read back",
        &[ENGINE, "GET /v2/", "/manifests/1 "],
        Content::Received,
    )
    .after(&[ENGINE, "PUT /v2/", "/manifests/1 "])
    .with_digest(),
];

/// What BuildKit and buildx ask where BuildKit pushes.
const OF_BUILDKIT: &[Request] = &[
    Request::new(
        "base image: token",
        &["GET /token", "busybox"],
        Content::Received,
    ),
    Request::new(
        "base image: `HEAD` manifest",
        &["HEAD /v2/rig/busybox/manifests/"],
        Content::None,
    )
    .with_digest(),
    Request::new(
        "base image: `GET` manifest",
        &["GET /v2/rig/busybox/manifests/"],
        Content::Received,
    )
    .with_digest()
    .of(Build::Pulled),
    Request::new(
        "base image: `GET` blob",
        &["GET /v2/rig/busybox/blobs/"],
        Content::Received,
    )
    .with_digest()
    .of(Build::Pulled),
    Request::new("token", &["GET /token", "faults%2F"], Content::Received),
    Request::new(
        "`HEAD` blob",
        &["HEAD /v2/faults/", "/blobs/"],
        Content::None,
    )
    .with_digest(),
    Request::new("`POST` upload", &["POST /v2/faults/"], Content::None),
    Request::new("`PATCH` layer", &["PATCH /v2/faults/"], Content::Sent),
    Request::new("`PUT` blob", &["PUT /v2/faults/", "digest="], Content::Sent).with_digest(),
    Request::new(
        "`HEAD` manifest",
        &["HEAD /v2/faults/", "/manifests/"],
        Content::None,
    )
    .with_digest(),
    Request::new(
        "`PUT` manifest",
        &["PUT /v2/faults/", "/manifests/"],
        Content::Sent,
    )
    .with_digest(),
    Request::new(
        "cache: `HEAD` manifest",
        &["HEAD /v2/cache/", "/manifests/"],
        Content::None,
    )
    .with_digest()
    .of(Build::PulledWithCache),
    Request::new(
        "cache: `PUT` blob",
        &["PUT /v2/cache/", "digest="],
        Content::Sent,
    )
    .with_digest()
    .of(Build::WithCache),
    Request::new(
        "cache: `PUT` manifest",
        &["PUT /v2/cache/", "/manifests/"],
        Content::Sent,
    )
    .with_digest()
    .of(Build::WithCache),
];

/// The requests of a run.
pub(super) fn requests(pusher: Pusher) -> &'static [Request] {
    match pusher {
        Pusher::Engine => OF_ENGINE,
        Pusher::BuildKit => OF_BUILDKIT,
    }
}

/// What can go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Status(u16),
    Throttled,
    RetryAfter,
    Expired,
    Denied,
    ResetBefore,
    ResetDuring,
    ResetAfter,
    Slow,
    Silence,
    OtherDigest,
    Huge,
    Redirect,
}

use Trouble::{
    Denied, Expired, Huge, OtherDigest, Redirect, ResetAfter, ResetBefore, ResetDuring, RetryAfter,
    Silence, Slow, Status, Throttled,
};

impl Trouble {
    const ALL: [Self; 16] = [
        Status(500),
        Status(502),
        Status(503),
        Status(504),
        Throttled,
        RetryAfter,
        Expired,
        Denied,
        ResetBefore,
        ResetDuring,
        ResetAfter,
        Slow,
        Silence,
        OtherDigest,
        Huge,
        Redirect,
    ];

    /// Those that are worth a run where each request is broken: of the statuses that are alike one, and nothing that only takes time.
    const LASTING: [Self; 10] = [
        Status(503),
        RetryAfter,
        Expired,
        Denied,
        ResetBefore,
        ResetAfter,
        Silence,
        OtherDigest,
        Huge,
        Redirect,
    ];

    pub(super) fn name(self) -> String {
        let name = match self {
            Status(status) => return status.to_string(),
            Throttled => "429",
            RetryAfter => "429, `Retry-After`",
            Expired => "401, expired token",
            Denied => "403",
            ResetBefore => "reset before",
            ResetDuring => "reset during",
            ResetAfter => "reset after",
            Slow => "slow",
            Silence => "silence",
            OtherDigest => "wrong digest",
            Huge => "huge answer",
            Redirect => "redirect",
        };
        name.to_owned()
    }

    /// It, as it happens to a request.
    ///
    /// # Errors
    /// Why it can't.
    pub(super) fn fault(self, request: &Request) -> Result<Fault, &'static str> {
        let is_received = request.content == Content::Received;
        let has_content = request.content != Content::None;
        Ok(match self {
            Status(status) => Fault::Status(status),
            Throttled => Fault::Answer(429, "", TOO_MANY),
            RetryAfter => Fault::Answer(429, "Retry-After: 2\r\n", TOO_MANY),
            Expired => Fault::Challenge,
            Denied => Fault::Answer(403, "", DENIED),
            ResetBefore => Fault::Reset,
            ResetDuring | Slow if !has_content => return Err("has no content"),
            ResetDuring if is_received => Fault::ResetAnswer(20),
            ResetDuring => Fault::ResetAfter(20),
            ResetAfter => Fault::ResetAnswer(0),
            Slow if request.name.ends_with("blob") && is_received => Fault::SlowAnswer(500_000),
            Slow if is_received => Fault::SlowAnswer(300),
            Slow if matches!(request.build, Build::New(_)) => Fault::Slow(4 << 20),
            // Either a small blob or one of a megabyte is the first.
            Slow if matches!(request.build, Build::WithCache) => Fault::Slow(64 << 10),
            Slow => Fault::Slow(400),
            Silence => Fault::Silent,
            OtherDigest if !request.has_digest => return Err("its answer names no digest"),
            OtherDigest => Fault::OtherDigest,
            Huge if request.words.iter().any(|word| word.starts_with("HEAD ")) => {
                return Err("its answer has no body");
            }
            Huge => Fault::Huge,
            Redirect => Fault::Redirect,
        })
    }

    /// One of these says in an error what happened.
    pub(super) fn causes(self) -> &'static [&'static str] {
        match self {
            Status(500) => &["500"],
            Status(502) => &["502"],
            Status(503) => &["503"],
            Status(504) => &["504"],
            Status(_) => &[],
            Throttled | RetryAfter => &["429", "TOOMANYREQUESTS", "toomanyrequests"],
            Expired => &["401", "authorization failed", "no token"],
            Denied => &["403", "denied"],
            ResetBefore | ResetDuring | ResetAfter => &[
                "connection reset",
                "EOF",
                "broken pipe",
                "closed network connection",
                "the connection broke",
            ],
            Slow => &["takes only", "silent"],
            Silence => &["silent"],
            OtherDigest => &["digest", "sha256:000", "blob unknown"],
            Huge => &["bytes", "size", "limit"],
            Redirect => &["redirect", "307"],
        }
    }
}

const TOO_MANY: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}"#;
const DENIED: &str =
    r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;

/// How long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lasting {
    /// For one request.
    Once,
    /// For all of them.
    Always,
}

impl Lasting {
    /// The columns of its table.
    pub(super) fn troubles(self) -> &'static [Trouble] {
        match self {
            Self::Once => &Trouble::ALL,
            Self::Always => &Trouble::LASTING,
        }
    }

    pub(super) fn times(self) -> usize {
        match self {
            Self::Once => 1,
            Self::Always => usize::MAX,
        }
    }
}
