//! The Deployment under whose name buildx's driver looks for its own, so that it takes ours.
//!
//! In: a node of the plan. Out: the object, pure. What the driver needs: the name, the label `app`
//! in the selector, `buildkitd` as first container
//! (<https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/manifest/manifest.go>). What
//! differs from its own: buildkitd is asked every second whether it is up, and no more once it is,
//! instead of after 5 s and then every 30; a request for disk is a request; no token of the cluster
//! reaches build steps unless a service account is named.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::plan::{KubernetesPlan, Node};

/// Marks what runs of ours made: `app.kubernetes.io/managed-by`
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
pub(super) const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "fast-ecr-push");
/// Marks what ends with its run, by contrast with builders that are kept.
pub(super) const LIFETIME: (&str, &str) = ("fast-ecr-push/lifetime", "run");
/// When the run last said that it lives, by the API server's clock.
pub(super) const HEARTBEAT: &str = "fast-ecr-push/heartbeat";
/// Address of the workflow run.
const RUN: &str = "fast-ecr-push/run";
/// Keeps Karpenter from moving the pod: <https://karpenter.sh/docs/concepts/disruption/>. The value
/// `true` is the one that all of its versions understand.
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

const ROOT: &str = "/var/lib/buildkit";
const ROOTLESS_ROOT: &str = "/home/user/.local/share/buildkit";
/// The user of the rootless image.
const ROOTLESS_USER: u32 = 1000;

/// What no pod should take to find out that it is up (seconds).
const SLOWEST_START: u64 = 1800;

/// The Deployment of a node.
pub(super) fn deployment(plan: &KubernetesPlan, node: &Node, heartbeat: Timestamp) -> Value {
    let mut labels = Map::new();
    labels.extend(node.labels.iter().map(text));
    labels.insert(MANAGED.0.to_owned(), json!(MANAGED.1));
    labels.insert("app".to_owned(), json!(node.name));
    let mut on_deployment = labels.clone();
    on_deployment.insert(LIFETIME.0.to_owned(), json!(LIFETIME.1));
    let mut annotations: Map<String, Value> = node.annotations.iter().map(text).collect();
    if let Some(run) = &plan.run {
        annotations.insert(RUN.to_owned(), json!(run));
    }
    let mut on_pod = annotations.clone();
    on_pod
        .entry(DO_NOT_DISRUPT)
        .or_insert_with(|| json!("true"));
    if node.rootless {
        let key = "container.apparmor.security.beta.kubernetes.io/buildkitd";
        on_pod.insert(key.to_owned(), json!("unconfined"));
    }
    annotations.insert(HEARTBEAT.to_owned(), json!(heartbeat.to_string()));
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": node.name,
            "namespace": plan.namespace,
            "labels": on_deployment,
            "annotations": annotations,
        },
        "spec": {
            "replicas": node.replicas,
            "revisionHistoryLimit": 0,
            "selector": { "matchLabels": { "app": node.name } },
            "template": {
                "metadata": { "labels": labels, "annotations": on_pod },
                "spec": pod(node),
            },
        },
    })
}

