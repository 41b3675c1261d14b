//! Scheduler, kubelet and controllers, by script: a workload's pods go through their stages at the
//! script's times, and what a workload owns goes with it. They do nothing else.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::script::{Script, Trouble};
use crate::store::{Key, Store, now};
use crate::volumes;

const NODE: &str = "ip-10-0-1-23.eu-west-1.compute.internal";
const PULL_ERROR: &str = "failed to pull and unpack image \"example.invalid/buildkit:1\": failed to \
    resolve reference: dial tcp: lookup example.invalid: no such host";

/// Starts what a new Deployment or StatefulSet asks for.
pub(crate) fn start(store: &Arc<Store>, workload: &Key, object: &Value, script: &Script) {
    let replicas = object["spec"]["replicas"].as_u64().unwrap_or(1);
    if script.trouble == Some(Trouble::Quota) {
        refuse_pods(store, workload);
        return;
    }
    let ordered =
        workload.resource == "statefulsets" && object["spec"]["podManagementPolicy"] != "Parallel";
    let (store, workload, object, script) = (
        Arc::clone(store),
        workload.clone(),
        object.clone(),
        script.clone(),
    );
    tokio::spawn(async move {
        for replica in 0..replicas {
            let (store, workload, object, script) = (
                Arc::clone(&store),
                workload.clone(),
                object.clone(),
                script.clone(),
            );
            let pod = tokio::spawn(async move {
                run_pod(&store, &workload, &object, replica, &script).await;
            });
            if ordered {
                let _ = pod.await;
            }
        }
    });
}

/// A Deployment says in its status that it may not make pods, a StatefulSet in events only.
fn refuse_pods(store: &Store, workload: &Key) {
    let refused = |pod: &str| {
        format!(
            "pods \"{pod}\" is forbidden: exceeded quota: builders, requested: requests.cpu=2, used: \
             requests.cpu=7, limited: requests.cpu=8"
        )
    };
    if workload.resource == "statefulsets" {
        let pod = format!("{}-0", workload.name);
        let message = format!(
            "create Pod {pod} in StatefulSet {} failed error: {}",
            workload.name,
            refused(&pod)
        );
        event(
            store,
            ("StatefulSet", workload),
            "Warning",
            "FailedCreate",
            &message,
        );
        return;
    }
    store.update(workload, |object| {
        object["status"] = json!({ "conditions": [{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": refused(&format!("{}-7c9", workload.name)),
        }]});
    });
}

