//! How far the pods of a builder are, and what keeps them: pure, from what the API says.
//!
//! In: pods, the Deployment and events as they are seen. Out: [`Milestone`]s, each once, and a
//! [`Trouble`] in words. States of pods:
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};

use super::client::QUOTA_HINT;

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

/// What keeps the Deployment from making pods.
pub(super) fn no_pods(deployment: &Deployment) -> Option<Trouble> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let message = condition
        .message
        .as_deref()
        .unwrap_or("for no reason given");
    let hint = if message.contains("exceeded quota") {
        QUOTA_HINT
    } else if message.contains("PodSecurity") {
        "label the namespace `pod-security.kubernetes.io/enforce=privileged`, or try \
         `driver-opts: rootless=true`"
    } else {
        "look at the ReplicaSet with `kubectl describe replicaset`"
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
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(mut spec: Value, status: &Value) -> Pod {
        spec["containers"] = json!([]);
        serde_json::from_value(
            json!({ "metadata": { "name": "p" }, "spec": spec, "status": status }),
        )
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
        let waiting =
            |reason, message| json!({ "waiting": { "reason": reason, "message": message } });
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
    fn a_quota_keeps_the_deployment_from_its_pods() {
        let deployment: Deployment = serde_json::from_value(json!({ "metadata": {}, "status": {
            "conditions": [{ "type": "ReplicaFailure", "status": "True",
                "message": "pods \"x\" is forbidden: exceeded quota: builders" }],
        }}))
        .unwrap();
        let trouble = no_pods(&deployment).unwrap();
        assert!(trouble.text.contains("exceeded quota"));
        assert!(trouble.hint.contains("ResourceQuota"));
        assert_eq!(no_pods(&Deployment::default()), None);
    }
}
