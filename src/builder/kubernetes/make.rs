//! Making a node's Deployment and what belongs to it, or taking the one that was kept.
//!
//! In: the plan. Out: [`Made`]. A builder of this run is created, never taken over. One that is kept
//! is taken as it is; where it differs from what is asked for, that is said, and with `replace` it is
//! made anew on the same volume.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use serde_json::Value;

use super::api::ApiError;
use super::client::Cluster;
use super::{KubernetesError, manifest, reap};
use crate::log;
use crate::plan::{KubernetesPlan, Node};

/// How long a Deployment may take to be gone: pods get 10 s to end.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// What is known of a Deployment.
#[derive(Debug)]
pub(super) struct Made {
    /// None when buildx makes it.
    pub uid: Option<String>,
    /// The API server's clock minus ours.
    pub skew: SignedDuration,
    /// What buildx's own manifest gets as heartbeat.
    pub heartbeat: Option<Timestamp>,
}

impl Made {
    /// As the server has it; `before` is when we asked for it.
    fn known(deployment: Deployment, before: Option<Timestamp>) -> Self {
        let created = deployment.metadata.creation_timestamp.as_ref();
        let created = created.and_then(|time| Timestamp::from_second(time.0.as_second()).ok());
        let skew = created
            .zip(before)
            .map_or(SignedDuration::ZERO, |(created, before)| {
                created.duration_since(before)
            });
        Self {
            uid: deployment.metadata.uid,
            // Times of creation are whole seconds.
            skew: if skew.abs() > SignedDuration::from_secs(2) {
                skew
            } else {
                SignedDuration::ZERO
            },
            heartbeat: None,
        }
    }
}

/// Makes or takes a node.
pub(super) async fn node(
    cluster: &Cluster,
    plan: &KubernetesPlan,
    node: &Node,
    may_renew: bool,
) -> Result<Made, KubernetesError> {
    let now = Timestamp::now();
    let heartbeat = if may_renew {
        now
    } else {
        now.saturating_add(reap::LONGEST_RUN).unwrap_or(now)
    };
    let heartbeat = (!plan.kept).then_some(heartbeat);
    let wanted = manifest::deployment(plan, node, heartbeat);
    if plan.kept
        && let Some(found) = cluster.deployment(&node.name).await?
    {
        if !is_replaced(plan, node, &found, &wanted) {
            return Ok(Made::known(found, None));
        }
        remove(cluster, node, &found).await?;
    }
    let mut made = create(cluster, plan, node, wanted).await?;
    made.heartbeat = heartbeat;
    Ok(made)
}

async fn create(
    cluster: &Cluster,
    plan: &KubernetesPlan,
    node: &Node,
    wanted: Value,
) -> Result<Made, KubernetesError> {
    if let Some(size) = &node.storage {
        let claim = manifest::claim(node, size);
        cluster
            .create_beside::<PersistentVolumeClaim>("create a PersistentVolumeClaim", claim)
            .await?;
    }
    let before = Timestamp::now();
    let made = match cluster.create(wanted).await {
        Ok(deployment) => Made::known(deployment, Some(before)),
        // Another job was first, with the same name in mind.
        Err(ApiError::Refused { code: 409, .. }) if plan.kept => {
            return match cluster.deployment(&node.name).await? {
                Some(found) => Ok(Made::known(found, None)),
                None => Err(KubernetesError::Gone {
                    name: node.name.clone(),
                }),
            };
        }
        // A cluster with rules or a version that our manifest does not suit.
        Err(ApiError::Refused {
            code: code @ (400 | 422),
            reason,
            ..
        }) => {
            tracing::info!(
                target: log::NOTICE,
                "the cluster refuses our manifest ({code}: {reason}): buildx's own is used{}",
                if node.storage.is_some() { ", without the volume" } else { "" }
            );
            return Ok(Made {
                uid: None,
                skew: SignedDuration::ZERO,
                heartbeat: None,
            });
        }
        Err(error) => return Err(error.into()),
    };
    if let (Some(text), Some(owner)) = (&node.config, &made.uid) {
        // After its owner, whose pod waits for it: a node is not chosen as fast.
        let config = manifest::config(node, text, owner);
        cluster
            .create_beside::<ConfigMap>("create a ConfigMap", config)
            .await?;
    }
    Ok(made)
}

/// Says how the builder that is there differs; whether it has to go.
fn is_replaced(plan: &KubernetesPlan, node: &Node, found: &Deployment, wanted: &Value) -> bool {
    // What came from the server goes back into JSON.
    let found = serde_json::to_value(found).unwrap_or_default();
    let Some(differences) = manifest::differences(&found, wanted) else {
        tracing::info!(
            target: log::NOTICE,
            "the builder `{}` was not made by this action: it is used as it is",
            node.name
        );
        return false;
    };
    if differences.is_empty() {
        return false;
    }
    tracing::info!(
        target: log::NOTICE,
        "the builder `{}` differs from what is asked for{}: {}",
        node.name,
        if plan.replace {
            " and is replaced"
        } else {
            ", and is used as it is (`replace: true` changes that)"
        },
        differences.join("; ")
    );
    plan.replace
}

/// Removes a builder and waits until its name is free.
async fn remove(cluster: &Cluster, node: &Node, found: &Deployment) -> Result<(), KubernetesError> {
    cluster
        .delete(&node.name, found.metadata.uid.as_deref())
        .await?;
    if node.config.is_some() {
        cluster.delete_config(&node.name).await?;
    }
    let selector = format!("app={}", node.name);
    let gone = async {
        loop {
            let free = cluster.deployment(&node.name).await?.is_none();
            if free && cluster.pods(&selector).await?.0.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    // A pod that takes longer is followed as one that is not ready.
    tokio::time::timeout(GONE_WITHIN, gone)
        .await
        .unwrap_or(Ok(()))
}