async fn run_pod(store: &Store, workload: &Key, object: &Value, replica: u64, script: &Script) {
    let stateful = workload.resource == "statefulsets";
    let name = if stateful {
        format!("{}-{replica}", workload.name)
    } else {
        // Replicas start at once, perhaps at the same version.
        let version = store.version();
        format!("{}-6d4cf56db6-{version:04x}{replica:x}", workload.name)
    };
    let template = &object["spec"]["template"];
    let pod = Key::new("pods", &workload.namespace, &name);
    let mut spec = template["spec"].clone();
    if stateful {
        volumes::of_stateful_set(store, &pod, object, &mut spec);
    }
    let mut metadata = template["metadata"].clone();
    metadata["ownerReferences"] = json!([{ "uid": object["metadata"]["uid"] }]);
    let body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec,
        "status": { "phase": "Pending" },
    });
    let Some(created) = store.create(&pod, body) else {
        return;
    };
    volumes::of_pod(store, &pod, &created);
    let stage = Stage { store, pod: &pod };
    sleep(Duration::from_millis(script.scheduled_ms)).await;
    if let Some((label, _)) = unknown_label(template) {
        let message = format!(
            "0/5 nodes are available: 5 node(s) didn't match Pod's node \
            affinity/selector ({label}). preemption: 0/5 nodes are available: 5 Preemption is not \
            helpful for scheduling."
        );
        stage.condition("PodScheduled", "False", "Unschedulable", &message);
        stage.event("Warning", "FailedScheduling", &message);
        return;
    }
    if script.trouble == Some(Trouble::Unschedulable) {
        let message = "0/5 nodes are available: 2 node(s) had untolerated taint {dedicated: gpu}, 3 \
            Insufficient cpu. preemption: 0/5 nodes are available: 5 No preemption victims found for \
            incoming pod.";
        stage.condition("PodScheduled", "False", "Unschedulable", message);
        stage.event("Warning", "FailedScheduling", message);
        return;
    }
    if let Some(claim) = volumes::missing(store, &pod, &created) {
        let message =
            format!("0/5 nodes are available: persistentvolumeclaim \"{claim}\" not found.");
        stage.condition("PodScheduled", "False", "Unschedulable", &message);
        stage.event("Warning", "FailedScheduling", &message);
        return;
    }
    if script.trouble == Some(Trouble::Provision) {
        for claim in volumes::claims(&pod, &created) {
            let message = format!(
                "failed to provision volume with StorageClass \"gp3\" for {}: rpc error: code = Internal desc = Could not create \
                 volume: UnauthorizedOperation",
                claim.name
            );
            let about = ("PersistentVolumeClaim", &claim);
            event(store, about, "Warning", "ProvisioningFailed", &message);
        }
        return;
    }
    stage.condition("PodScheduled", "True", "", "");
    store.update(&pod, |pod| pod["spec"]["nodeName"] = json!(NODE));
    let place = format!("{}/{name}", workload.namespace);
    stage.event(
        "Normal",
        "Scheduled",
        &format!("Successfully assigned {place} to {NODE}"),
    );
    if script.trouble == Some(Trouble::Sandbox) {
        stage.waiting("ContainerCreating", "");
        let message = "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"4b1c\": plugin \
            type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container";
        stage.event("Warning", "FailedCreatePodSandBox", message);
        return;
    }
    if script.trouble == Some(Trouble::Attach) {
        stage.waiting("ContainerCreating", "");
        let message = "AttachVolume.Attach failed for volume \"pvc-6f2e\": rpc error: code = Internal desc = could not attach volume: \
            UnauthorizedOperation";
        stage.event("Warning", "FailedAttachVolume", message);
        return;
    }
    if script.trouble == Some(Trouble::InitImagePull) {
        stage.waiting("PodInitializing", "");
        store.update(&pod, |pod| {
            let container = pod["spec"]["initContainers"][0].clone();
            pod["status"]["initContainerStatuses"] = json!([{
                "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": "ImagePullBackOff", "message": PULL_ERROR } },
            }]);
        });
        return;
    }
    stage.waiting("ContainerCreating", "");
    let image = template["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default();
    stage.event("Normal", "Pulling", &format!("Pulling image \"{image}\""));
    sleep(Duration::from_millis(script.pulled_ms)).await;
    if script.trouble == Some(Trouble::ImagePull) {
        stage.event(
            "Warning",
            "Failed",
            &format!("Failed to pull image \"{image}\": {PULL_ERROR}"),
        );
        stage.waiting("ErrImagePull", PULL_ERROR);
        sleep(Duration::from_millis(300)).await;
        stage.waiting(
            "ImagePullBackOff",
            &format!("Back-off pulling image \"{image}\": ErrImagePull: {PULL_ERROR}"),
        );
        return;
    }
    stage.event(
        "Normal",
        "Pulled",
        &format!("Successfully pulled image \"{image}\""),
    );
    sleep(Duration::from_millis(script.started_ms)).await;
    stage.event("Normal", "Started", "Started container buildkitd");
    if script.trouble == Some(Trouble::CrashLoop) {
        stage.crashed();
        stage.event(
            "Warning",
            "BackOff",
            "Back-off restarting failed container buildkitd",
        );
        return;
    }
    stage.running(false);
    if script.trouble == Some(Trouble::NeverReady) {
        stage.event(
            "Warning",
            "Unhealthy",
            "Readiness probe failed: no workers found",
        );
        return;
    }
    sleep(probed(template, script.ready_ms)).await;
    if store.get(&pod).is_none() {
        return;
    }
    stage.running(true);
    stage.condition("Ready", "True", "", "");
    count_ready(store, workload);
    let killed = script.trouble == Some(Trouble::OomKilled) && replica == 0;
    if script.trouble == Some(Trouble::Exited) || killed {
        sleep(Duration::from_millis(1500)).await;
        let (code, reason) = if killed {
            (137, "OOMKilled")
        } else {
            (2, "Error")
        };
        store.update(&pod, |pod| {
            let container = &mut pod["status"]["containerStatuses"][0];
            container["restartCount"] = json!(1);
            container["lastState"] =
                json!({ "terminated": { "exitCode": code, "reason": reason } });
        });
    }
    if script.trouble == Some(Trouble::Evicted) {
        sleep(Duration::from_millis(1500)).await;
        store.update(&pod, |pod| {
            pod["status"]["phase"] = json!("Failed");
            pod["status"]["reason"] = json!("Evicted");
            pod["status"]["message"] = json!("The node was low on resource: ephemeral-storage.");
        });
    }
}

/// A requested label that no node of the cluster has: there are nodes of two architectures.
fn unknown_label(template: &Value) -> Option<(&String, &Value)> {
    let selector = template["spec"]["nodeSelector"].as_object()?;
    selector.iter().find(|(label, value)| {
        *label != "kubernetes.io/arch"
            || !["amd64", "arm64"].contains(&value.as_str().unwrap_or_default())
    })
}

/// When the readiness probe finds the container ready: at its first run after it is.
fn probed(template: &Value, ready_ms: u64) -> Duration {
    let container = &template["spec"]["containers"][0];
    // With a startup probe and no other, a container is ready as soon as it has started.
    let probe = match &container["startupProbe"] {
        Value::Null => &container["readinessProbe"],
        startup => startup,
    };
    let initial = probe["initialDelaySeconds"].as_u64().unwrap_or(0) * 1000;
    let period = probe["periodSeconds"].as_u64().unwrap_or(10).max(1) * 1000;
    let late = ready_ms.saturating_sub(initial).div_ceil(period) * period;
    Duration::from_millis(initial + late)
}

