//! The workload that buildx's driver adopts.
//!
//! In: a node of the plan. Out: the object. Pure. The driver needs kind and name, the label `app` in the selector, and `buildkitd` as first
//! container (<https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/manifest/manifest.go>). Differences from its own manifest: a
//! startup probe every second instead of a readiness probe after 5 s and every 30 s; a disk request is a request; build steps get no token of
//! the cluster unless a service account is set.

mod config;
mod differences;
mod pod;
mod volume;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::plan::{KubernetesPlan, Node, Workload};
pub(super) use config::{config, config_name};
pub(super) use differences::{claim_differences, differences};
pub(super) use volume::claim;

/// Marks the objects of this action
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
pub(super) const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "fast-ecr-push");
/// Marks a builder of one run, as opposed to a persistent one.
pub(super) const LIFETIME: (&str, &str) = ("fast-ecr-push/lifetime", "run");
/// The specification as it was created; the server adds defaults to its own copy.
const MADE: &str = "fast-ecr-push/made";
/// `buildkitd.toml` of a persistent builder's pods, so that a change counts as a difference.
const CONFIGURED: &str = "fast-ecr-push/buildkitd.toml";
/// Digest of their certificates.
const TRUSTED: &str = "fast-ecr-push/certificates";
/// The run's last heartbeat, by the API server's clock.
pub(super) const HEARTBEAT: &str = "fast-ecr-push/heartbeat";
/// Address of the workflow run.
const RUN: &str = "fast-ecr-push/run";
/// Keeps Karpenter from moving the pod: <https://karpenter.sh/docs/concepts/disruption/>. All versions understand `true`.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

/// The workload of a node. Without a heartbeat it is persistent.
pub(super) fn workload(plan: &KubernetesPlan, node: &Node, heartbeat: Option<Timestamp>) -> Value {
    let mut labels = Map::new();
    labels.extend(node.labels.iter().map(text));
    labels.insert(MANAGED.0.to_owned(), json!(MANAGED.1));
    labels.insert("app".to_owned(), json!(node.name));
    let mut on_workload = labels.clone();
    let (key, value) = lifetime(heartbeat);
    on_workload.insert(key.to_owned(), json!(value));
    let mut annotations: Map<String, Value> = node.annotations.iter().map(text).collect();
    let mut on_pod = annotations.clone();
    on_pod
        .entry(DO_NOT_DISRUPT)
        .or_insert_with(|| json!("true"));
    if node.rootless {
        let key = "container.apparmor.security.beta.kubernetes.io/buildkitd";
        on_pod.insert(key.to_owned(), json!("unconfined"));
    }
    let mut spec = json!({
        "replicas": node.replicas,
        "revisionHistoryLimit": 0,
        "selector": { "matchLabels": { "app": node.name } },
        "template": {
            "metadata": { "labels": labels, "annotations": on_pod },
            "spec": pod::pod(plan, node),
        },
    });
    match node.workload {
        Workload::StatefulSet => {
            // The Service does not exist and is not needed: it gives pods DNS names.
            spec["serviceName"] = json!("buildkitd");
            // All pods at once.
            spec["podManagementPolicy"] = json!("Parallel");
            spec["volumeClaimTemplates"] = volume::templates(node);
        }
        // One pod releases the volume before the next takes it.
        Workload::Deployment if plan.kept && node.storage.is_some() => {
            spec["strategy"] = json!({ "type": "Recreate" });
        }
        Workload::Deployment => {}
    }
    if heartbeat.is_none() {
        let annotations = &mut spec["template"]["metadata"]["annotations"];
        if let Some(text) = &node.config {
            annotations[CONFIGURED] = json!(text);
        }
        if let Some(text) = &node.certificates {
            annotations[TRUSTED] = json!(config::digest(text));
        }
    }
    if let Some(run) = &plan.run {
        annotations.insert(RUN.to_owned(), json!(run));
    }
    match heartbeat {
        Some(time) => annotations.insert(HEARTBEAT.to_owned(), json!(time.to_string())),
        None => annotations.insert(MADE.to_owned(), json!(spec.to_string())),
    };
    json!({
        "apiVersion": "apps/v1",
        "kind": node.workload.kind(),
        "metadata": {
            "name": node.name,
            "namespace": plan.namespace,
            "labels": on_workload,
            "annotations": annotations,
        },
        "spec": spec,
    })
}

/// Options of buildx's driver that mark the objects of its own manifest as ours, so that a later run can remove them.
pub(super) fn marks(node: &Node, heartbeat: Option<Timestamp>) -> [(&'static str, String); 2] {
    let joined = |given: &BTreeMap<String, String>, ours: Vec<String>| {
        let given = given.iter().map(|(name, value)| format!("{name}={value}"));
        given.chain(ours).collect::<Vec<_>>().join(",")
    };
    let marks = [MANAGED, lifetime(heartbeat)].map(|(name, value)| format!("{name}={value}"));
    let heartbeat = heartbeat.map(|time| format!("{HEARTBEAT}={time}"));
    [
        ("labels", joined(&node.labels, marks.to_vec())),
        (
            "annotations",
            joined(&node.annotations, heartbeat.into_iter().collect()),
        ),
    ]
}

fn lifetime(heartbeat: Option<Timestamp>) -> (&'static str, &'static str) {
    let kept = (LIFETIME.0, "kept");
    heartbeat.map_or(kept, |_| LIFETIME)
}

fn text((name, value): (&String, &String)) -> (String, Value) {
    (name.clone(), json!(value))
}

#[cfg(test)]
mod tests;
