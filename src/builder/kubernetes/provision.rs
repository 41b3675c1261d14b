//! Creating a node's workload and its objects, or using a persistent one.
//!
//! In: the plan. Out: [`Provisioned`]. A builder for one run is always created. A persistent one is used as it is: differences from the plan
//! are reported, and with `replace` it is created anew on the same volume.
//!
//! Calls are repeated for a while: an API server may restart at any moment, also between a creation and its answer.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;
use tokio::time::Instant;

use super::api_error::ApiError;
use super::client::Cluster;
use super::error::KubernetesError;
use super::workload::Found;
use super::{manifest, orphans};
use crate::plan::{KubernetesPlan, Node, Workload};
use crate::runner::log;

/// How long the deletion of a workload may take: its pods get 10 s to exit.
const DELETED_WITHIN: Duration = Duration::from_secs(30);

/// How long a call is repeated; less where the builder has less time.
const REPEATED_FOR: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A node has no workload.
#[derive(Debug)]
pub(super) struct Failed {
    pub error: KubernetesError,
    /// Whether the answer to its creation was lost.
    pub may_exist: bool,
}

impl From<KubernetesError> for Failed {
    fn from(error: KubernetesError) -> Self {
        Self {
            error,
            may_exist: false,
        }
    }
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        KubernetesError::from(error).into()
    }
}

/// A workload for a node.
#[derive(Debug)]
pub(super) struct Provisioned {
    pub workload: Workload,
    /// Its number of pods; a persistent workload may differ from the plan.
    pub replicas: u32,
    /// None if buildx creates it.
    pub uid: Option<String>,
    /// Whether this run created it.
    pub is_new: bool,
    /// The API server's clock minus ours.
    pub skew: SignedDuration,
    /// The heartbeat for buildx's own manifest.
    pub heartbeat: Option<Timestamp>,
}

impl Provisioned {
    /// From the server's object; `requested` is when we asked for its creation.
    fn new(found: &Found, requested: Option<Timestamp>) -> Self {
        let created = found.object.metadata.creation_timestamp.as_ref();
        let created = created.and_then(|time| Timestamp::from_second(time.0.as_second()).ok());
        let skew = created.zip(requested);
        let skew = skew.map_or(SignedDuration::ZERO, |(created, requested)| {
            created.duration_since(requested)
        });
        // Creation times are whole seconds.
        let is_exact = skew.abs() <= SignedDuration::from_secs(2);
        Self {
            workload: found.workload,
            replicas: found.replicas(),
            uid: found.uid().map(str::to_owned),
            is_new: requested.is_some(),
            skew: if is_exact { SignedDuration::ZERO } else { skew },
            heartbeat: None,
        }
    }
}

pub(super) async fn node(
    cluster: &Cluster,
    plan: &KubernetesPlan,
    node: &Node,
) -> Result<Provisioned, Failed> {
    let now = Timestamp::now();
    let heartbeat = if cluster.may_renew_heartbeats() {
        now
    } else {
        now.saturating_add(orphans::LONGEST_RUN).unwrap_or(now)
    };
    let heartbeat = (!plan.kept).then_some(heartbeat);
    let wanted = manifest::workload(plan, node, heartbeat);
    if plan.kept
        && let (found, ()) = tokio::join!(
            repeat(plan, || find(cluster, node)),
            compare_volume(cluster, plan, node)
        )
        && let Some(found) = found.result?
    {
        if !is_replaced(plan, node, &found, &wanted) {
            return Ok(reused(plan, node, &found)?);
        }
        delete(cluster, node, &found).await?;
    }
    let mut provisioned = create(cluster, plan, node, wanted).await?;
    provisioned.heartbeat = heartbeat;
    Ok(provisioned)
}

/// The persistent workload, of either kind: it may have been created with another number of pods.
async fn find(cluster: &Cluster, node: &Node) -> Result<Option<Found>, ApiError> {
    if let Some(found) = cluster.find(node.workload, &node.name).await? {
        return Ok(Some(found));
    }
    let other = match node.workload {
        Workload::Deployment => Workload::StatefulSet,
        Workload::StatefulSet => Workload::Deployment,
    };
    match cluster.find(other, &node.name).await {
        // An identity that may not read them has created none.
        Err(error) if error.is_forbidden() => Ok(None),
        found => found,
    }
}

/// What became of a call.
#[derive(Debug)]
pub(super) struct Repeated<T> {
    pub result: Result<T, ApiError>,
    /// Whether an answer was lost: the server may have done what it was asked for.
    pub is_lost: bool,
}

/// Repeats a call while there is no answer, or the server has a problem.
pub(super) async fn repeat<T, F>(plan: &KubernetesPlan, call: impl FnMut() -> F) -> Repeated<T>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let begun = Instant::now();
    let longest = REPEATED_FOR.min(Duration::from_secs(plan.timeout_seconds));
    let waits = ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times();
    let mut is_lost = false;
    let result = call
        .retry(waits)
        .when(|error: &ApiError| error.is_transient() && begun.elapsed() < longest)
        .notify(|error, _| {
            if !is_lost {
                let seconds = longest.as_secs();
                tracing::info!("{error}: trying again for up to {seconds} s");
            }
            is_lost = true;
        })
        .await;
    Repeated {
        is_lost: is_lost || result.as_ref().is_err_and(ApiError::is_transient),
        result,
    }
}

