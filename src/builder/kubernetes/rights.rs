//! What this identity may do in the namespace, asked before anything is made.
//!
//! By SelfSubjectAccessReview, which everybody who is known may create
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>).
//! Where the cluster does not answer it, the calls themselves will tell.

use futures_util::future::try_join_all;

use super::KubernetesError;
use super::client::{Cluster, Right};
use crate::plan::{KubernetesPlan, Node, Workload};

const fn right(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
    Right {
        verb,
        group,
        resource,
        subresource: None,
    }
}

/// Without these there is no builder; buildx's driver needs them, too.
const NEEDED: &[Right] = &[
    right("list", "", "pods"),
    Right {
        verb: "create",
        group: "",
        resource: "pods",
        subresource: Some("exec"),
    },
];

/// The same for each kind of workload that there is to be.
const FOR_DEPLOYMENTS: &[Right] = &[
    right("get", "apps", "deployments"),
    right("create", "apps", "deployments"),
    right("delete", "apps", "deployments"),
];
const FOR_STATEFUL_SETS: &[Right] = &[
    right("get", "apps", "statefulsets"),
    right("create", "apps", "statefulsets"),
    right("delete", "apps", "statefulsets"),
];

/// With these a run shows that it lives, and removes what others left.
const FOR_HEARTBEATS: &[Right] = &[
    right("patch", "apps", "deployments"),
    right("list", "apps", "deployments"),
];

/// Without it a node can't have its `buildkitd.toml`.
const FOR_CONFIG: Right = right("create", "", "configmaps");

/// Without it a Deployment that is kept can't have its volume.
const FOR_VOLUMES: Right = right("create", "", "persistentvolumeclaims");

/// The Role with all that is made use of.
pub(super) const ROLE: &str = include_str!("../../../examples/eks/role.yaml");

/// What else may be done than what is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    /// Heartbeats can be given and read.
    pub heartbeats: bool,
    /// A node can have its ConfigMap.
    pub config: bool,
}

/// Looks whether everything may be done that is needed.
///
/// # Errors
/// When a right is missing without which there is no builder.
pub(super) async fn review(
    cluster: &Cluster,
    plan: &KubernetesPlan,
) -> Result<Granted, KubernetesError> {
    let needed = needed(plan);
    // Certificates are handed on unasked: nothing is refused for their sake.
    let wished = plan.nodes.iter().any(|node| node.certificates.is_some());
    let wished = (wished && !needed.contains(&FOR_CONFIG)).then_some(&FOR_CONFIG);
    let all = needed.iter().chain(FOR_HEARTBEATS).chain(wished);
    let answers = try_join_all(all.clone().map(|right| cluster.may(right))).await?;
    let denied: Vec<&Right> = all
        .zip(answers)
        .filter(|(_, allowed)| !allowed)
        .map(|(right, _)| right)
        .collect();
    let missing: Vec<String> = denied
        .iter()
        .filter(|right| needed.contains(right))
        .map(|right| name(right))
        .collect();
    if missing.is_empty() {
        return Ok(Granted {
            heartbeats: !denied.iter().any(|right| FOR_HEARTBEATS.contains(right)),
            config: !denied.contains(&&FOR_CONFIG),
        });
    }
    Err(KubernetesError::Rights {
        namespace: cluster.namespace.clone(),
        missing,
    })
}

/// What this plan can't do without.
fn needed(plan: &KubernetesPlan) -> Vec<Right> {
    let any = |holds: fn(&Node) -> bool| plan.nodes.iter().any(holds);
    let mut needed = Vec::new();
    if any(|node| node.workload == Workload::Deployment) {
        needed.extend(FOR_DEPLOYMENTS);
    }
    if any(|node| node.workload == Workload::StatefulSet) {
        needed.extend(FOR_STATEFUL_SETS);
    }
    needed.extend(NEEDED);
    if any(|node| node.config.is_some()) {
        needed.push(FOR_CONFIG);
    }
    // The claims of a StatefulSet, and those of pods, are made by the cluster.
    if plan.kept && any(|node| node.storage.is_some() && node.workload == Workload::Deployment) {
        needed.push(FOR_VOLUMES);
    }
    needed
}

fn name(right: &Right) -> String {
    match right.subresource {
        Some(subresource) => format!("{} {}/{subresource}", right.verb, right.resource),
        None => format!("{} {}", right.verb, right.resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_grants_every_right_that_is_asked_for() {
        let others = [FOR_CONFIG, FOR_VOLUMES];
        let kinds = FOR_DEPLOYMENTS.iter().chain(FOR_STATEFUL_SETS);
        for right in kinds.chain(NEEDED).chain(FOR_HEARTBEATS).chain(&others) {
            let resource = name(right);
            let resource = resource.split(' ').next_back().unwrap();
            let granted = ROLE.split("- apiGroups").any(|rule| {
                let line = |name: &str| {
                    let line = rule.lines().find(|line| line.contains(name));
                    line.unwrap_or_default().split(['[', ']', ',', ' ', ':'])
                };
                line("resources:").any(|word| word == resource)
                    && line("verbs:").any(|word| word == right.verb)
            });
            assert!(granted, "{} {resource}", right.verb);
        }
    }
}
