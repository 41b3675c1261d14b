//! The Deployment under whose name buildx's driver looks for its own, so that it takes ours.
//!
//! In: a node of the plan. Out: the object, pure. What the driver needs: the name, the label `app`
//! in the selector, `buildkitd` as first container
//! (<https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/manifest/manifest.go>). What
//! differs from its own: buildkitd is asked every second whether it is up, and no more once it is,
//! instead of after 5 s and then every 30; a request for disk is a request; no token of the cluster
//! reaches build steps unless a service account is named.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::plan::{KubernetesPlan, Node};

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
/// When the run last said that it lives, by the API server's clock.
pub(super) const HEARTBEAT: &str = "fast-ecr-push/heartbeat";
/// Address of the workflow run.
const RUN: &str = "fast-ecr-push/run";
/// Keeps Karpenter from moving the pod: <https://karpenter.sh/docs/concepts/disruption/>. The value
/// `true` is the one that all of its versions understand.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

const ROOT: &str = "/var/lib/buildkit";
const ROOTLESS_ROOT: &str = "/home/user/.local/share/buildkit";
/// Where the two images look for `buildkitd.toml`.
const CONFIG: &str = "/etc/buildkit";
const ROOTLESS_CONFIG: &str = "/home/user/.config/buildkit";
/// The user of the rootless image.
const ROOTLESS_USER: u32 = 1000;

/// What no pod should take to find out that it is up (seconds).
const SLOWEST_START: u64 = 1800;

/// The Deployment of a node. Without a heartbeat it is kept.
pub(super) fn deployment(
    plan: &KubernetesPlan,
    node: &Node,
    heartbeat: Option<Timestamp>,
) -> Value {
    let mut labels = Map::new();
    labels.extend(node.labels.iter().map(text));
    labels.insert(MANAGED.0.to_owned(), json!(MANAGED.1));
    labels.insert("app".to_owned(), json!(node.name));
    let mut on_deployment = labels.clone();
    let lifetime = if heartbeat.is_some() {
        LIFETIME.1
    } else {
        KEPT
    };
    on_deployment.insert(LIFETIME.0.to_owned(), json!(lifetime));
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
            "spec": pod(node),
        },
    });
    if node.storage.is_some() {
        // The volume goes from one pod to the next.
        spec["strategy"] = json!({ "type": "Recreate" });
    }
    if let (Some(text), None) = (&node.config, heartbeat) {
        spec["template"]["metadata"]["annotations"][CONFIGURED] = json!(text);
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
        "kind": "Deployment",
        "metadata": {
            "name": node.name,
            "namespace": plan.namespace,
            "labels": on_deployment,
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

/// Name of the ConfigMap that belongs to a Deployment, as buildx's driver has it.
pub(super) fn config_name(deployment: &str) -> String {
    format!("{deployment}-config")
}

/// The ConfigMap with `buildkitd.toml`, which goes with its Deployment.
pub(super) fn config(node: &Node, text: &str, owner: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_name(&node.name),
            "labels": { MANAGED.0: MANAGED.1 },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": node.name, "uid": owner,
            }],
        },
        "data": { "buildkitd.toml": text },
    })
}

/// Name of a node's claim.
pub(super) fn claim_name(node: &Node) -> String {
    format!("{}-data", node.name)
}

/// The claim of a node that keeps its cache. It outlives the Deployment.
pub(super) fn claim(node: &Node, size: &str) -> Value {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": size } },
    });
    if let Some(class) = &node.storage_class {
        spec["storageClassName"] = json!(class);
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": claim_name(node), "labels": { MANAGED.0: MANAGED.1 } },
        "spec": spec,
    })
}

/// What a kept Deployment was made of differs in, as `path: there, not wanted`. None where it is not
/// of our making, so that nobody can tell.
pub(super) fn differences(found: &Value, wanted: &Value) -> Option<Vec<String>> {
    let made = found["metadata"]["annotations"][MADE].as_str()?;
    let made: Value = serde_json::from_str(made).ok()?;
    let mut differences = Vec::new();
    compare("", &made, &wanted["spec"], &mut differences);
    Some(differences)
}

