use serde_json::{Value, json};

use super::*;

/// Longer than every grace period.
const LONG: Duration = Duration::from_secs(100);

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
fn an_unschedulable_pod_has_a_reason_and_a_hint() {
    let message = "0/5 nodes are available: 5 Insufficient cpu. preemption: 0/5 nodes are \
                   available: 5 No preemption victims found for incoming pod.";
    let problem = problem(&not_scheduled(message), &[], LONG).unwrap();
    assert_eq!(
        problem.text,
        "no node takes its pod: 0/5 nodes are available: 5 Insufficient cpu"
    );
    assert!(problem.hint.starts_with("lower `requests`"));
    assert!(!problem.is_final);
}

#[test]
fn each_reason_has_its_own_hint() {
    for (message, hint) in [
        ("node(s) had untolerated taint {a: b}", "tolerations"),
        (
            "didn't match Pod's node affinity/selector",
            "kubectl describe",
        ),
        ("something new", "kubectl describe pod"),
    ] {
        let problem = problem(&not_scheduled(message), &[], LONG).unwrap();
        assert!(problem.hint.contains(hint), "{message}: {}", problem.hint);
    }
    let scaling = [event(
        "TriggeredScaleUp",
        "pod triggered scale-up: [ng 1->2]",
    )];
    let problem = problem(&not_scheduled("Insufficient cpu"), &scaling, LONG).unwrap();
    assert!(
        problem
            .hint
            .ends_with("(autoscaler: pod triggered scale-up: [ng 1->2])")
    );
}

#[test]
fn an_image_that_can_not_be_pulled_counts_after_a_while() {
    let waiting = |reason, message| json!({ "waiting": { "reason": reason, "message": message } });
    let pod = with_state(&waiting("ImagePullBackOff", "no such host"));
    let at = |seconds| problem(&pod, &[], Duration::from_secs(seconds)).unwrap();
    assert!(!at(3).is_final);
    assert!(at(12).is_final);
    assert_eq!(
        at(3).text,
        "the image `moby/buildkit:1` cannot be pulled: no such host"
    );
    let invalid = with_state(&waiting("InvalidImageName", ""));
    let problem = problem(&invalid, &[], Duration::ZERO).unwrap();
    assert!(problem.is_final && problem.text.ends_with("InvalidImageName"));
}

#[test]
fn a_crash_loop_has_its_exit_code() {
    let pod = with_state(&json!({ "waiting": { "reason": "CrashLoopBackOff" } }));
    let problem = problem(&pod, &[], LONG).unwrap();
    assert_eq!(
        problem.text,
        "BuildKit exits as soon as it starts (exit code 1)"
    );
    assert!(problem.is_final);
}

#[test]
fn a_pod_that_makes_progress_has_no_problem() {
    let creating = with_state(&json!({ "waiting": { "reason": "ContainerCreating" } }));
    assert_eq!(problem(&creating, &[], LONG), None);
    assert_eq!(problem(&pod(json!({}), &json!({})), &[], LONG), None);
    assert_eq!(
        state(&creating),
        "the pod is Pending, its container `buildkitd` waits: ContainerCreating"
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
    let problem = loss(&running(), Some(&killed)).unwrap();
    assert_eq!(problem.text, "BuildKit ran out of memory (exit code 137)");
    assert!(problem.hint.contains("limits.memory"));
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
        let problem = no_pods(&status, &events).unwrap();
        assert!(problem.text.contains("exceeded quota"));
        assert!(problem.hint.contains("ResourceQuota"));
    }
    assert_eq!(no_pods(&Value::Null, &[]), None);
}

#[test]
fn a_volume_without_a_class_has_its_own_hint() {
    let message = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": [
        { "type": "PodScheduled", "status": "False", "message": message },
    ]}}))
    .unwrap();
    let problem = problem(&pod, &[], LONG).unwrap();
    assert!(
        problem.hint.contains("storageclassname"),
        "{}",
        problem.hint
    );
}