fn reused(
    plan: &KubernetesPlan,
    node: &Node,
    found: &Found,
) -> Result<Provisioned, KubernetesError> {
    if found.workload.is_known_to(&plan.buildx) {
        return Ok(Provisioned::new(found, None));
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
) -> Result<Provisioned, Failed> {
    if let Some(claim) = manifest::claim(plan, node) {
        let what = "create a PersistentVolumeClaim";
        let create = || cluster.create_if_missing::<PersistentVolumeClaim>(what, claim.clone());
        repeat(plan, create).await.result?;
    }
    let first = Timestamp::now();
    let create = async || {
        let requested = Timestamp::now();
        let found = cluster.create(node.workload, wanted.clone()).await?;
        Ok((found, requested))
    };
    let Repeated { result, is_lost } = repeat(plan, create).await;
    let failed = |error: KubernetesError| Failed {
        error,
        may_exist: is_lost,
    };
    match result {
        Ok((found, requested)) => Ok(Provisioned::new(&found, Some(requested))),
        // Ours, whose answer was lost, or another job created it at the same time.
        Err(ApiError::Refused { code: 409, .. }) if plan.kept || is_lost => {
            let found = repeat(plan, || cluster.find(node.workload, &node.name)).await;
            match found.result.map_err(|error| failed(error.into()))? {
                // Of another job, too, it may lack what belongs to it.
                Some(found) if is_lost => Ok(Provisioned::new(&found, Some(first))),
                Some(found) => Ok(reused(plan, node, &found)?),
                None => Err(failed(KubernetesError::Gone {
                    name: node.name.clone(),
                })),
            }
        }
        // The cluster's version or its policies do not accept our manifest.
        Err(ApiError::Refused {
            code: code @ (400 | 422),
            reason,
            ..
        }) => {
            tracing::info!(
                target: log::NOTICE,
                "the cluster refuses our manifest ({code}: {reason}): using buildx's own{}",
                missing(node)
            );
            Ok(Provisioned {
                workload: node.workload,
                replicas: node.replicas,
                uid: None,
                is_new: true,
                skew: SignedDuration::ZERO,
                heartbeat: None,
            })
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// What buildx's own manifest lacks.
fn missing(node: &Node) -> String {
    let volume = match (node.workload, &node.storage, &node.storage_class) {
        (Workload::Deployment, Some(_), _) => ", without the volume",
        (Workload::StatefulSet, _, Some(_)) => ", with volumes of the cluster's default class",
        _ => "",
    };
    let certificates = node.certificates.as_ref();
    let certificates = certificates.map_or("", |_| ", without this machine's certificates");
    format!("{volume}{certificates}")
}

/// Reports how the existing builder differs; whether it is replaced.
fn is_replaced(plan: &KubernetesPlan, node: &Node, found: &Found, wanted: &Value) -> bool {
    let found = serde_json::to_value(&found.object).unwrap_or_default();
    let Some(differences) = manifest::differences(&found, wanted) else {
        tracing::info!(
            target: log::NOTICE,
            "the builder `{}` was not created by this action: it is used as it is",
            node.name
        );
        return false;
    };
    if differences.is_empty() {
        return false;
    }
    let consequence = if plan.replace {
        " and is replaced"
    } else {
        ", but is used as it is (`replace: true` replaces it)"
    };
    tracing::info!(
        target: log::NOTICE,
        "the builder `{}` differs from the inputs{consequence}: {}",
        node.name,
        differences.join("; ")
    );
    plan.replace
}

/// Reports how the existing volume differs. It is kept in any case, for its cache.
async fn compare_volume(cluster: &Cluster, plan: &KubernetesPlan, node: &Node) {
    let Some(wanted) = manifest::claim(plan, node) else {
        return;
    };
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let found = cluster.claim(name).await;
    let found = found.inspect_err(|error| tracing::debug!("{error}"));
    let Ok(Some(found)) = found else { return };
    let found = serde_json::to_value(&found).unwrap_or_default();
    let differences = manifest::claim_differences(&found, &wanted);
    if !differences.is_empty() {
        tracing::info!(
            target: log::NOTICE,
            "the volume of the builder `{}` differs from the inputs, but is kept: {} \
             (`kubectl edit pvc {name}` enlarges it, if its class allows that)",
            node.name,
            differences.join("; ")
        );
    }
}

/// Deletes a builder and waits until its name is free.
async fn delete(cluster: &Cluster, node: &Node, found: &Found) -> Result<(), KubernetesError> {
    cluster
        .delete(found.workload, &node.name, found.uid())
        .await?;
    if node.config.is_some() || node.certificates.is_some() {
        cluster.delete_config(&node.name).await?;
    }
    let selector = format!("app={}", node.name);
    let deleted = async {
        loop {
            let free = cluster.find(found.workload, &node.name).await?.is_none();
            if free && cluster.pods(&selector).await?.0.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    // A pod that takes longer shows up as one that is not ready.
    let deleted = tokio::time::timeout(DELETED_WITHIN, deleted).await;
    deleted.unwrap_or(Ok(()))
}
