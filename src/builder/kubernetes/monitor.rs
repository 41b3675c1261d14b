//! A node during the build: renews its heartbeat and checks its pods.
//!
//! buildx may hang when its pod is gone; [`Monitor::lost`] does not. Every [`POLL`] the pods are listed, which buildx's own rights allow.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::boot::{self, MEMORY_HINT, Problem};
use super::client::Cluster;
use super::follow::show_log;
use super::orphans::RENEWED_EVERY;

const POLL: Duration = Duration::from_secs(3);

/// The pods are checked at least once in this time.
pub(super) const NEXT_CHECK: Duration = Duration::from_millis(3500);

/// Limit for reading the log of a lost pod, which delays the end of the build.
const LOG_TIMEOUT: Duration = Duration::from_secs(3);

/// The monitor of one node. It stops when this value is dropped.
#[derive(Debug)]
pub(super) struct Monitor {
    task: AbortHandle,
    name: String,
    pods: watch::Sender<Vec<Pod>>,
    lost: watch::Receiver<Option<Problem>>,
}

impl Monitor {
    /// Starts, without pods. The heartbeat is renewed if `may_renew`.
    pub(super) fn start(
        cluster: Cluster,
        name: &str,
        skew: SignedDuration,
        may_renew: bool,
    ) -> Self {
        let pods = watch::Sender::new(Vec::new());
        let lost = watch::Sender::new(None);
        let receiver = lost.subscribe();
        let task = Task {
            cluster,
            name: name.to_owned(),
            skew,
            may_renew,
            pods: pods.subscribe(),
        };
        Self {
            task: tokio::spawn(task.run(lost)).abort_handle(),
            name: name.to_owned(),
            pods,
            lost: receiver,
        }
    }

    /// Starts to check these pods, which are ready.
    pub(super) fn watch(&self, pods: Vec<Pod>) {
        self.pods.send_replace(pods);
    }

    /// Resolves when the pods are lost.
    pub(super) async fn lost(&self) -> (String, Problem) {
        let mut lost = self.lost.clone();
        let found = lost.wait_for(Option::is_some).await;
        match found.ok().and_then(|problem| problem.clone()) {
            Some(problem) => (self.name.clone(), problem),
            // The monitor was stopped.
            None => std::future::pending().await,
        }
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Task {
    cluster: Cluster,
    name: String,
    skew: SignedDuration,
    may_renew: bool,
    pods: watch::Receiver<Vec<Pod>>,
}

impl Task {
    async fn run(self, lost: watch::Sender<Option<Problem>>) {
        let every = RENEWED_EVERY.unsigned_abs();
        // At once if our clock differs from the server's: we wrote the first heartbeat.
        let mut renewed = self.skew.is_zero().then(Instant::now);
        let mut killed = Vec::new();
        loop {
            if self.may_renew && renewed.is_none_or(|at| at.elapsed() >= every) {
                let now = Timestamp::now().saturating_add(self.skew);
                match self
                    .cluster
                    .renew(&self.name, now.unwrap_or_default())
                    .await
                {
                    Ok(()) => renewed = Some(Instant::now()),
                    Err(error) => tracing::debug!("{error}"),
                }
            }
            sleep(POLL).await;
            if let Some(problem) = self.check(&mut killed).await {
                lost.send_replace(Some(problem));
                return;
            }
        }
    }

    /// The problem if all pods are lost, after logging the end of BuildKit's log. Warns once of each pod that was killed for its memory while
    /// others still run.
    async fn check(&self, killed: &mut Vec<String>) -> Option<Problem> {
        let before = self.pods.borrow().clone();
        if before.is_empty() {
            return None;
        }
        let now = self.cluster.pods(&format!("app={}", self.name)).await;
        // The build may go on without the API server.
        let now = now.inspect_err(|error| tracing::debug!("{error}")).ok()?.0;
        let same = |pod: &Pod| now.iter().find(|now| now.metadata.uid == pod.metadata.uid);
        let pods: Vec<_> = before.iter().map(|pod| (pod, same(pod))).collect();
        let losses = pods.iter().filter_map(|(pod, now)| boot::loss(pod, *now));
        let losses: Vec<Problem> = losses.collect();
        let is_lost = losses.len() == before.len();
        let cluster = self.cluster.with_timeout(LOG_TIMEOUT);
        for (before, now) in pods {
            let Some(now) = now else { continue };
            let name = now.metadata.name.clone().unwrap_or_default();
            if is_lost {
                show_log(&cluster, &name, boot::has_restarted(before, now)).await;
            } else if boot::was_killed(before, now) && !killed.contains(&name) {
                tracing::warn!(
                    "BuildKit ran out of memory in the pod `{name}` and was restarted: {MEMORY_HINT}"
                );
                killed.push(name);
            }
        }
        losses.into_iter().next().filter(|_| is_lost)
    }
}