fn compare(path: &str, there: &Value, wanted: &Value, into: &mut Vec<String>) {
    match (there, wanted) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<&String> =
                one.keys().chain(other.keys()).collect();
            for name in names {
                let path = format!("{path}.{name}");
                compare(&path, &there[name], &wanted[name], into);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (there, wanted)) in one.iter().zip(other).enumerate() {
                compare(&format!("{path}[{index}]"), there, wanted, into);
            }
        }
        _ if there == wanted => {}
        _ => into.push(format!(
            "`{}` is {there}, not {wanted}",
            path.trim_start_matches('.')
        )),
    }
}

fn pod(node: &Node) -> Value {
    let root = if node.rootless { ROOTLESS_ROOT } else { ROOT };
    let volume = match (&node.storage, &node.memory_volume) {
        (Some(_), _) => json!({
            "name": "buildkit", "persistentVolumeClaim": { "claimName": claim_name(node) },
        }),
        (None, Some(size)) => json!({
            "name": "buildkit", "emptyDir": { "medium": "Memory", "sizeLimit": size },
        }),
        (None, None) => json!({ "name": "buildkit", "emptyDir": {} }),
    };
    let mut volumes = vec![volume];
    let mut mounts = vec![json!({ "name": "buildkit", "mountPath": root })];
    if node.config.is_some() {
        let path = if node.rootless {
            ROOTLESS_CONFIG
        } else {
            CONFIG
        };
        mounts.push(json!({ "name": "config", "mountPath": path }));
        volumes.push(json!({ "name": "config", "configMap": { "name": config_name(&node.name) } }));
    }
    let mut arguments = node.buildkitd_flags.clone();
    if node.rootless {
        arguments.push("--oci-worker-no-process-sandbox".to_owned());
    }
    let mut container = json!({
        "name": "buildkitd",
        "image": node.image,
        "args": arguments,
        "securityContext": security(node.rootless),
        // Ends for good once BuildKit answers: a probe that goes on costs a process a second, and
        // one that fails on a busy disk would take the builder from its build.
        "startupProbe": {
            "exec": { "command": ["buildctl", "debug", "workers"] },
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": SLOWEST_START,
        },
        "resources": { "requests": node.requests, "limits": node.limits },
        "volumeMounts": mounts,
    });
    if !node.env.is_empty() {
        let env = node.env.iter();
        container["env"] = env
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
    }
    let mut pod = json!({
        "containers": [container],
        "volumes": volumes,
        // One variable for each service of the namespace is of no use to build steps.
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 10,
    });
    match &node.service_account {
        Some(account) => pod["serviceAccountName"] = json!(account),
        None => pod["automountServiceAccountToken"] = json!(false),
    }
    if let Some(scheduler) = &node.scheduler {
        pod["schedulerName"] = json!(scheduler);
    }
    if !node.node_selector.is_empty() {
        pod["nodeSelector"] = json!(node.node_selector);
    }
    if !node.tolerations.is_empty() {
        pod["tolerations"] = json!(node.tolerations);
    }
    if let Some(image) = &node.qemu {
        pod["initContainers"] = json!([{
            "name": "qemu",
            "image": image,
            "args": ["--install", "all"],
            "securityContext": { "privileged": true },
        }]);
    }
    pod
}

fn security(rootless: bool) -> Value {
    if !rootless {
        return json!({ "privileged": true });
    }
    // https://github.com/moby/buildkit/blob/master/docs/rootless.md
    json!({
        "seccompProfile": { "type": "Unconfined" },
        "runAsUser": ROOTLESS_USER,
        "runAsGroup": ROOTLESS_USER,
    })
}

fn text((name, value): (&String, &String)) -> (String, Value) {
    (name.clone(), json!(value))
}

#[cfg(test)]
mod tests;