fn count_ready(store: &Store, workload: &Key) {
    let Some(uid) = store
        .get(workload)
        .map(|object| object["metadata"]["uid"].clone())
    else {
        return;
    };
    let ready = store
        .list("pods", &workload.namespace)
        .into_iter()
        .filter(|(_, pod)| pod["metadata"]["ownerReferences"][0]["uid"] == uid)
        .filter(|(_, pod)| pod["status"]["containerStatuses"][0]["ready"] == true)
        .count();
    store.update(workload, |object| {
        object["status"]["readyReplicas"] = json!(ready);
    });
}

/// Removes what belonged to an object that was deleted: pods end, the rest is garbage.
pub(crate) fn collect(store: &Arc<Store>, namespace: &str, uid: &Value) {
    for resource in ["pods", "configmaps", "persistentvolumeclaims"] {
        for (key, object) in store.list(resource, namespace) {
            let owners = object["metadata"]["ownerReferences"].as_array();
            if !owners
                .into_iter()
                .flatten()
                .any(|owner| owner["uid"] == *uid)
            {
                continue;
            }
            store.update(&key, |object| {
                object["metadata"]["deletionTimestamp"] = json!(now());
            });
            let store = Arc::clone(store);
            tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                if let Some(removed) = store.remove(&key) {
                    // What belonged to a pod goes with it.
                    collect(&store, &key.namespace, &removed["metadata"]["uid"]);
                }
            });
        }
    }
}

struct Stage<'a> {
    store: &'a Store,
    pod: &'a Key,
}

impl Stage<'_> {
    fn condition(&self, kind: &str, status: &str, reason: &str, message: &str) {
        let mut condition = json!({ "type": kind, "status": status, "lastTransitionTime": now() });
        if !reason.is_empty() {
            condition["reason"] = json!(reason);
            condition["message"] = json!(message);
        }
        self.store.update(self.pod, |pod| {
            let conditions = &mut pod["status"]["conditions"];
            match conditions.as_array_mut() {
                Some(all) => all.push(condition),
                None => *conditions = json!([condition]),
            }
        });
    }

    fn container(&self, state: &Value, ready: bool) {
        self.store.update(self.pod, |pod| {
            let container = &pod["spec"]["containers"][0];
            pod["status"]["containerStatuses"] = json!([{
                "name": container["name"], "image": container["image"], "imageID": "",
                "ready": ready, "restartCount": 0, "state": state,
            }]);
        });
    }

    fn waiting(&self, reason: &str, message: &str) {
        let mut waiting = json!({ "reason": reason });
        if !message.is_empty() {
            waiting["message"] = json!(message);
        }
        self.container(&json!({ "waiting": waiting }), false);
    }

    fn running(&self, ready: bool) {
        self.store
            .update(self.pod, |pod| pod["status"]["phase"] = json!("Running"));
        self.container(&json!({ "running": { "startedAt": now() } }), ready);
    }

    fn crashed(&self) {
        let message = "back-off 10s restarting failed container=buildkitd";
        let waiting = json!({ "reason": "CrashLoopBackOff", "message": message });
        self.store.update(self.pod, |pod| {
            let container = &pod["spec"]["containers"][0];
            pod["status"]["containerStatuses"] = json!([{
                "name": container["name"], "image": container["image"], "imageID": "",
                "ready": false, "restartCount": 2, "state": { "waiting": waiting },
                "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } },
            }]);
            pod["status"]["phase"] = json!("Running");
        });
    }

    fn event(&self, kind: &str, reason: &str, message: &str) {
        event(self.store, ("Pod", self.pod), kind, reason, message);
    }
}

/// An event about an object, of which the kind and the key are given.
fn event(store: &Store, (of, key): (&str, &Key), kind: &str, reason: &str, message: &str) {
    let name = format!("{}.{:x}", key.name, store.version());
    let uid = store
        .get(key)
        .map(|object| object["metadata"]["uid"].clone());
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {}, "type": kind, "reason": reason,
        "message": message, "count": 1, "firstTimestamp": now(), "lastTimestamp": now(),
        "involvedObject": { "kind": of, "name": key.name, "namespace": key.namespace, "uid": uid },
    });
    store.create(&Key::new("events", &key.namespace, &name), event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_finds_out_at_its_next_run() {
        let template = |initial, period| {
            json!({ "spec": { "containers": [{ "readinessProbe": {
                "initialDelaySeconds": initial, "periodSeconds": period,
            }}]}})
        };
        let seconds = |template, ready_ms| probed(&template, ready_ms).as_secs();
        assert_eq!(seconds(template(0, 1), 200), 1);
        assert_eq!(seconds(template(0, 1), 2500), 3);
        assert_eq!(seconds(template(5, 30), 200), 5);
        assert_eq!(seconds(template(5, 30), 6000), 35);
    }
}
