//! What delays a pod before its container starts: the scheduler, the node, a volume, an image. Pure.
//!
//! The kubelet reports problems with sandboxes and volumes only as events
//! (<https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/events/event.go>).

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};

use super::{DESCRIBE, PATIENCE, Problem, RESTARTS, condition, exit_code, node, reason};

/// The label by which a node is chosen for a platform.
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// The problem of one container, init containers included.
pub(super) fn container(pod: &Pod, container: &ContainerStatus, age: Duration) -> Option<Problem> {
    let name = &container.name;
    let is_buildkit = name == "buildkitd";
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let why = waiting.reason.as_deref().unwrap_or_default();
    let message = waiting.message.as_deref();
    let message = message.filter(|text| !text.is_empty()).unwrap_or(why);
    let is_late = age >= PATIENCE;
    match why {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable" => {
            let (of, option) = if is_buildkit {
                (String::new(), "image=…")
            } else {
                (format!(" of its container `{name}`"), "qemu.image=…")
            };
            // The status of a container that never started may have no image.
            let image = image(pod, container);
            Some(Problem::new(
                format!("the image `{image}`{of} cannot be pulled: {message}"),
                &format!(
                    "is the image's name right, and can the nodes reach its registry? `driver-opts: {option}` names another one, for \
                     example a copy in your own ECR"
                ),
                why == "InvalidImageName" || is_late,
            ))
        }
        "CrashLoopBackOff" => {
            let code = exit_code(container);
            let (text, hint) = if is_buildkit {
                (
                    format!("BuildKit exits as soon as it starts{code}"),
                    "its log above says why; a rootful BuildKit needs a privileged pod",
                )
            } else {
                (
                    format!("its container `{name}` fails{code}"),
                    "look at its log with `kubectl logs --container NAME`; `qemu.install` needs a privileged pod",
                )
            };
            let is_final = container.restart_count >= RESTARTS;
            Some(Problem::new(text, hint, is_final))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            let text = format!("its container `{name}` cannot be created: {message}");
            Some(Problem::new(text, DESCRIBE, is_late))
        }
        _ => None,
    }
}

fn image<'a>(pod: &'a Pod, container: &'a ContainerStatus) -> &'a str {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref());
    let main = spec.map(|spec| &spec.containers);
    let mut all = [init, main].into_iter().flatten().flatten();
    let asked = all.find(|other| other.name == container.name);
    let asked = asked.and_then(|asked| asked.image.as_deref());
    asked.unwrap_or(&container.image)
}

pub(super) fn unschedulable(pod: &Pod, events: &[Event]) -> Option<Problem> {
    let condition = condition(pod, "PodScheduled", "False")?;
    let message = condition.message.as_deref().unwrap_or("no node fits");
    // The rest is about evicting other pods and about resource claims, which builders do not use.
    let message = message.split(" preemption:").next().unwrap_or(message);
    let end = ['.', ',', ' '];
    let message = message
        .trim_end_matches(end)
        .trim_end_matches("no new claims to deallocate")
        .trim_end_matches(end);
    let mut hint = if message.contains("Insufficient") {
        "lower `requests` in `driver-opts`, or add nodes; an autoscaler takes a minute or two"
            .to_owned()
    } else if message.contains("untolerated taint") {
        "tolerate the taint with `driver-opts: tolerations=key=…,operator=Exists`".to_owned()
    } else if message.to_lowercase().contains("persistentvolumeclaim") {
        "does the cluster have a default StorageClass (EKS has none)? \
         `driver-opts: persistent-volume-claim.storageclassname=…` names one"
            .to_owned()
    } else if message.contains("affinity/selector") || message.contains("node selector") {
        labels(pod)
    } else {
        DESCRIBE.to_owned()
    };
    let scaling = ["TriggeredScaleUp", "NotTriggerScaleUp", "Nominated"];
    let mut events = events.iter();
    let scaling = events.rfind(|event| scaling.contains(&reason(event)));
    if let Some(message) = scaling.and_then(|event| event.message.as_deref()) {
        hint += &format!(" (autoscaler: {message})");
    }
    let text = format!("no node takes its pod: {message}");
    Some(Problem::new(text, &hint, false))
}

