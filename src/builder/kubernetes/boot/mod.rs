//! How far the pods of a builder are, and what keeps them: pure, from what the API says.
//!
//! In: pods, the Deployment and events as they are seen. Out: [`Milestone`]s, each once, and a
//! [`Trouble`] in words. States of pods:
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use serde_json::Value;

use super::api::QUOTA_HINT;

/// How long an image may fail to be pulled before that counts (seconds): the first refusal is
/// often one of too many requests.
const PULL_PATIENCE: i64 = 10;

/// From how many restarts on a container that ends counts as one that never starts.
const RESTARTS: i32 = 2;

/// What a pod goes through on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Milestone {
    Created,
    Scheduled,
    Pulling,
    Started,
    Ready,
}

impl Milestone {
    /// The one that is waited for then.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Created => Some(Self::Scheduled),
            Self::Scheduled => Some(Self::Pulling),
            Self::Pulling => Some(Self::Started),
            Self::Started => Some(Self::Ready),
            Self::Ready => None,
        }
    }
}

/// Something that keeps a builder from being ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub text: String,
    pub hint: String,
    /// Whether waiting can't help.
    pub lasting: bool,
}

/// Where a pod is.
pub(super) fn milestone(pod: &Pod, events: &[Event]) -> Milestone {
    if is_ready(pod) {
        return Milestone::Ready;
    }
    if container(pod).is_some_and(|container| {
        container
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    }) {
        return Milestone::Started;
    }
    if events.iter().any(|event| reason(event) == "Pulling") {
        return Milestone::Pulling;
    }
    if node(pod).is_some() {
        return Milestone::Scheduled;
    }
    Milestone::Created
}

/// The node that has taken the pod.
pub(super) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What is wrong with a pod, `seconds` after it was first seen.
pub(super) fn trouble(pod: &Pod, events: &[Event], seconds: i64) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        return Some(Trouble {
            text: format!(
                "its pod failed{}",
                said(status.reason.as_deref(), status.message.as_deref())
            ),
            hint: "an evicted pod needs more disk or memory: raise `requests` in `driver-opts`"
                .into(),
            lasting: false,
        });
    }
    if let Some(trouble) = unschedulable(pod, events) {
        return Some(trouble);
    }
    let container = container(pod)?;
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    let why = waiting.reason.as_deref().unwrap_or_default();
    match why {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable" => Some(Trouble {
            text: format!(
                "its image `{}` can't be pulled: {}",
                container.image,
                plain(message, why)
            ),
            hint: "is the image's name right, and can the nodes reach its registry? \
                   `driver-opts: image=…` names another, as a mirror in your own ECR"
                .into(),
            lasting: why == "InvalidImageName" || seconds >= PULL_PATIENCE,
        }),
        "CrashLoopBackOff" => Some(Trouble {
            text: format!(
                "BuildKit ends as soon as it starts{}",
                ended(container).map_or(String::new(), |code| format!(" (exit code {code})"))
            ),
            hint: "its log above says why; a rootful BuildKit needs a privileged pod".into(),
            lasting: container.restart_count >= RESTARTS,
        }),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Trouble {
                text: format!("its container can't be made: {}", plain(message, why)),
                hint: "look at the pod with `kubectl describe pod`".into(),
                lasting: seconds >= PULL_PATIENCE,
            })
        }
        _ => None,
    }
}

fn unschedulable(pod: &Pod, events: &[Event]) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let message = condition.message.as_deref().unwrap_or("no node fits");
    // The rest says that nobody can be pushed aside, which no one asked for.
    let message = message.split(" preemption:").next().unwrap_or(message);
    let message = message.trim_end_matches('.');
    let mut hint = if message.contains("Insufficient") {
        "lower `requests` in `driver-opts`, or add nodes; with an autoscaler one comes within a \
         minute or two"
    } else if message.contains("untolerated taint") {
        "name the taint in `driver-opts: tolerations=key=…,operator=Exists`"
    } else if message.contains("PersistentVolumeClaim") {
        "has the cluster a default StorageClass (EKS has none)? \
         `driver-opts: persistent-volume-claim.storageclassname=…` names one"
    } else if message.contains("affinity/selector") || message.contains("node selector") {
        "does a node have the labels of `driver-opts: nodeselector=…`?"
    } else {
        "look at the pod with `kubectl describe pod`"
    }
    .to_owned();
    let scaling = events.iter().rev().find(|event| {
        matches!(
            reason(event),
            "TriggeredScaleUp" | "NotTriggerScaleUp" | "Nominated"
        )
    });
    if let Some(message) = scaling.and_then(|event| event.message.as_deref()) {
        hint = format!("{hint} (autoscaler: {message})");
    }
    Some(Trouble {
        text: format!("no node takes it: {message}"),
        hint,
        lasting: false,
    })
}

