//! The workload under whose name buildx's driver looks for its own, so that it takes ours.
//!
//! In: a node of the plan. Out: the object, pure. What the driver needs: kind and name, the label
//! `app` in the selector, `buildkitd` as first container
//! (<https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/manifest/manifest.go>). What
//! differs from its own: buildkitd is asked every second whether it is up, and no more once it is,
//! instead of after 5 s and then every 30; a request for disk is a request; no token of the cluster
//! reaches build steps unless a service account is named.

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

/// Marks what runs of ours made: `app.kubernetes.io/managed-by`
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
pub(super) const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "fast-ecr-push");
/// Marks what ends with its run, by contrast with builders that are kept.
pub(super) const LIFETIME: (&str, &str) = ("fast-ecr-push/lifetime", "run");
const KEPT: &str = "kept";
/// The specification as it was made, since the server adds its defaults to what it keeps.
const MADE: &str = "fast-ecr-push/made";
/// `buildkitd.toml` as the pods of a kept builder were made with, so that another one counts as a
/// difference.
const CONFIGURED: &str = "fast-ecr-push/buildkitd.toml";
/// Digest of the certificates that they were made with.
const TRUSTED: &str = "fast-ecr-push/certificates";
/// When the run last said that it lives, by the API server's clock.
pub(super) const HEARTBEAT: &str = "fast-ecr-push/heartbeat";
/// Address of the workflow run.
const RUN: &str = "fast-ecr-push/run";
/// Keeps Karpenter from moving the pod: <https://karpenter.sh/docs/concepts/disruption/>. The value
/// `true` is the one that all of its versions understand.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

/// The workload of a node. Without a heartbeat it is kept.
pub(super) fn workload(plan: &KubernetesPlan, node: &Node, heartbeat: Option<Timestamp>) -> Value {
    let mut labels = Map::new();
    labels.extend(node.labels.iter().map(text));
    labels.insert(MANAGED.0.to_owned(), json!(MANAGED.1));
    labels.insert("app".to_owned(), json!(node.name));
    let mut on_workload = labels.clone();
    let lifetime = if heartbeat.is_some() {
        LIFETIME.1
    } else {
        KEPT
    };
    on_workload.insert(LIFETIME.0.to_owned(), json!(lifetime));
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
            // No such Service is there, nor needed: nobody asks for pods by their names.
            spec["serviceName"] = json!("buildkitd");
            // All pods at once.
            spec["podManagementPolicy"] = json!("Parallel");
            spec["volumeClaimTemplates"] = volume::templates(node);
        }
        // The volume goes from one pod to the next.
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

/// Options of buildx's driver that mark what it makes by its own manifest as ours, so that a later
/// run can tell whether it is left over.
pub(super) fn marks(node: &Node, heartbeat: Option<Timestamp>) -> [(&'static str, String); 2] {
    let joined = |pairs: &[(&str, &str)], given: &BTreeMap<String, String>| {
        let given = given
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let all = given.chain(pairs.iter().copied());
        let all: Vec<String> = all.map(|(name, value)| format!("{name}={value}")).collect();
        all.join(",")
    };
    let lifetime = if heartbeat.is_some() {
        LIFETIME.1
    } else {
        KEPT
    };
    let beat = heartbeat.map(|time| time.to_string());
    let beat: Vec<(&str, &str)> = beat.iter().map(|beat| (HEARTBEAT, beat.as_str())).collect();
    [
        (
            "labels",
            joined(&[MANAGED, (LIFETIME.0, lifetime)], &node.labels),
        ),
        ("annotations", joined(&beat, &node.annotations)),
    ]
}

fn text((name, value): (&String, &String)) -> (String, Value) {
    (name.clone(), json!(value))
}

#[cfg(test)]
mod tests;
