//! The volume of BuildKit's folder and its claim. Pure.
//!
//! A builder of one run has claims that are deleted with its pods
//! (<https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes>). A persistent one has a claim for its
//! Deployment, or one for each pod of its StatefulSet, under buildx's name; these outlive it.

use serde_json::{Value, json};

use super::MANAGED;
use crate::plan::{KubernetesPlan, Node, Workload};

const NAME: &str = "buildkit";
/// buildx's name: <https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/manifest/manifest.go>.
const OF_STATEFUL_SET: &str = "buildkitd";

/// The volume's name, and the volume unless a StatefulSet defines it.
pub(super) fn of(plan: &KubernetesPlan, node: &Node) -> (&'static str, Option<Value>) {
    let source = match (node.workload, &node.storage, &node.memory_volume) {
        (Workload::StatefulSet, ..) => return (OF_STATEFUL_SET, None),
        (_, Some(_), _) if plan.kept => {
            json!({ "persistentVolumeClaim": { "claimName": claim_name(node) } })
        }
        (_, Some(size), _) => json!({ "ephemeral": { "volumeClaimTemplate": {
            "metadata": { "labels": { MANAGED.0: MANAGED.1 } },
            "spec": specification(node, size),
        }}}),
        (_, None, Some(size)) => json!({ "emptyDir": { "medium": "Memory", "sizeLimit": size } }),
        (_, None, None) => json!({ "emptyDir": {} }),
    };
    let mut volume = source;
    volume["name"] = json!(NAME);
    (NAME, Some(volume))
}

/// The claim of a persistent Deployment.
pub(in crate::builder::kubernetes) fn claim(plan: &KubernetesPlan, node: &Node) -> Option<Value> {
    let size = node.storage.as_ref()?;
    (plan.kept && node.workload == Workload::Deployment).then(|| {
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": claim_name(node), "labels": { MANAGED.0: MANAGED.1 } },
            "spec": specification(node, size),
        })
    })
}

/// The claims of a StatefulSet, one for each pod: `buildkitd-<pod>`.
pub(super) fn templates(node: &Node) -> Value {
    let size = node.storage.as_deref().unwrap_or_default();
    json!([{
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": OF_STATEFUL_SET, "labels": { MANAGED.0: MANAGED.1 } },
        "spec": specification(node, size),
    }])
}

fn claim_name(node: &Node) -> String {
    format!("{}-data", node.name)
}

fn specification(node: &Node, size: &str) -> Value {
    let mut specification = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": size } },
    });
    if let Some(class) = &node.storage_class {
        specification["storageClassName"] = json!(class);
    }
    specification
}
