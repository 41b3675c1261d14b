//! Detecting a network or a node that fails silently.
//!
//! In: how long a connection has waited for a reply, and a second path to the API server. Out: [`Unresponsive`]. If both fail, the network is
//! gone; one that fails alone may be a busy node, which gets [`LONGEST`].

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::api_error::ApiError;
use super::client::Cluster;
use super::tunnel::Tunnel;

/// buildx pings every 5 s. With its next ping and the check of the API server this stays below 10 s.
const SUSPICIOUS: Duration = Duration::from_millis(2500);
const API_TIMEOUT: Duration = Duration::from_secs(2);

/// No node is busy for longer. The cluster itself takes 40 s to detect that one is gone
/// (<https://kubernetes.io/docs/reference/node/node-status/#heartbeats>).
const LONGEST: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(250);
const API_POLL: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresponsive {
    /// Neither the builder nor the API server.
    Network,
    /// Only the builder.
    Node,
}

/// Resolves when no reply can be expected any more.
pub(super) async fn unresponsive(tunnel: &Tunnel, cluster: &Cluster) -> Unresponsive {
    let mut asked: Option<Instant> = None;
    loop {
        sleep(POLL).await;
        let waits = |least| tunnel.unanswered().is_some_and(|time| time >= least);
        let is_early = asked.is_some_and(|at| at.elapsed() < API_POLL);
        if is_early || !waits(SUSPICIOUS) {
            continue;
        }
        asked = Some(Instant::now());
        // No pod has this label: any answer will do.
        let answer = timeout(API_TIMEOUT, cluster.pods("app=none")).await;
        let unreachable = matches!(answer, Err(_) | Ok(Err(ApiError::Unreachable { .. })));
        // The reply may have come meanwhile; after a suspension of this process it is read first.
        if unreachable && waits(SUSPICIOUS) {
            return Unresponsive::Network;
        }
        if waits(LONGEST) {
            return Unresponsive::Node;
        }
    }
}
