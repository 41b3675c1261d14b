//! A network that fails without a word: nothing ends, nothing comes.
//!
//! In: how long a stream has waited for an answer, and another way to the API server. Out: [`Silence`],
//! once it is sure. Two signs that fail together are a network that is gone; one alone may be a
//! node that is busy, and is given [`LONGEST`].

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::api::ApiError;
use super::client::Cluster;
use super::tunnel::Tunnel;

/// buildx pings every 5 s. With the time that its next ping takes and the other sign this stays below 10 s.
const SUSPICIOUS: Duration = Duration::from_millis(2500);
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// No node is busy for longer. It takes the cluster 40 s to find out that one is gone
/// (<https://kubernetes.io/docs/reference/node/node-status/#heartbeats>).
const LONGEST: Duration = Duration::from_secs(30);

const EVERY: Duration = Duration::from_millis(250);
/// While the API answers, it is not asked more often.
const ASKED_EVERY: Duration = Duration::from_secs(2);

/// What does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// Neither the stream nor the API server.
    Network,
    /// The stream, while the API server does.
    Node,
}

/// Ends when nothing more can be expected of a stream.
pub(super) async fn noticed(tunnel: &Tunnel, cluster: &Cluster) -> Silence {
    let mut asked: Option<Instant> = None;
    loop {
        sleep(EVERY).await;
        let is_silent = |least| tunnel.silence().is_some_and(|silence| silence >= least);
        let is_early = asked.is_some_and(|at| at.elapsed() < ASKED_EVERY);
        if is_early || !is_silent(SUSPICIOUS) {
            continue;
        }
        asked = Some(Instant::now());
        // No pod has this label: that there is an answer is what counts.
        let answer = timeout(ANSWERED_WITHIN, cluster.pods("app=none")).await;
        let unreachable = matches!(answer, Err(_) | Ok(Err(ApiError::Unreachable { .. })));
        // It may have come back meanwhile; and this process may have been stopped for a while, after
        // which what has come is read first.
        if unreachable && is_silent(SUSPICIOUS) {
            return Silence::Network;
        }
        if is_silent(LONGEST) {
            return Silence::Node;
        }
    }
}
