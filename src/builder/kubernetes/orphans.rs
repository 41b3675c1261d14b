//! Removing builders whose run is gone.
//!
//! A run renews the heartbeat of its builder. A builder whose heartbeat is older than [`DEAD_AFTER`] belongs to a run that was killed. Times
//! are the API server's: each run measures the skew of its clock when it creates its builder. A run that may not renew the heartbeat dates it
//! [`LONGEST_RUN`] ahead.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;

use super::client::Cluster;
use super::manifest::{HEARTBEAT, LIFETIME, MANAGED};
use crate::plan::Workload;

pub(super) const RENEWED_EVERY: SignedDuration = SignedDuration::from_secs(60);

const DEAD_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// GitHub's limit for a job (<https://docs.github.com/actions/reference/limits>).
pub(super) const LONGEST_RUN: SignedDuration = SignedDuration::from_hours(6);

/// Removes orphans; errors do not fail this run.
pub(super) async fn remove(cluster: &Cluster, own: &[&str], skew: SignedDuration) {
    let selector = format!("{}={},{}={}", MANAGED.0, MANAGED.1, LIFETIME.0, LIFETIME.1);
    let found = match cluster.deployments(&selector).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!("{error}");
            return;
        }
    };
    let now = Timestamp::now().saturating_add(skew).unwrap_or_default();
    for deployment in found {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        if own.contains(&name) || !is_orphan(&deployment, now) {
            continue;
        }
        // By uid: one that its run creates anew stays.
        let uid = deployment.metadata.uid.as_deref();
        match cluster.delete(Workload::Deployment, name, uid).await {
            Ok(()) => tracing::info!("removed the orphaned builder `{name}`"),
            Err(error) => tracing::debug!("{error}"),
        }
        // buildx's own ConfigMap has no owner, so it is not deleted with the workload.
        if let Err(error) = cluster.delete_config(name).await {
            tracing::debug!("{error}");
        }
    }
}

/// Whether the heartbeat stopped. A Deployment without a valid heartbeat is left alone.
pub(super) fn is_orphan(deployment: &Deployment, now: Timestamp) -> bool {
    let annotations = deployment.metadata.annotations.as_ref();
    let heartbeat = annotations.and_then(|annotations| annotations.get(HEARTBEAT));
    let heartbeat = heartbeat.and_then(|text| text.parse::<Timestamp>().ok());
    heartbeat.is_some_and(|heartbeat| now.duration_since(heartbeat) > DEAD_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_builder_whose_heartbeat_stopped_is_an_orphan() {
        let now: Timestamp = "2026-01-02T03:10:00Z".parse().unwrap();
        for (heartbeat, expected) in [
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
            assert_eq!(is_orphan(&deployment, now), expected, "{heartbeat:?}");
        }
    }
}
