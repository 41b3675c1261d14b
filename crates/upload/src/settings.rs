//! What the caller says about a registry, and how long is too long.

use std::time::Duration;

use crate::credentials::Credentials;
use crate::gate::Streams;

/// A registry to push to.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Host of its images, with a port if there is one.
    pub host: String,
    pub credentials: Credentials,
    /// Without TLS. A registry on loopback is always asked without.
    pub is_plain: bool,
    pub streams: Streams,
}

impl RegistrySettings {
    /// With TLS, without credentials, and the usual number of streams.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            credentials: Credentials::Anonymous,
            is_plain: false,
            streams: Streams::default(),
        }
    }
}

/// How long is too long, and how often is too often.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A connection, with proxy and TLS.
    pub connect: Duration,
    /// Bytes wait, and none is taken; or an answer has begun, and none comes.
    pub silence: Duration,
    /// The whole request is sent, and no answer comes. ghcr.io took 11 s for 700 MB
    /// (<https://github.com/GoogleContainerTools/jib/issues/4301>).
    pub answer: Duration,
    /// Bytes per second that a connection must take…
    pub floor: u64,
    /// …over so much time in which bytes waited.
    pub floor_window: Duration,
    /// Tries of a blob, a question or a manifest.
    pub tries: u32,
    /// Before the second try; doubled before each further one, with as much again at random.
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// The longest wait that a registry may ask for.
    pub longest_retry_after: Duration,
    /// How long a registry may deny, when it gets a manifest, that it has a blob which it has confirmed. Amazon ECR
    /// takes hundreds of milliseconds (<https://github.com/clowdhaus/ocync/pull/104>).
    pub blob_lag: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            answer: Duration::from_secs(120),
            floor: 128 * 1024,
            floor_window: Duration::from_secs(20),
            tries: 6,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(8),
            longest_retry_after: Duration::from_secs(60),
            blob_lag: Duration::from_secs(30),
        }
    }
}
