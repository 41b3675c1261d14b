//! What the cluster's API and commands for its credentials say, and what reaches the way to it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::core::Status;
use readers::Target;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::api_error::ApiError;
use super::manifest::{claim_differences, differences};
use super::{boot, login, orphans, tunnel};
use crate::any_bytes::{part, parts, seed};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "pods",
        read: pods,
        seeds: || {
            vec![
                seed(&[WAITS, EVENTS, WAITS]),
                seed(&[RUNS, "[]", KILLED]),
                seed(&[KILLED, EVENTS, RUNS]),
            ]
        },
    },
    Target {
        name: "workloads",
        read: workloads,
        seeds: || vec![seed(&[WORKLOAD, WORKLOAD, EVENTS, REFUSAL])],
    },
    Target {
        name: "exec-credential",
        read: |bytes| login::tests::check(&String::from_utf8_lossy(bytes)),
        seeds: || {
            vec![
                br#"{"kind":"ExecCredential","status":{"token":"t","expirationTimestamp":"2030-01-02T03:04:05Z"}}"#.to_vec(),
                b"status:\n  clientCertificateData: |\n    a\n  clientKeyData: b\n".to_vec(),
            ]
        },
    },
    Target {
        name: "tunnel",
        read: tunnel::check,
        seeds: || {
            vec![
                b"CONNECT k.example:443 HTTP/1.1\r\nHost: k.example:443\r\n\r\n\x16\x03\x01\x00\x02\x01\x00".to_vec(),
            ]
        },
    },
];

const WAITS: &str = r#"{"metadata":{"name":"p"},"spec":{"nodeName":"n","nodeSelector":{"kubernetes.io/arch":"arm64"},"containers":[{"name":"buildkitd","image":"b"}],"volumes":[{"name":"v","ephemeral":{}}]},"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"0/1 nodes are available: 1 Insufficient cpu. preemption: no"}],"containerStatuses":[{"name":"buildkitd","image":"b","imageID":"","ready":false,"restartCount":0,"state":{"waiting":{"reason":"ImagePullBackOff","message":"m"}}}]}}"#;

const RUNS: &str = r#"{"metadata":{"name":"p"},"spec":{"containers":[]},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"buildkitd","image":"b","imageID":"","ready":true,"restartCount":0,"state":{"running":{}}}]}}"#;

const KILLED: &str = r#"{"metadata":{"name":"p"},"spec":{"containers":[]},"status":{"phase":"Failed","reason":"Evicted","containerStatuses":[{"name":"buildkitd","image":"b","imageID":"","ready":false,"restartCount":1,"state":{"terminated":{"exitCode":1}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}}"#;

const EVENTS: &str = r#"[{"metadata":{},"involvedObject":{"kind":"PersistentVolumeClaim"},"reason":"ProvisioningFailed","message":"storageclass"},{"metadata":{},"involvedObject":{},"type":"Warning","reason":"FailedAttachVolume","message":"Multi-Attach"}]"#;

const WORKLOAD: &str = r#"{"metadata":{"name":"d","annotations":{"fast-ecr-push/heartbeat":"2026-01-02T03:04:05Z","fast-ecr-push/made":"{\"replicas\":1}"}},"spec":{"resources":{"requests":{"storage":"1Gi"}},"replicas":1,"template":{"spec":{"containers":[{"name":"a","args":["b"]}]}}},"status":{"conditions":[{"type":"ReplicaFailure","status":"True","message":"exceeded quota"}]}}"#;

const REFUSAL: &str = r#"{"kind":"Status","status":"Failure","message":"pods is forbidden: User \"u\" cannot create","reason":"Forbidden","code":403}"#;

fn read<T: DeserializeOwned>(parts: &[String], index: usize) -> Option<T> {
    serde_json::from_str(part(parts, index)).ok()
}

/// A pod, events, and the pod later. A problem has a text and a hint, at any age.
fn pods(bytes: &[u8]) {
    let parts = parts(bytes);
    let (pod, later): (Option<Pod>, Option<Pod>) = (read(&parts, 0), read(&parts, 2));
    let events: Vec<Event> = read(&parts, 1).unwrap_or_default();
    let Some(pod) = pod else {
        return;
    };
    let ages = [0, 5, 60].map(Duration::from_secs);
    let delays = ages.map(|age| boot::problem(&pod, &events, age));
    for problem in delays.into_iter().chain([boot::loss(&pod, later.as_ref())]) {
        assert!(problem.is_none_or(|found| !found.text.is_empty() && !found.hint.is_empty()));
    }
    if let Some(later) = &later {
        assert!(!boot::was_killed(&pod, later) || boot::has_restarted(&pod, later));
    }
    let lines = events.iter().map(boot::line).count();
    assert_eq!(lines, events.len());
    let _ = (boot::milestone(&pod, &events), boot::claims(&pod));
    assert!(boot::state(&pod).starts_with("the pod is "));
}

/// A workload, another, events about them, a refusal. One without a heartbeat is no orphan, and none differs from itself.
fn workloads(bytes: &[u8]) {
    let parts = parts(bytes);
    let [there, wanted] = [0, 1].map(|index| read::<Value>(&parts, index).unwrap_or_default());
    let _ = (
        differences(&there, &wanted),
        claim_differences(&there, &wanted),
    );
    assert_eq!(claim_differences(&there, &there), [""; 0], "{there}");
    let events: Vec<Event> = read(&parts, 2).unwrap_or_default();
    let _ = boot::no_pods(&there["status"], &events);
    if let Some(found) = read::<Deployment>(&parts, 0) {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let is_orphan = orphans::is_orphan(&found, now);
        assert!(!is_orphan || found.metadata.annotations.is_some());
    }
    if let Some(status) = read::<Status>(&parts, 3) {
        let error = ApiError::refused("https://k.example", "get pods".to_owned(), &status);
        assert!(!error.to_string().is_empty());
        let _ = error.hint();
    }
}
