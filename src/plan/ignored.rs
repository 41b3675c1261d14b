//! Inputs that the chosen builder has no use for: said, not refused, so that a matrix over drivers can share one block.

use super::Driver;
use crate::inputs::Inputs;

/// What a builder on this machine ignores. A cluster that could not be reached is no reason to speak of what leads there.
pub(super) fn here(inputs: &Inputs, driver: Driver) -> Vec<String> {
    let name = driver.name();
    let mut notices = Vec::new();
    let daemon = [
        ("buildkitd-flags", inputs.buildkitd_flags.is_some()),
        (
            "buildkitd-config-inline",
            inputs.buildkitd_config_inline.is_some(),
        ),
    ];
    for (input, _) in daemon.iter().filter(|(_, given)| *given) {
        if driver == Driver::Docker {
            notices.push(format!(
                "`{input}` is ignored by `{name}`, whose BuildKit is the Engine's own"
            ));
        }
    }
    if !inputs.append.is_empty() {
        notices.push(format!(
            "`append` is ignored by `{name}`: further nodes are a Kubernetes builder's"
        ));
    }
    if inputs.builder.is_some() {
        notices.push(format!(
            "`builder` is ignored by `{name}`: it names a Kubernetes builder"
        ));
    }
    let ways = [
        ("eks-cluster", inputs.eks_cluster.is_some()),
        ("kubeconfig", inputs.kubeconfig.is_some()),
    ];
    for (input, _) in ways.iter().filter(|(_, given)| *given) {
        if !inputs.wants_cluster() {
            notices.push(format!(
                "`{input}` is ignored by `{name}`: no cluster builds"
            ));
        }
    }
    notices
}

/// What a builder in a cluster ignores.
pub(super) fn in_cluster(inputs: &Inputs) -> Option<String> {
    let both = inputs.kubeconfig.is_some() && inputs.eks_cluster.is_some();
    both.then(|| {
        "`eks-cluster` is ignored beside `kubeconfig`, which leads into the cluster".to_owned()
    })
}