/// What happened to a pod that was ready; none while it lives.
pub(super) fn loss(before: &Pod, now: Option<&Pod>) -> Option<Trouble> {
    let lost = |text: String, hint: &str| {
        Some(Trouble {
            text,
            hint: hint.to_owned(),
            lasting: true,
        })
    };
    let moved = "a spot instance may have ended or a node been drained: run builders on nodes that \
                 stay (`driver-opts: nodeselector=…`), and run this job again";
    let Some(now) = now else {
        return lost("its pod is gone".to_owned(), moved);
    };
    if let Some(trouble) = trouble(now, &[], 0).filter(|_| phase(now) == Some("Failed")) {
        return Some(trouble);
    }
    if now.metadata.deletion_timestamp.is_some() {
        return lost("its pod is being deleted".to_owned(), moved);
    }
    let restarts = |pod| container(pod).map_or(0, |container| container.restart_count);
    if restarts(now) <= restarts(before) {
        return None;
    }
    let last = container(now)
        .and_then(|container| container.last_state.as_ref())
        .and_then(|state| state.terminated.as_ref());
    let code = last.map_or(String::new(), |ended| {
        format!(" (exit code {})", ended.exit_code)
    });
    if last.is_some_and(|ended| ended.reason.as_deref() == Some("OOMKilled")) {
        return lost(
            format!("BuildKit ran out of memory{code}"),
            "raise `limits.memory` in `driver-opts`",
        );
    }
    lost(
        format!("BuildKit ended{code}"),
        "its log says why, while the pod is there",
    )
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// What keeps a workload from making pods: a Deployment's status tells, of a StatefulSet events do.
pub(super) fn no_pods(status: &Value, events: &[Event]) -> Option<Trouble> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let condition = conditions
        .filter(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")
        .map(|condition| condition["message"].as_str())
        .next();
    let event = events
        .iter()
        .rfind(|event| reason(event) == "FailedCreate")
        .map(|event| event.message.as_deref());
    let message = condition.or(event)?.unwrap_or("for no reason given");
    let hint = if message.contains("exceeded quota") {
        QUOTA_HINT
    } else if message.contains("PodSecurity") {
        "label the namespace `pod-security.kubernetes.io/enforce=privileged`, or try \
         `driver-opts: rootless=true`"
    } else {
        "look at it with `kubectl describe`, and at its ReplicaSet"
    };
    Some(Trouble {
        text: format!("its pod may not be made: {message}"),
        hint: hint.to_owned(),
        lasting: true,
    })
}

/// An event as a line: `FailedScheduling: 0/5 nodes are available`.
pub(super) fn line(event: &Event) -> String {
    let message = event.message.as_deref().unwrap_or_default();
    format!("{}: {}", reason(event), message.trim())
}

/// The state of the first container, for whoever reads why nothing became of it.
pub(super) fn state(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let phase = phase.unwrap_or_else(|| "unknown".to_owned());
    let container = container(pod).and_then(|container| container.state.as_ref());
    let container = match container {
        Some(state) if state.running.is_some() => {
            ", its container runs and is not ready".to_owned()
        }
        Some(state) => {
            let waiting = state.waiting.as_ref();
            let why = waiting.and_then(|waiting| waiting.reason.as_deref());
            why.map_or(String::new(), |why| format!(", its container waits: {why}"))
        }
        None => String::new(),
    };
    format!("the pod is {phase}{container}")
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    all.iter().find(|container| container.name == "buildkitd")
}

fn ended(container: &ContainerStatus) -> Option<i32> {
    let last = container.last_state.as_ref()?.terminated.as_ref()?;
    Some(last.exit_code)
}

fn reason(event: &Event) -> &str {
    event.reason.as_deref().unwrap_or_default()
}

fn plain<'a>(message: &'a str, otherwise: &'a str) -> &'a str {
    if message.is_empty() {
        otherwise
    } else {
        message
    }
}

fn said(reason: Option<&str>, message: Option<&str>) -> String {
    let parts: Vec<&str> = [reason, message].into_iter().flatten().collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(": "))
    }
}

#[cfg(test)]
mod tests;
