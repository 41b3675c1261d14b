//! How often a kind of request may be sent: a token bucket, and the quotas of Amazon ECR.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use image::Registry;
use tokio::time::Instant;

/// A token bucket; who finds it empty waits in line.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// Tokens, below zero by those that are waited for; and when that was so.
    state: Mutex<(f64, Instant)>,
}

/// Requests per second, and at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) at_once: f64,
}

/// The rates of the requests that change something. Quotas hold for an account in a region, and other jobs push, too:
/// one job keeps to a half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quotas {
    /// `POST` of an upload, ECR's `InitiateLayerUpload`.
    pub(crate) begin: Rate,
    /// `PUT` of a blob, `CompleteLayerUpload`.
    pub(crate) complete: Rate,
    /// `PUT` of a manifest, `PutImage`.
    pub(crate) manifest: Rate,
}

/// InitiateLayerUpload 100, CompleteLayerUpload 100, PutImage 10 per second:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>.
const ECR: Quotas = Quotas {
    begin: half_of(100.0),
    complete: half_of(100.0),
    manifest: half_of(10.0),
};

/// InitiateLayerUpload 200, CompleteLayerUpload 10, PutImage 10 per second:
/// <https://docs.aws.amazon.com/AmazonECR/latest/public/public-service-quotas.html>.
const ECR_PUBLIC: Quotas = Quotas {
    begin: half_of(200.0),
    complete: half_of(10.0),
    manifest: half_of(10.0),
};

const fn half_of(per_second: f64) -> Rate {
    let half = per_second / 2.0;
    Rate {
        per_second: half,
        at_once: half,
    }
}

impl Quotas {
    /// `None` where no quota is known.
    pub(crate) fn of(registry: &Registry) -> Option<Self> {
        match registry {
            Registry::Ecr(_) => Some(ECR),
            Registry::EcrPublic { .. } => Some(ECR_PUBLIC),
            Registry::Other { .. } => None,
        }
    }
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            state: Mutex::new((rate.at_once, Instant::now())),
        }
    }

    /// Waits for a token.
    pub(crate) async fn take(&self) {
        let wait = self.reserve(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn reserve(&self, now: Instant) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = *state;
        let passed = now.saturating_duration_since(since).as_secs_f64();
        let tokens = (tokens + passed * self.rate.per_second).min(self.rate.at_once) - 1.0;
        *state = (tokens, now);
        Duration::from_secs_f64((-tokens / self.rate.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_the_rate_wait_in_line() {
        let bucket = Bucket::new(Rate {
            per_second: 10.0,
            at_once: 2.0,
        });
        let start = Instant::now();
        let waits: Vec<u128> = (0..4).map(|_| bucket.reserve(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200]);
        let later = start + Duration::from_secs(60);
        let waits: Vec<u128> = (0..3).map(|_| bucket.reserve(later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100]);
    }

    #[test]
    fn only_amazon_has_quotas() {
        let rates = |host: &str| Quotas::of(&Registry::from_host(host));
        let ecr = rates("123456789012.dkr.ecr.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((ecr.begin.per_second, ecr.manifest.per_second), (50.0, 5.0));
        assert_eq!(rates("public.ecr.aws").unwrap().complete.per_second, 5.0);
        assert_eq!(rates("127.0.0.1:5000"), None);
    }
}
