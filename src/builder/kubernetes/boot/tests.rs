use serde_json::{Value, json};

use super::*;

fn pod(mut spec: Value, status: &Value) -> Pod {
    spec["containers"] = json!([]);
    serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": spec, "status": status }))
        .unwrap()
}

fn with_state(state: &Value) -> Pod {
    pod(
        json!({ "nodeName": "n" }),
        &json!({ "phase": "Pending", "containerStatuses": [{
            "name": "buildkitd", "image": "moby/buildkit:1", "imageID": "", "ready": false,
            "restartCount": 2, "state": state,
            "lastState": { "terminated": { "exitCode": 1 } },
        }]}),
    )
}

fn event(reason: &str, message: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "reason": reason, "message": message,
    }))
    .unwrap()
}

fn not_scheduled(message: &str) -> Pod {
    pod(
        json!({}),
        &json!({ "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        }]}),
    )
}

#[test]
fn a_pod_passes_its_milestones() {
    let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    let taken = || pod(json!({ "nodeName": "n" }), &json!({}));
    for (pod, events, expected) in [
        (pod(json!({}), &json!({})), vec![], Milestone::Created),
        (taken(), vec![], Milestone::Scheduled),
        (taken(), vec![event("Pulling", "x")], Milestone::Pulling),
        (
            with_state(&json!({ "running": {} })),
            vec![event("Pulling", "x")],
            Milestone::Started,
        ),
        (pod(json!({}), &ready), vec![], Milestone::Ready),
    ] {
        assert_eq!(milestone(&pod, &events), expected);
    }
    let mut leaving = pod(json!({}), &ready);
    leaving.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert!(!is_ready(&leaving));
}

#[test]
fn a_pod_that_no_node_takes_says_why_and_what_to_do() {
    let message = "0/5 nodes are available: 5 Insufficient cpu. preemption: 0/5 nodes are \
                   available: 5 No preemption victims found for incoming pod.";
    let trouble = trouble(&not_scheduled(message), &[], 0).unwrap();
    assert_eq!(
        trouble.text,
        "no node takes it: 0/5 nodes are available: 5 Insufficient cpu"
    );
    assert!(trouble.hint.starts_with("lower `requests`"));
    assert!(!trouble.lasting);
}

#[test]
fn each_reason_has_its_own_hint() {
    for (message, hint) in [
        ("node(s) had untolerated taint {a: b}", "tolerations"),
        ("didn't match Pod's node affinity/selector", "nodeselector"),
        ("something new", "kubectl describe pod"),
    ] {
        let trouble = trouble(&not_scheduled(message), &[], 0).unwrap();
        assert!(trouble.hint.contains(hint), "{message}: {}", trouble.hint);
    }
    let scaling = [event(
        "TriggeredScaleUp",
        "pod triggered scale-up: [ng 1->2]",
    )];
    let trouble = trouble(&not_scheduled("Insufficient cpu"), &scaling, 0).unwrap();
    assert!(
        trouble
            .hint
            .ends_with("(autoscaler: pod triggered scale-up: [ng 1->2])")
    );
}

#[test]
fn an_image_that_can_not_be_pulled_counts_after_a_while() {
    let waiting = |reason, message| json!({ "waiting": { "reason": reason, "message": message } });
    let pod = with_state(&waiting("ImagePullBackOff", "no such host"));
    let at = |seconds| trouble(&pod, &[], seconds).unwrap();
    assert!(!at(3).lasting);
    assert!(at(12).lasting);
    assert_eq!(
        at(3).text,
        "its image `moby/buildkit:1` can't be pulled: no such host"
    );
    let invalid = with_state(&waiting("InvalidImageName", ""));
    let trouble = trouble(&invalid, &[], 0).unwrap();
    assert!(trouble.lasting && trouble.text.ends_with("InvalidImageName"));
}

#[test]
fn a_crash_loop_tells_its_exit_code() {
    let pod = with_state(&json!({ "waiting": { "reason": "CrashLoopBackOff" } }));
    let trouble = trouble(&pod, &[], 0).unwrap();
    assert_eq!(
        trouble.text,
        "BuildKit ends as soon as it starts (exit code 1)"
    );
    assert!(trouble.lasting);
}

#[test]
fn a_pod_on_its_way_is_no_trouble() {
    let creating = with_state(&json!({ "waiting": { "reason": "ContainerCreating" } }));
    assert_eq!(trouble(&creating, &[], 100), None);
    assert_eq!(trouble(&pod(json!({}), &json!({})), &[], 100), None);
    assert_eq!(
        state(&creating),
        "the pod is Pending, its container waits: ContainerCreating"
    );
}

#[test]
fn a_pod_that_was_ready_can_be_lost_in_several_ways() {
    let running = || with_state(&json!({ "running": {} }));
    assert_eq!(loss(&running(), Some(&running())), None);
    assert_eq!(loss(&running(), None).unwrap().text, "its pod is gone");
    let evicted = pod(
        json!({}),
        &json!({ "phase": "Failed", "reason": "Evicted", "message": "low on disk" }),
    );
    let text = loss(&running(), Some(&evicted)).unwrap().text;
    assert_eq!(text, "its pod failed: Evicted: low on disk");
    let mut killed = serde_json::to_value(running()).unwrap();
    let container = &mut killed["status"]["containerStatuses"][0];
    container["restartCount"] = json!(3);
    container["lastState"]["terminated"] = json!({ "exitCode": 137, "reason": "OOMKilled" });
    let killed: Pod = serde_json::from_value(killed).unwrap();
    let trouble = loss(&running(), Some(&killed)).unwrap();
    assert_eq!(trouble.text, "BuildKit ran out of memory (exit code 137)");
    assert!(trouble.hint.contains("limits.memory"));
}

#[test]
fn a_quota_keeps_a_workload_from_its_pods() {
    let message = "pods \"x\" is forbidden: exceeded quota: builders";
    let deployment = json!({ "conditions": [
        { "type": "Available", "status": "False" },
        { "type": "ReplicaFailure", "status": "True", "message": message },
    ]});
    // The status of a StatefulSet has no such condition.
    let event: Event = serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "reason": "FailedCreate",
        "message": format!("create Pod x-0 in StatefulSet x failed error: {message}"),
    }))
    .unwrap();
    for (status, events) in [
        (deployment, vec![]),
        (json!({ "replicas": 0 }), vec![event]),
    ] {
        let trouble = no_pods(&status, &events).unwrap();
        assert!(trouble.text.contains("exceeded quota"));
        assert!(trouble.hint.contains("ResourceQuota"));
    }
    assert_eq!(no_pods(&Value::Null, &[]), None);
}

#[test]
fn a_volume_without_a_class_is_told_from_a_node_without_room() {
    let message = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": [
        { "type": "PodScheduled", "status": "False", "message": message },
    ]}}))
    .unwrap();
    let trouble = trouble(&pod, &[], 0).unwrap();
    assert!(
        trouble.hint.contains("storageclassname"),
        "{}",
        trouble.hint
    );
}
