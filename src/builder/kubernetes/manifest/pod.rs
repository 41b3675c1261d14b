//! The pods of a node: BuildKit's container, mounts and scheduling. Pure.

use serde_json::{Value, json};

use super::{config, volume};
use crate::plan::{KubernetesPlan, Node};

const ROOT: &str = "/var/lib/buildkit";
pub(super) const ROOTLESS_ROOT: &str = "/home/user/.local/share/buildkit";
const ROOTLESS_USER: u32 = 1000;

/// Limit of the startup probe (seconds).
const SLOWEST_START: u64 = 1800;

pub(super) fn pod(plan: &KubernetesPlan, node: &Node) -> Value {
    let root = if node.rootless { ROOTLESS_ROOT } else { ROOT };
    let (name, volume) = volume::of(plan, node);
    let mut volumes: Vec<Value> = volume.into_iter().collect();
    let mut arguments = node.buildkitd_flags.clone();
    if node.rootless {
        arguments.push("--oci-worker-no-process-sandbox".to_owned());
    }
    let mut container = json!({
        "name": "buildkitd",
        "image": node.image,
        "args": arguments,
        "securityContext": security(node.rootless),
        // It stops once BuildKit answers. A permanent probe costs a process per second, and a busy disk could make it fail during a build.
        "startupProbe": {
            "exec": { "command": ["buildctl", "debug", "workers"] },
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": SLOWEST_START,
        },
        "resources": { "requests": node.requests, "limits": node.limits },
        "volumeMounts": [{ "name": name, "mountPath": root }],
    });
    if !node.env.is_empty() {
        let variable = |(name, value)| json!({ "name": name, "value": value });
        container["env"] = node.env.iter().map(variable).collect();
    }
    config::mount(node, &mut volumes, &mut container);
    let mut pod = json!({
        "containers": [container],
        "volumes": volumes,
        // Build steps do not need a variable for each service of the namespace.
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 10,
    });
    match &node.service_account {
        Some(account) => pod["serviceAccountName"] = json!(account),
        None => pod["automountServiceAccountToken"] = json!(false),
    }
    if node.rootless && node.storage.is_some() {
        // A new volume belongs to root; an existing one is not changed again.
        pod["securityContext"] = json!({
            "fsGroup": ROOTLESS_USER, "fsGroupChangePolicy": "OnRootMismatch",
        });
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
