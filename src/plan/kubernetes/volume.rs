//! BuildKit's folder on a volume, and the workload that takes: pure.
//!
//! A builder of one run has volumes that go with its pods. One that is kept has its volume beside a
//! Deployment while it is one pod, and one for each pod of a StatefulSet when there are several.

use semver::Version;
use serde::Serialize;

use super::Node;

/// The option that asks for one.
pub(crate) const OPTION: &str = "persistent-volume-claim.requests.storage";

/// The first buildx whose driver looks for a StatefulSet
/// (<https://github.com/docker/buildx/pull/3766>).
const STATEFUL_SETS_SINCE: Version = Version::new(0, 34, 0);

/// What of Kubernetes makes the pods of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Workload {
    #[default]
    Deployment,
    /// Pods with names and volumes of their own: `<name>-0`, `<name>-1`.
    StatefulSet,
}

impl Workload {
    /// The name of the kind.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// Whether that buildx finds it.
    pub(crate) fn is_known_to(self, buildx: &Version) -> bool {
        match self {
            Self::Deployment => true,
            Self::StatefulSet => *buildx >= STATEFUL_SETS_SINCE,
        }
    }

    /// What there has to be for it.
    pub(crate) fn needs() -> String {
        format!(
            "buildx {}.{} or newer",
            STATEFUL_SETS_SINCE.major, STATEFUL_SETS_SINCE.minor
        )
    }
}

/// The workload of a node, or what is expected instead of its volume.
pub(super) fn choose(node: &Node, kept: bool, buildx: &Version) -> Result<Workload, String> {
    if node.storage.is_none() {
        return Ok(Workload::Deployment);
    }
    if node.memory_volume.is_some() {
        return Err("no `buildkit-root-volume-memory` beside it".to_owned());
    }
    if !kept || node.replicas == 1 {
        return Ok(Workload::Deployment);
    }
    let workload = Workload::StatefulSet;
    if workload.is_known_to(buildx) {
        return Ok(workload);
    }
    Err(format!(
        "`replicas=1`, or {} (this one is {buildx}): several pods have a volume each in a StatefulSet, for which \
         older ones do not look",
        Workload::needs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pods_that_are_kept_have_a_volume_each_where_buildx_finds_them() {
        let old = Version::new(0, 33, 9);
        let node = |replicas, storage: Option<&str>| Node {
            replicas,
            storage: storage.map(str::to_owned),
            ..Node::default()
        };
        for (node, kept, expected) in [
            (node(1, Some("9Gi")), true, Workload::Deployment),
            (node(3, None), true, Workload::Deployment),
            (node(3, Some("9Gi")), false, Workload::Deployment),
            (node(3, Some("9Gi")), true, Workload::StatefulSet),
        ] {
            assert_eq!(choose(&node, kept, &STATEFUL_SETS_SINCE), Ok(expected));
            let with_old = choose(&node, kept, &old);
            assert_eq!(with_old.is_ok(), expected == Workload::Deployment);
        }
        let words = choose(&node(3, Some("9Gi")), true, &old).unwrap_err();
        assert!(words.starts_with("`replicas=1`, or buildx 0.34 or newer (this one is 0.33.9)"));
        let twice = Node {
            memory_volume: Some("1Gi".to_owned()),
            ..node(1, Some("9Gi"))
        };
        assert!(choose(&twice, true, &old).is_err());
    }
}
