//! Removing builders whose run is gone.
//!
//! A run renews the heartbeat of its builder; one that was not renewed for [`DEAD_AFTER`] belongs to
//! a run that was killed. Times are the API server's: each run learns at the creation of its own
//! builder how far its clock is off. A run that may not renew it dates it [`LONGEST_RUN`] ahead.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;

use super::client::Cluster;
use super::manifest::{HEARTBEAT, LIFETIME, MANAGED};
use crate::plan::Workload;

/// How often a heartbeat is renewed.
pub(super) const RENEWED_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A living run misses no five of them.
const DEAD_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// GitHub's limit of a job
/// (<https://docs.github.com/actions/reference/limits>).
pub(super) const LONGEST_RUN: SignedDuration = SignedDuration::from_hours(6);

/// Removes what other runs left. Says so; never fails this run.
pub(super) async fn others(cluster: &Cluster, own: &[&str], skew: SignedDuration) {
    let found = match cluster.list(&ours()).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!("{error}");
            return;
        }
    };
    let now = Timestamp::now().saturating_add(skew).unwrap_or_default();
    for deployment in found {
        let Some(name) = deployment.metadata.name.as_deref() else {
            continue;
        };
        if own.contains(&name) || !is_dead(&deployment, now) {
            continue;
        }
        // By uid: if its run comes to life and makes it anew, that one stays.
        match cluster
            .delete(
                Workload::Deployment,
                name,
                deployment.metadata.uid.as_deref(),
            )
            .await
        {
            Ok(()) => tracing::info!("removed the builder `{name}` of a run that is gone"),
            Err(error) => tracing::debug!("{error}"),
        }
        config_of(cluster, name).await;
    }
}

/// Removes a ConfigMap that buildx made beside a Deployment: it has no owner to go with, as ours do.
pub(super) async fn config_of(cluster: &Cluster, deployment: &str) {
    if let Err(error) = cluster.delete_config(deployment).await {
        tracing::debug!("{error}");
    }
}

/// Selects the builders that end with their runs.
pub(super) fn ours() -> String {
    format!("{}={},{}={}", MANAGED.0, MANAGED.1, LIFETIME.0, LIFETIME.1)
}

/// Whether the heartbeat stopped. Without a heartbeat that can be read it is nobody's to judge.
fn is_dead(deployment: &Deployment, now: Timestamp) -> bool {
    let annotations = deployment.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(HEARTBEAT))
        .and_then(|text| text.parse::<Timestamp>().ok())
        .is_some_and(|heartbeat| now.duration_since(heartbeat) > DEAD_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_heartbeat_that_stopped_is_a_dead_one() {
        let now: Timestamp = "2026-01-02T03:10:00Z".parse().unwrap();
        for (heartbeat, dead) in [
            (Some("2026-01-02T03:04:59Z"), true),
            (Some("2026-01-02T03:05:01Z"), false),
            (Some("2026-01-02T09:00:00Z"), false),
            (Some("yesterday"), false),
            (None, false),
        ] {
            let mut deployment = Deployment::default();
            if let Some(heartbeat) = heartbeat {
                let annotation = (HEARTBEAT.to_owned(), heartbeat.to_owned());
                deployment.metadata.annotations = Some([annotation].into());
            }
            assert_eq!(is_dead(&deployment, now), dead, "{heartbeat:?}");
        }
    }
}