fn pod(node: &Node) -> Value {
    let root = if node.rootless { ROOTLESS_ROOT } else { ROOT };
    let volume = match &node.memory_volume {
        Some(size) => json!({ "medium": "Memory", "sizeLimit": size }),
        None => json!({}),
    };
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
        "volumeMounts": [{ "name": "buildkit", "mountPath": root }],
    });
    if !node.env.is_empty() {
        let env = node.env.iter();
        container["env"] = env
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
    }
    let mut pod = json!({
        "containers": [container],
        "volumes": [{ "name": "buildkit", "emptyDir": volume }],
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
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use secrecy::SecretString;

    use super::*;
    use crate::plan::Hidden;

    fn plan(node: Node) -> KubernetesPlan {
        KubernetesPlan {
            server: "https://k".to_owned(),
            context: "c".to_owned(),
            namespace: "buildx".to_owned(),
            timeout_seconds: 300,
            fallback: false,
            nodes: vec![node],
            run: Some("https://github.com/octo/app/actions/runs/7".to_owned()),
            kubeconfig: Hidden(SecretString::from("")),
        }
    }

    fn node() -> Node {
        Node {
            name: "fast-ecr-push-x1".to_owned(),
            image: "moby/buildkit:1".to_owned(),
            replicas: 1,
            ..Node::default()
        }
    }

    fn made(node: Node) -> Value {
        let plan = plan(node);
        deployment(&plan, &plan.nodes[0], Timestamp::UNIX_EPOCH)
    }

    /// All that differs from a small node, so that every part of the manifest is there.
    fn everything() -> Node {
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        Node {
            rootless: true,
            requests: [
                ("cpu", "2".to_owned()),
                ("ephemeral-storage", "9Gi".to_owned()),
            ]
            .into(),
            limits: [("memory", "7Gi".to_owned())].into(),
            scheduler: Some("s".to_owned()),
            service_account: Some("builder".to_owned()),
            node_selector: pair("kubernetes.io/arch", "arm64"),
            annotations: pair("karpenter.sh/do-not-disrupt", "30m"),
            labels: pair("team", "ci"),
            tolerations: vec![crate::plan::Toleration {
                key: Some("build".to_owned()),
                toleration_seconds: Some(5),
                ..crate::plan::Toleration::default()
            }],
            env: pair("A", "b"),
            qemu: Some("binfmt".to_owned()),
            memory_volume: Some("4Gi".to_owned()),
            buildkitd_flags: vec!["--debug".to_owned()],
            ..node()
        }
    }

    #[test]
    fn is_what_the_driver_looks_for() {
        for node in [node(), everything()] {
            let made = made(node);
            assert_eq!(made["metadata"]["name"], "fast-ecr-push-x1");
            assert_eq!(
                made["spec"]["selector"]["matchLabels"],
                json!({ "app": "fast-ecr-push-x1" })
            );
            let template = &made["spec"]["template"];
            assert_eq!(template["metadata"]["labels"]["app"], "fast-ecr-push-x1");
            assert_eq!(template["spec"]["containers"][0]["name"], "buildkitd");
        }
    }

    #[test]
    fn every_field_is_one_of_kubernetes() {
        for node in [node(), everything()] {
            let made = made(node);
            let typed: Deployment = serde_json::from_value(made.clone()).unwrap();
            let mut again = serde_json::to_value(typed).unwrap();
            // An empty volume is left out by the types.
            let volume = &made["spec"]["template"]["spec"]["volumes"];
            again["spec"]["template"]["spec"]["volumes"] = volume.clone();
            assert_eq!(again, made);
        }
    }

    #[test]
    fn options_are_put_where_they_belong() {
        let made = made(everything());
        let pod = &made["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(
            container["resources"]["requests"]["ephemeral-storage"],
            "9Gi"
        );
        assert_eq!(container["resources"]["limits"], json!({ "memory": "7Gi" }));
        assert_eq!(
            container["args"],
            json!(["--debug", "--oci-worker-no-process-sandbox"])
        );
        assert_eq!(container["securityContext"]["privileged"], Value::Null);
        assert_eq!(container["volumeMounts"][0]["mountPath"], ROOTLESS_ROOT);
        assert_eq!(pod["volumes"][0]["emptyDir"]["sizeLimit"], "4Gi");
        assert_eq!(pod["serviceAccountName"], "builder");
        assert_eq!(
            pod["tolerations"],
            json!([{ "key": "build", "tolerationSeconds": 5 }])
        );
        let annotations = &made["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations[DO_NOT_DISRUPT], "30m");
        assert_eq!(annotations[HEARTBEAT], Value::Null);
    }

    #[test]
    fn a_builder_of_a_run_says_so() {
        let made = made(node());
        let metadata = &made["metadata"];
        assert_eq!(metadata["labels"][MANAGED.0], MANAGED.1);
        assert_eq!(metadata["labels"][LIFETIME.0], LIFETIME.1);
        assert_eq!(metadata["annotations"][HEARTBEAT], "1970-01-01T00:00:00Z");
        let pod = &made["spec"]["template"];
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        assert_eq!(pod["metadata"]["annotations"][DO_NOT_DISRUPT], "true");
    }
}
