//! While the build runs: the heartbeat is renewed, and the pods are looked at.
//!
//! buildx may hang when its pod goes away; whoever waits for [`Guard::lost`] does not. Every
//! [`LOOK_EVERY`] the pods are listed, which buildx's own rights are enough for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::boot::{self, Trouble};
use super::client::Cluster;
use super::manifest::HEARTBEAT;
use super::reap::RENEWED_EVERY;

/// How often the pods are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Within this the pods are looked at once more.
pub(super) const NEXT_LOOK: Duration = Duration::from_millis(3500);

/// The task that looks after one node. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    task: AbortHandle,
    name: String,
    pods: watch::Sender<Vec<Pod>>,
    lost: watch::Receiver<Option<Trouble>>,
}

impl Guard {
    /// Begins to renew the heartbeat of a Deployment.
    pub(super) fn start(
        cluster: Cluster,
        name: &str,
        skew: SignedDuration,
        may_renew: bool,
    ) -> Self {
        let pods = watch::Sender::new(Vec::new());
        let tell = watch::Sender::new(None);
        let lost = tell.subscribe();
        let work = Work {
            cluster,
            name: name.to_owned(),
            skew,
            may_renew,
            pods: pods.subscribe(),
        };
        Self {
            task: tokio::spawn(work.run(tell)).abort_handle(),
            name: name.to_owned(),
            pods,
            lost,
        }
    }

    /// Begins to look at the pods, which are ready now.
    pub(super) fn watch(&self, pods: Vec<Pod>) {
        self.pods.send_replace(pods);
    }

    /// Ends when the pods are lost.
    pub(super) async fn lost(&self) -> (String, Trouble) {
        let mut lost = self.lost.clone();
        let found = lost.wait_for(Option::is_some).await;
        match found.ok().and_then(|trouble| trouble.clone()) {
            Some(trouble) => (self.name.clone(), trouble),
            // The task was stopped.
            None => std::future::pending().await,
        }
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    cluster: Cluster,
    name: String,
    skew: SignedDuration,
    may_renew: bool,
    pods: watch::Receiver<Vec<Pod>>,
}

impl Work {
    async fn run(self, tell: watch::Sender<Option<Trouble>>) {
        let every = RENEWED_EVERY.unsigned_abs();
        // At once where our clock is not the server's: the first one was written by ours.
        let mut renewed = (self.skew.is_zero()).then(Instant::now);
        loop {
            if self.may_renew && renewed.is_none_or(|at| at.elapsed() >= every) {
                let now = Timestamp::now()
                    .saturating_add(self.skew)
                    .unwrap_or_default()
                    .to_string();
                let beat = self.cluster.annotate(&self.name, HEARTBEAT, &now);
                match beat.await {
                    Ok(()) => renewed = Some(Instant::now()),
                    Err(error) => tracing::debug!("{error}"),
                }
            }
            sleep(LOOK_EVERY).await;
            if let Some(trouble) = self.look().await {
                tell.send_replace(Some(trouble));
                return;
            }
        }
    }

    /// What happened to the pods, if nothing of them is left to build on.
    async fn look(&self) -> Option<Trouble> {
        let before = self.pods.borrow().clone();
        if before.is_empty() {
            return None;
        }
        let listed = self.cluster.pods(&format!("app={}", self.name)).await;
        let now = match listed {
            Ok((pods, _)) => pods,
            // A server that is away does not mean that the build is.
            Err(error) => {
                tracing::debug!("{error}");
                return None;
            }
        };
        let troubles: Vec<Trouble> = before
            .iter()
            .filter_map(|pod| {
                let same = now
                    .iter()
                    .find(|other| other.metadata.uid == pod.metadata.uid);
                boot::loss(pod, same)
            })
            .collect();
        if troubles.len() < before.len() {
            return None;
        }
        troubles.into_iter().next()
    }
}
