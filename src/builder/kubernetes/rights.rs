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

/// For every builder, and for buildx's driver.
const NEEDED: &[Right] = &[
    right("list", "", "pods"),
    Right {
        subresource: Some("exec"),
        ..right("create", "", "pods")
    },
];

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

impl Cluster {
    pub(super) fn may_renew_heartbeats(&self) -> bool {
        FOR_HEARTBEATS
            .iter()
            .all(|right| self.granted.contains(right))
    }

    pub(super) fn may_create_config(&self) -> bool {
        self.granted.contains(&FOR_CONFIG)
    }
}

/// The rights of this identity. An error if one is missing that the plan needs.
pub(super) async fn review(
    cluster: &Cluster,
    plan: &KubernetesPlan,
) -> Result<Vec<Right>, KubernetesError> {
    let needed = needed(plan);
    let mut all = needed.clone();
    all.extend(FOR_HEARTBEATS);
    // Certificates are optional: the user did not ask for them.
    if plan.nodes.iter().any(|node| node.certificates.is_some()) && !needed.contains(&FOR_CONFIG) {
        all.push(FOR_CONFIG);
    }
    let answers = try_join_all(all.iter().map(|right| cluster.may(right))).await?;
    let mut answers = answers.into_iter();
    all.retain(|_| answers.next() == Some(true));
    let missing: Vec<String> = needed
        .iter()
        .filter(|right| !all.contains(right))
        .map(|right| format!("{} {}", right.verb, right.object()))
        .collect();
    if !missing.is_empty() {
        return Err(KubernetesError::Rights {
            namespace: cluster.namespace.clone(),
            missing,
        });
    }
    Ok(all)
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
