//! Making a node's workload and what belongs to it, or taking the one that was kept.
//!
//! In: the plan. Out: [`Made`]. A builder of this run is created, never taken over. One that is kept
//! is taken as it is; where it differs from what is asked for, that is said, and with `replace` it is
//! made anew on the same volume.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use serde_json::Value;

use super::api::ApiError;
use super::client::Cluster;
use super::workload::Found;
use super::{KubernetesError, manifest, reap};
use crate::plan::{KubernetesPlan, Node, Workload};
use crate::runner::log;

/// How long a workload may take to be gone: pods get 10 s to end.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// What is known of a workload.
#[derive(Debug)]
pub(super) struct Made {
    pub workload: Workload,
    /// How many pods it has; not those that were asked for where it is used as it is.
    pub replicas: u32,
    /// None when buildx makes it.
    pub uid: Option<String>,
    /// Whether this run made it.
    pub is_new: bool,
    /// The API server's clock minus ours.
    pub skew: SignedDuration,
    /// What buildx's own manifest gets as heartbeat.
    pub heartbeat: Option<Timestamp>,
}

impl Made {
    /// As the server has it; `before` is when we asked for it.
    fn known(found: &Found, before: Option<Timestamp>) -> Self {
        let created = found.object.metadata.creation_timestamp.as_ref();
        let created = created.and_then(|time| Timestamp::from_second(time.0.as_second()).ok());
        let skew = created
            .zip(before)
            .map_or(SignedDuration::ZERO, |(created, before)| {
                created.duration_since(before)
            });
        Self {
            workload: found.workload,
            replicas: found.replicas(),
            uid: found.uid().map(str::to_owned),
            is_new: before.is_some(),
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
    let wanted = manifest::workload(plan, node, heartbeat);
    if plan.kept
        && let (found, ()) = tokio::join!(find(cluster, node), look_at_volume(cluster, plan, node))
        && let Some(found) = found?
    {
        if !is_replaced(plan, node, &found, &wanted) {
            return taken(plan, node, &found);
        }
        remove(cluster, node, &found).await?;
    }
    let mut made = create(cluster, plan, node, wanted).await?;
    made.heartbeat = heartbeat;
    Ok(made)
}

/// The one that was kept, of whichever kind it is: it may have had another number of pods.
async fn find(cluster: &Cluster, node: &Node) -> Result<Option<Found>, KubernetesError> {
    if let Some(found) = cluster.find(node.workload, &node.name).await? {
        return Ok(Some(found));
    }
    for other in Workload::ALL {
        if other == node.workload {
            continue;
        }
        match cluster.find(other, &node.name).await {
            // Who may not look at such ones has made none.
            Err(error) if error.is_forbidden() => {}
            found => return Ok(found?),
        }
    }
    Ok(None)
}

/// A builder that is used as it is.
fn taken(plan: &KubernetesPlan, node: &Node, found: &Found) -> Result<Made, KubernetesError> {
    if found.workload.is_known_to(&plan.buildx) {
        return Ok(Made::known(found, None));
    }
    Err(KubernetesError::OldBuildx {
        name: node.name.clone(),
        workload: found.workload,
        buildx: plan.buildx.clone(),
    })
}

async fn create(
    cluster: &Cluster,
    plan: &KubernetesPlan,
    node: &Node,
    wanted: Value,
) -> Result<Made, KubernetesError> {
    if let Some(claim) = manifest::claim(plan, node) {
        cluster
            .create_beside::<PersistentVolumeClaim>("create a PersistentVolumeClaim", claim)
            .await?;
    }
    let before = Timestamp::now();
    match cluster.create(node.workload, wanted).await {
        Ok(found) => Ok(Made::known(&found, Some(before))),
        // Another job was first, with the same name in mind.
        Err(ApiError::Refused { code: 409, .. }) if plan.kept => {
            match cluster.find(node.workload, &node.name).await? {
                Some(found) => taken(plan, node, &found),
                None => Err(KubernetesError::Gone {
                    name: node.name.clone(),
                }),
            }
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
                without(node)
            );
            Ok(Made {
                workload: node.workload,
                replicas: node.replicas,
                uid: None,
                is_new: true,
                skew: SignedDuration::ZERO,
                heartbeat: None,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the ConfigMap of a node that was just made. After its owner, whose pod waits for it: a node is
/// not chosen as fast.
pub(super) async fn config(
    cluster: &Cluster,
    node: &Node,
    made: &Made,
) -> Result<(), KubernetesError> {
    let owner = made.uid.as_deref().filter(|_| made.is_new);
    let Some(config) = owner.and_then(|owner| manifest::config(node, owner)) else {
        return Ok(());
    };
    let call = cluster.create_beside::<ConfigMap>("create a ConfigMap", config);
    Ok(call.await?)
}

/// What buildx's own manifest has not.
fn without(node: &Node) -> String {
    let mut without = String::new();
    without += match (node.workload, &node.storage, &node.storage_class) {
        (Workload::Deployment, Some(_), _) => ", without the volume",
        (Workload::StatefulSet, _, Some(_)) => ", with volumes of the cluster's default class",
        _ => "",
    };
    if node.certificates.is_some() {
        without += ", without the certificates that this machine trusts";
    }
    without
}

/// Says how the builder that is there differs; whether it has to go.
fn is_replaced(plan: &KubernetesPlan, node: &Node, found: &Found, wanted: &Value) -> bool {
    // What came from the server goes back into JSON.
    let found = serde_json::to_value(&found.object).unwrap_or_default();
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

/// Says how the volume that is there differs. It stays in any case: what it holds is what it is kept for.
async fn look_at_volume(cluster: &Cluster, plan: &KubernetesPlan, node: &Node) {
    let Some(wanted) = manifest::claim(plan, node) else {
        return;
    };
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let found = match cluster.claim(name).await {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!("{error}");
            return;
        }
    };
    // What came from the server goes back into JSON.
    let found = serde_json::to_value(&found).unwrap_or_default();
    let differences = manifest::claim_differences(&found, &wanted);
    if !differences.is_empty() {
        tracing::info!(
            target: log::NOTICE,
            "the volume of the builder `{}` differs from what is asked for, and stays as it is: {} \
             (`kubectl edit pvc {name}` makes it larger, where its class allows that)",
            node.name,
            differences.join("; ")
        );
    }
}

/// Removes a builder and waits until its name is free.
async fn remove(cluster: &Cluster, node: &Node, found: &Found) -> Result<(), KubernetesError> {
    cluster
        .delete(found.workload, &node.name, found.uid())
        .await?;
    if node.config.is_some() || node.certificates.is_some() {
        cluster.delete_config(&node.name).await?;
    }
    let selector = format!("app={}", node.name);
    let gone = async {
        loop {
            let free = cluster.find(found.workload, &node.name).await?.is_none();
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
