//! Inputs that the chosen builder does not use. They are notices and no errors, so that a matrix over drivers can share one block.

use super::Driver;
use crate::inputs::Inputs;

/// What a builder on this machine ignores. After a failure of the cluster the inputs about it were not ignored.
pub(super) fn on_this_machine(inputs: &Inputs, driver: Driver) -> Vec<String> {
    let engine = driver == Driver::Docker;
    let no_cluster = !inputs.wants_cluster();
    let name = driver.name();
    let of_engine = "it is the Engine's own BuildKit";
    [
        (
            "buildkitd-flags",
            inputs.buildkitd_flags.is_some() && engine,
            of_engine,
        ),
        (
            "buildkitd-config-inline",
            inputs.buildkitd_config_inline.is_some() && engine,
            of_engine,
        ),
        (
            "append",
            !inputs.append.is_empty(),
            "only a Kubernetes builder has more nodes",
        ),
        (
            "builder",
            inputs.builder.is_some(),
            "it names a Kubernetes builder",
        ),
        (
            "eks-cluster",
            inputs.eks_cluster.is_some() && no_cluster,
            "no cluster builds",
        ),
        (
            "kubeconfig",
            inputs.kubeconfig.is_some() && no_cluster,
            "no cluster builds",
        ),
    ]
    .iter()
    .filter(|(_, is_ignored, _)| *is_ignored)
    .map(|(input, _, why)| format!("`{input}` is ignored by `{name}`: {why}"))
    .collect()
}

/// What a builder in a cluster ignores.
pub(super) fn in_cluster(inputs: &Inputs) -> Option<String> {
    let both = inputs.kubeconfig.is_some() && inputs.eks_cluster.is_some();
    both.then(|| "`eks-cluster` is ignored: `kubeconfig` names the cluster".to_owned())
}
