//! The progress of a builder's pods, and what delays them. Pure.
//!
//! In: pods, the workload's status and events. Out: [`Milestone`]s, and a [`Problem`] with a hint. States of pods:
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>.

mod delay;

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStatus, Event, Pod, PodCondition, Volume,
};
use serde_json::Value;
use strum::EnumIter;

use super::api_error::QUOTA_HINT;

/// How long a problem may last before it is reported: a healthy boot has some for a moment, as an unbound volume or a missing ConfigMap.
const GRACE: Duration = Duration::from_secs(2);

/// How long an image pull or the creation of a container may fail before the boot fails: the first refusal is often a rate limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// After this many restarts a container will never start.
const RESTARTS: i32 = 2;

const DESCRIBE: &str = "look at the pod with `kubectl describe pod`";

/// The stages of a pod's boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumIter)]
pub(super) enum Milestone {
    Created,
    Scheduled,
    Pulling,
    Started,
    Ready,
}

/// Why a builder is not ready, or was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub text: String,
    pub hint: String,
    /// Whether waiting is useless.
    pub is_final: bool,
}

impl Problem {
    fn new(text: String, hint: &str, is_final: bool) -> Self {
        Self {
            text,
            hint: hint.to_owned(),
            is_final,
        }
    }
}

pub(super) fn milestone(pod: &Pod, events: &[Event]) -> Milestone {
    let state = buildkit(pod).and_then(|container| container.state.as_ref());
    if is_ready(pod) {
        Milestone::Ready
    } else if state.is_some_and(|state| state.running.is_some()) {
        Milestone::Started
    } else if events.iter().any(|event| reason(event) == "Pulling") {
        Milestone::Pulling
    } else if node(pod).is_some() {
        Milestone::Scheduled
    } else {
        Milestone::Created
    }
}

pub(super) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The names of the pod's volume claims. One that belongs to the pod alone is named after both
/// (<https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#persistentvolumeclaim-naming>).
pub(super) fn claims(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let claim = |volume: &Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
        (None, None) => None,
    };
    volumes.into_iter().flatten().filter_map(claim).collect()
}

fn condition<'a>(pod: &'a Pod, kind: &str, status: &str) -> Option<&'a PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.as_ref()?.iter();
    conditions.find(|condition| condition.type_ == kind && condition.status == status)
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready", "True").is_some()
}

/// What delays a pod that was first seen at this time before now.
pub(super) fn problem(pod: &Pod, events: &[Event], age: Duration) -> Option<Problem> {
    failed(pod)
        .or_else(|| containers(pod).find_map(|status| delay::container(pod, status, age)))
        .or_else(|| {
            let waits = age >= GRACE && !is_ready(pod);
            waits.then(|| {
                delay::claim(pod, events, age)
                    .or_else(|| delay::unschedulable(pod, events))
                    .or_else(|| delay::events(pod, events))
            })?
        })
}

fn failed(pod: &Pod) -> Option<Problem> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let parts = [status.reason.as_deref(), status.message.as_deref()];
    let parts = parts.into_iter().flatten();
    let why: String = parts.map(|part| format!(": {part}")).collect();
    let hint = "an evicted pod needs more disk or memory: raise `requests` in `driver-opts`";
    Some(Problem::new(format!("its pod failed{why}"), hint, false))
}

/// What ended a pod that was ready; none while it runs.
pub(super) fn loss(before: &Pod, now: Option<&Pod>) -> Option<Problem> {
    let lost = |text: String, hint: &str| Some(Problem::new(text, hint, true));
    let moved = "a spot instance may have ended or a node been drained: run builders on nodes that \
                 stay (`driver-opts: nodeselector=…`), and run this job again";
    let Some(now) = now else {
        return lost("its pod is gone".to_owned(), moved);
    };
    if let Some(problem) = failed(now) {
        return Some(problem);
    }
    if now.metadata.deletion_timestamp.is_some() {
        return lost("its pod is being deleted".to_owned(), moved);
    }
    if !has_restarted(before, now) {
        return None;
    }
    let code = buildkit(now).map_or(String::new(), exit_code);
    let (what, hint) = if is_out_of_memory(now) {
        ("ran out of memory", MEMORY_HINT)
    } else {
        ("exited", "the last lines of its log above say why")
    };
    lost(format!("BuildKit {what}{code}"), hint)
}

pub(super) const MEMORY_HINT: &str = "raise `limits.memory` in `driver-opts`";

/// Whether the kernel killed BuildKit for its memory after `before`.
pub(super) fn was_killed(before: &Pod, now: &Pod) -> bool {
    has_restarted(before, now) && is_out_of_memory(now)
}

pub(super) fn has_restarted(before: &Pod, now: &Pod) -> bool {
    let restarts = |pod| buildkit(pod).map_or(0, |container| container.restart_count);
    restarts(now) > restarts(before)
}

fn is_out_of_memory(pod: &Pod) -> bool {
    let last = buildkit(pod).and_then(|container| container.last_state.as_ref());
    let ended = last.and_then(|state| state.terminated.as_ref());
    ended.is_some_and(|ended| ended.reason.as_deref() == Some("OOMKilled"))
}

/// Why a workload has no pods: a Deployment's status says so, a StatefulSet's events.
pub(super) fn no_pods(status: &Value, events: &[Event]) -> Option<Problem> {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let condition = conditions
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True");
    let condition = condition.map(|condition| condition["message"].as_str());
    let event = events.iter().rfind(|event| reason(event) == "FailedCreate");
    let event = event.map(|event| event.message.as_deref());
    let message = condition.or(event)?.unwrap_or("no reason given");
    let hint = if message.contains("exceeded quota") {
        QUOTA_HINT
    } else if message.contains("PodSecurity") {
        "label the namespace `pod-security.kubernetes.io/enforce=privileged`, or try \
         `driver-opts: rootless=true`"
    } else {
        "look at the workload and its ReplicaSet with `kubectl describe`"
    };
    Some(Problem::new(
        format!("the cluster refuses its pod: {message}"),
        hint,
        true,
    ))
}

/// An event as a line: `FailedScheduling: 0/5 nodes are available`.
pub(super) fn line(event: &Event) -> String {
    let message = event.message.as_deref().unwrap_or_default();
    format!("{}: {}", reason(event), message.trim())
}

/// The state of the pod and of every container that is not ready, for the error.
pub(super) fn state(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let mut text = format!("the pod is {}", phase.unwrap_or("unknown"));
    for container in containers(pod).filter(|container| !container.ready) {
        let state = container.state.as_ref();
        let waiting = state.and_then(|state| state.waiting.as_ref());
        let waiting = waiting.and_then(|waiting| waiting.reason.as_deref());
        if let Some(reason) = waiting {
            text += &format!(", its container `{}` waits: {reason}", container.name);
        } else if state.is_some_and(|state| state.running.is_some()) {
            text += &format!(", its container `{}` runs and is not ready", container.name);
        }
    }
    text
}

/// All containers, init containers first.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    [init, main].into_iter().flatten().flatten()
}

fn buildkit(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    all.iter().find(|container| container.name == "buildkitd")
}

/// ` (exit code 1)`, of a container's last run.
fn exit_code(container: &ContainerStatus) -> String {
    let code = |state: &ContainerState| Some(state.terminated.as_ref()?.exit_code);
    let states = [&container.state, &container.last_state];
    let code = states.into_iter().flatten().find_map(code);
    code.map_or(String::new(), |code| format!(" (exit code {code})"))
}

fn reason(event: &Event) -> &str {
    event.reason.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