/// The hint for labels that no node has: ours for the architecture, or the user's.
fn labels(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let mut selector = spec
        .and_then(|spec| spec.node_selector.clone())
        .unwrap_or_default();
    match selector.remove(ARCHITECTURE) {
        Some(architecture) if selector.is_empty() => format!(
            "is there a node of the architecture `{architecture}`? Add one, or emulate it on another with \
             `driver-opts: qemu.install=true`"
        ),
        _ if selector.is_empty() => DESCRIBE.to_owned(),
        _ => {
            let label = |(name, value)| format!("`{name}={value}`");
            let labels: Vec<String> = selector.iter().map(label).collect();
            format!(
                "is there a node with the labels {} of `driver-opts: nodeselector=…`?",
                labels.join(", ")
            )
        }
    }
}

/// Why a pod's volume is not there. The scheduler waits for a volume that is made where the pod will run, and says nothing: only the
/// claim's events do
/// (<https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode>).
pub(super) fn claim(pod: &Pod, events: &[Event], age: Duration) -> Option<Problem> {
    if node(pod).is_some() {
        return None;
    }
    let of_claims = events
        .iter()
        .filter(|event| event.involved_object.kind.as_deref() == Some("PersistentVolumeClaim"));
    let is_settled =
        |reason: &str| matches!(reason, "ProvisioningFailed" | "ProvisioningSucceeded");
    let last = of_claims.clone().rfind(|event| is_settled(reason(event)));
    let message = |event: &Event| event.message.clone().unwrap_or_default().trim().to_owned();
    if let Some(event) = last {
        let message = message(event);
        let hint = if message.contains("storageclass") {
            "`driver-opts: persistent-volume-claim.storageclassname=…` names another storage class; `kubectl get storageclass` lists them"
        } else {
            "look at the claim with `kubectl describe persistentvolumeclaim`: may the storage driver create volumes (on EKS the EBS CSI \
             driver needs an IAM role)?"
        };
        let text = format!("its volume cannot be created: {message}");
        return (reason(event) == "ProvisioningFailed").then(|| Problem::new(text, hint, false));
    }
    let waits = of_claims
        .clone()
        .rfind(|event| reason(event) == "ExternalProvisioning");
    let event = waits.filter(|_| age >= PATIENCE)?;
    Some(Problem::new(
        format!("its volume is not created yet: {}", message(event)),
        "is the storage driver installed, and do its pods run (on EKS the add-on `aws-ebs-csi-driver`)?",
        false,
    ))
}

/// A problem that the node reports only in events, while no container has started.
pub(super) fn events(pod: &Pod, events: &[Event]) -> Option<Problem> {
    node(pod)?;
    let forward = "Scheduled SuccessfulAttachVolume Pulling Pulled Created Started";
    let is_forward = |event| forward.split(' ').any(|step| step == reason(event));
    let is_warning = |event: &&Event| event.type_.as_deref() == Some("Warning");
    // A warning before the last step forward is over.
    let since = events.iter().rposition(is_forward).map_or(0, |at| at + 1);
    let event = events.iter().skip(since).rfind(is_warning)?;
    let message = event.message.as_deref().unwrap_or_default();
    let (what, hint) = match reason(event) {
        "FailedCreatePodSandBox" if message.contains("assign an IP address") => (
            "its node has no free pod IP",
            "use a larger subnet, or enable prefix delegation of the VPC CNI; `driver-opts: nodeselector=…` chooses other nodes",
        ),
        "FailedCreatePodSandBox" => (
            "its node cannot create the pod's sandbox",
            "the network plugin or the container runtime of the node fails: look at its DaemonSet's pods and at `kubectl describe node`",
        ),
        "NetworkNotReady" => (
            "its node's network is not ready",
            "is the network plugin's pod on this node running?",
        ),
        "FailedAttachVolume" if message.contains("Multi-Attach") => (
            "its volume is attached to another node",
            "it is detached when the pod there has ended; a node that is gone may take six minutes",
        ),
        "FailedAttachVolume" => (
            "its volume cannot be attached",
            "is the volume in the node's zone, and may the EBS CSI driver attach it?",
        ),
        "FailedMount" | "FailedMapVolume" => (
            "its volume cannot be mounted",
            "look at the volume and its driver with `kubectl describe pod`",
        ),
        // Of a container that runs.
        "Unhealthy" | "BackOff" | "Failed" => return None,
        _ => (reason(event), DESCRIBE),
    };
    let text = format!("{what}: {}", message.trim());
    Some(Problem::new(text, hint, false))
}