#[test]
fn a_healthy_boot_reports_no_passing_problem() {
    let early = Duration::from_millis(900);
    let unbound =
        not_scheduled("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    assert_eq!(problem(&unbound, &[], early), None);
    let creating = with_state(&json!({ "waiting": { "reason": "ContainerCreating" } }));
    let missing = warning(
        "FailedMount",
        "MountVolume.SetUp failed: configmap \"x-config\" not found",
    );
    assert_eq!(
        problem(&creating, std::slice::from_ref(&missing), early),
        None
    );
    // The mount succeeded, and the pull began.
    let events = [missing, event("Pulling", "Pulling image \"x\"")];
    assert_eq!(problem(&creating, &events, LONG), None);
}

fn warning(reason: &str, message: &str) -> Event {
    Event {
        type_: Some("Warning".to_owned()),
        ..event(reason, message)
    }
}

#[test]
fn what_holds_a_pod_before_its_container_starts_is_reported() {
    let creating = with_state(&json!({ "waiting": { "reason": "ContainerCreating" } }));
    let cases = [
        (
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container",
            "its node has no free pod IP: Failed to create",
            "prefix delegation",
        ),
        (
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = runtime not ready",
            "its node cannot create the pod's sandbox: ",
            "kubectl describe node",
        ),
        (
            "FailedAttachVolume",
            "Multi-Attach error for volume \"pvc-1\" Volume is already exclusively attached to one node",
            "its volume is attached to another node: ",
            "six minutes",
        ),
        (
            "FailedAttachVolume",
            "AttachVolume.Attach failed for volume \"pvc-1\": rpc error",
            "its volume cannot be attached: ",
            "EBS CSI driver",
        ),
        (
            "FailedMount",
            "MountVolume.MountDevice failed for volume \"pvc-1\"",
            "its volume cannot be mounted: ",
            "kubectl describe pod",
        ),
        (
            "NetworkNotReady",
            "network is not ready",
            "its node's network is not ready: ",
            "plugin",
        ),
        (
            "SomethingNew",
            "of a later version",
            "SomethingNew: of a later version",
            "kubectl describe pod",
        ),
    ];
    for (reason, message, text, hint) in cases {
        let events = [event("Scheduled", "assigned"), warning(reason, message)];
        let problem = problem(&creating, &events, LONG).unwrap();
        assert!(problem.text.starts_with(text), "{problem:?}");
        assert!(problem.hint.contains(hint), "{problem:?}");
        assert!(!problem.is_final, "{problem:?}");
    }
    // A warning from before the pod was scheduled is over.
    let events = [
        warning("FailedScheduling", "no"),
        event("Scheduled", "assigned"),
    ];
    assert_eq!(problem(&creating, &events, LONG), None);
}

fn of_claim(reason: &str, message: &str) -> Event {
    let mut event = warning(reason, message);
    event.involved_object.kind = Some("PersistentVolumeClaim".to_owned());
    event
}

/// The scheduler's own condition is not there while it waits for a volume.
#[test]
fn a_pod_that_waits_for_its_volume_says_why() {
    let waiting = || pod(json!({}), &json!({ "phase": "Pending" }));
    let unknown = of_claim(
        "ProvisioningFailed",
        "storageclass.storage.k8s.io \"gp9\" not found",
    );
    let refused = of_claim(
        "ProvisioningFailed",
        "failed to provision volume with StorageClass \"gp3\": rpc error: code = Internal desc = UnauthorizedOperation",
    );
    let begun = of_claim(
        "Provisioning",
        "External provisioner is provisioning volume for claim \"b/c\"",
    );
    let outside = of_claim(
        "ExternalProvisioning",
        "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually by the system administrator.",
    );
    let done = of_claim(
        "ProvisioningSucceeded",
        "Successfully provisioned volume pvc-1",
    );
    for (events, age, expected) in [
        (
            vec![unknown.clone()],
            GRACE,
            Some((
                "its volume cannot be created: storageclass.storage.k8s.io \"gp9\" not found",
                "storageclassname=…",
            )),
        ),
        (
            vec![
                outside.clone(),
                begun.clone(),
                refused.clone(),
                begun.clone(),
            ],
            GRACE,
            Some((
                "its volume cannot be created: failed to provision volume",
                "EBS CSI",
            )),
        ),
        (vec![begun.clone(), outside.clone()], GRACE, None),
        (
            vec![begun, outside.clone()],
            PATIENCE,
            Some((
                "its volume is not created yet: Waiting for a volume to be created",
                "`aws-ebs-csi-driver`",
            )),
        ),
        (vec![refused.clone(), outside, done], LONG, None),
    ] {
        let found = problem(&waiting(), &events, age);
        let Some((text, hint)) = expected else {
            assert_eq!(found, None);
            continue;
        };
        let found = found.unwrap();
        assert!(found.text.starts_with(text), "{found:?}");
        assert!(found.hint.contains(hint), "{found:?}");
        assert!(!found.is_final, "{found:?}");
    }
    // Before the scheduler's words, which name no reason; no more once the pod has a node.
    let unbound = not_scheduled("pod has unbound immediate PersistentVolumeClaims");
    let found = problem(&unbound, std::slice::from_ref(&unknown), LONG).unwrap();
    assert!(found.text.contains("\"gp9\" not found"), "{found:?}");
    let taken = pod(json!({ "nodeName": "n" }), &json!({ "phase": "Pending" }));
    assert_eq!(
        problem(&taken, &[refused, event("Scheduled", "x")], LONG),
        None
    );
}

#[test]
fn a_pods_claims_are_its_own_and_those_it_names() {
    let volumes = json!([
        { "name": "named", "persistentVolumeClaim": { "claimName": "cache" } },
        { "name": "state", "ephemeral": {} },
        { "name": "config", "configMap": { "name": "c" } },
    ]);
    let pod = pod(json!({ "volumes": volumes }), &json!({}));
    assert_eq!(claims(&pod), ["cache", "p-state"]);
}

#[test]
fn init_containers_have_problems_too() {
    let init = |state: Value, restarts: i32| {
        let mut pod = serde_json::to_value(with_state(
            &json!({ "waiting": { "reason": "PodInitializing" } }),
        ))
        .unwrap();
        pod["spec"]["initContainers"] = json!([{ "name": "qemu", "image": "binfmt:none" }]);
        pod["status"]["initContainerStatuses"] = json!([{
            "name": "qemu", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
            "lastState": { "terminated": { "exitCode": 7 } },
        }]);
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    let waiting = |reason, message| json!({ "waiting": { "reason": reason, "message": message } });
    let pod = init(waiting("ImagePullBackOff", "not found"), 0);
    let pull = problem(&pod, &[], LONG).unwrap();
    assert_eq!(
        pull.text,
        "the image `binfmt:none` of its container `qemu` cannot be pulled: not found"
    );
    assert!(pull.hint.contains("qemu.image"), "{pull:?}");
    assert!(pull.is_final);
    assert_eq!(
        state(&pod),
        "the pod is Pending, its container `qemu` waits: ImagePullBackOff, its container `buildkitd` waits: PodInitializing"
    );
    let crash = problem(&init(waiting("CrashLoopBackOff", ""), 2), &[], LONG).unwrap();
    assert_eq!(crash.text, "its container `qemu` fails (exit code 7)");
}

#[test]
fn the_text_of_the_scheduler_ends_cleanly() {
    // Kubernetes 1.36.
    let message = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 \
                   Preemption is not helpful for scheduling.";
    let problem = problem(&not_scheduled(message), &[], LONG).unwrap();
    assert_eq!(
        problem.text,
        "no node takes its pod: 0/1 nodes are available: 1 Insufficient cpu"
    );
}

#[test]
fn a_missing_architecture_is_named() {
    let message = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.";
    let hint = |selector: Value| {
        let mut pod = not_scheduled(message);
        pod.spec.as_mut().unwrap().node_selector = serde_json::from_value(selector).unwrap();
        problem(&pod, &[], LONG).unwrap().hint
    };
    let architecture = hint(json!({ "kubernetes.io/arch": "arm64" }));
    assert!(
        architecture.contains("`arm64`") && architecture.contains("qemu.install=true"),
        "{architecture}"
    );
    assert!(!architecture.contains("nodeselector"), "{architecture}");
    let label = hint(json!({ "kubernetes.io/arch": "arm64", "pool": "ci" }));
    assert!(
        label.contains("`pool=ci`") && label.contains("nodeselector"),
        "{label}"
    );
}
