//! The rights of this identity in the namespace, checked before anything is created.
//!
//! By SelfSubjectAccessReview, which every authenticated user may create
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>). If the cluster does not answer it, the
//! calls themselves fail.

use futures_util::future::try_join_all;

use super::client::{Cluster, Right};
use super::error::KubernetesError;
use crate::plan::{KubernetesPlan, Node, Workload};

const fn right(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
    Right {
        verb,
        group,
        resource,
        subresource: None,
    }
}

/// Needed by every builder, and by buildx's driver.
const NEEDED: &[Right] = &[
    right("list", "", "pods"),
    Right {
        subresource: Some("exec"),
        ..right("create", "", "pods")
    },
];

/// Needed for each kind of workload.
pub(super) const FOR_DEPLOYMENTS: &[Right] = &[
    right("get", "apps", "deployments"),
    right("create", "apps", "deployments"),
    right("delete", "apps", "deployments"),
];
const FOR_STATEFUL_SETS: &[Right] = &[
    right("get", "apps", "statefulsets"),
    right("create", "apps", "statefulsets"),
    right("delete", "apps", "statefulsets"),
];

/// For heartbeats and the removal of orphans.
const FOR_HEARTBEATS: &[Right] = &[
    right("patch", "apps", "deployments"),
    right("list", "apps", "deployments"),
];

/// For a node's `buildkitd.toml` and certificates.
const FOR_CONFIG: Right = right("create", "", "configmaps");

/// For the volume of a persistent Deployment.
const FOR_VOLUMES: Right = right("create", "", "persistentvolumeclaims");

/// The result of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    /// Heartbeats can be written and read.
    pub heartbeats: bool,
    /// A node can have its ConfigMap.
    pub config: bool,
    pub rights: Vec<Right>,
}

/// Checks the rights for this plan.
///
/// # Errors
/// If a right is missing without which there is no builder.
pub(super) async fn review(
    cluster: &Cluster,
    plan: &KubernetesPlan,
) -> Result<Granted, KubernetesError> {
    let needed = needed(plan);
    // Certificates are optional: we pass them on without being asked.
    let wished = plan.nodes.iter().any(|node| node.certificates.is_some());
    let wished = (wished && !needed.contains(&FOR_CONFIG)).then_some(&FOR_CONFIG);
    let all = needed.iter().chain(FOR_HEARTBEATS).chain(wished);
    let answers = try_join_all(all.clone().map(|right| cluster.may(right))).await?;
    let (granted, denied): (Vec<_>, Vec<_>) = all.zip(answers).partition(|(_, allowed)| *allowed);
    let denied: Vec<&Right> = denied.into_iter().map(|(right, _)| right).collect();
    let missing = denied.iter().filter(|right| needed.contains(right));
    let missing = missing.map(|right| format!("{} {}", right.verb, right.object()));
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        return Err(KubernetesError::Rights {
            namespace: cluster.namespace.clone(),
            missing,
        });
    }
    Ok(Granted {
        heartbeats: !denied.iter().any(|right| FOR_HEARTBEATS.contains(right)),
        config: !denied.contains(&&FOR_CONFIG),
        rights: granted.into_iter().map(|(right, _)| *right).collect(),
    })
}

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
    // The cluster itself creates the claims of a StatefulSet and of pods.
    if plan.kept && any(|node| node.storage.is_some() && node.workload == Workload::Deployment) {
        needed.push(FOR_VOLUMES);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::super::error::ROLE;
    use super::*;

    #[test]
    fn the_role_grants_every_right_that_is_asked_for() {
        let others = [FOR_CONFIG, FOR_VOLUMES];
        let kinds = FOR_DEPLOYMENTS.iter().chain(FOR_STATEFUL_SETS);
        for right in kinds.chain(NEEDED).chain(FOR_HEARTBEATS).chain(&others) {
            let resource = right.object();
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
