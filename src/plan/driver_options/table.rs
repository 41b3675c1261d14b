//! The table of driver options: the one place that gives an option its name, drivers, type, default and help.
//!
//! The names are buildx's
//! (<https://github.com/docker/buildx/blob/461836ba0/driver/docker-container/factory.go>,
//! <https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/factory.go>).

use super::values::{
    Annotations, BALANCE, IMAGE, Labels, Pairs, QUANTITY, RESTART, SWAP, Seconds, Tolerations,
    Value, WHOLE,
};
use crate::inputs::Number;
use crate::inputs::grammar::{NAMESPACE, SHM_SIZE};
use crate::plan::Driver::{self, DockerContainer, Kubernetes};

/// One option, as users see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub drivers: &'static [Driver],
    /// What is accepted.
    pub values: &'static str,
    /// Empty where BuildKit, buildx or the cluster decides.
    pub default: &'static str,
    /// One sentence, for the page that lists them.
    #[cfg(test)]
    pub help: &'static str,
    /// Whether a text is a value of it.
    pub(super) takes: fn(&str) -> bool,
}

/// Makes [`Options`] and [`SPECS`] from entries
///
/// ```text
/// /// One sentence for users.
/// "name" => field: Type = "default" where RULE, [drivers];
/// ```
///
/// The type says how the text is read, a rule restricts texts. An option without a field is checked, and read by buildx alone.
macro_rules! driver_options {
    ($(
        $(#[doc = $help:literal])+
        $name:literal $(=> $field:ident)?: $type:ty $(= $default:literal)? $(where $rule:path)?, [$($driver:ident),+];
    )+) => {
        /// The options of a cluster's node, typed.
        #[derive(Debug, Default)]
        pub(crate) struct Options {
            $($(pub $field: $type,)?)+
        }

        pub(crate) const SPECS: &[Spec] = &[$(Spec {
            name: $name,
            drivers: &[$($driver),+],
            values: first(&[$($rule.expected,)? <$type as Value>::VALUES]),
            default: concat!($($default)?),
            #[cfg(test)]
            help: concat!($($help),+).trim_ascii(),
            takes: |text| <$type as Value>::parse(text).is_some() $(&& ($rule.holds)(text))?,
        },)+];

        impl Options {
            /// Sets the option of a name, where it has a field and the text is a value of it.
            pub(super) fn set(&mut self, name: &str, text: &str) {
                match name {
                    $($($name => self.$field = <$type as Value>::parse(text).unwrap_or_default(),)?)+
                    _ => {}
                }
            }
        }
    };
}

const fn first(texts: &[&'static str]) -> &'static str {
    texts[0]
}

driver_options! {
    /// Image of BuildKit (default: `moby/buildkit:buildx-stable-1`; with `rootless` `moby/buildkit:buildx-stable-1-rootless`)
    "image" => image: Option<String> where IMAGE, [DockerContainer, Kubernetes];
    /// Network of the container
    "network": String, [DockerContainer];
    /// Memory limit of the container
    "memory": String where SHM_SIZE, [DockerContainer];
    /// Limit of memory and swap of the container together
    "memory-swap": String where SWAP, [DockerContainer];
    /// Period of the container's CPU scheduler, in microseconds
    "cpu-period": String where WHOLE, [DockerContainer];
    /// CPU time of the container in each period, in microseconds
    "cpu-quota": String where WHOLE, [DockerContainer];
    /// Relative weight of the container's CPU time
    "cpu-shares": String where WHOLE, [DockerContainer];
    /// CPUs that the container may use, `0-3`
    "cpuset-cpus": String, [DockerContainer];
    /// Memory nodes that the container may use, `0,1`
    "cpuset-mems": String, [DockerContainer];
    /// Parent cgroup of the container
    "cgroup-parent": String, [DockerContainer];
    /// When the Engine restarts the container
    "restart-policy": String = "unless-stopped" where RESTART, [DockerContainer];
    /// Load images into the Engine without `load`
    "default-load": bool = "false", [DockerContainer, Kubernetes];
    /// Add GitHub's context to provenance attestations
    "provenance-add-gha": bool = "true", [DockerContainer];
    /// Allow an image of BuildKit that buildx does not trust
    "allow-untrusted-image": bool = "false", [DockerContainer];
    /// Namespace of the pods (default: `namespace`, then from the kubeconfig)
    "namespace" => namespace: Option<String> where NAMESPACE, [Kubernetes];
    /// Pods of each node
    "replicas" => replicas: Number<1, 100> = "1", [Kubernetes];
    /// CPU that a pod requests
    "requests.cpu" => requests_cpu: Option<String> where QUANTITY, [Kubernetes];
    /// Memory that a pod requests
    "requests.memory" => requests_memory: Option<String> where QUANTITY, [Kubernetes];
    /// Disk of the machine that a pod requests
    "requests.ephemeral-storage" => requests_ephemeral_storage: Option<String> where QUANTITY, [Kubernetes];
    /// CPU limit of a pod
    "limits.cpu" => limits_cpu: Option<String> where QUANTITY, [Kubernetes];
    /// Memory limit of a pod
    "limits.memory" => limits_memory: Option<String> where QUANTITY, [Kubernetes];
    /// Disk of the machine that a pod may use
    "limits.ephemeral-storage" => limits_ephemeral_storage: Option<String> where QUANTITY, [Kubernetes];
    /// Size of a volume for BuildKit's data
    "persistent-volume-claim.requests.storage" => storage: Option<String> where QUANTITY, [Kubernetes];
    /// Storage class of that volume (default: the cluster's; EKS has had none since Kubernetes 1.30)
    "persistent-volume-claim.storageclassname" => storage_class: Option<String>, [Kubernetes];
    /// Run BuildKit without root
    "rootless" => rootless: bool = "false", [Kubernetes];
    /// Scheduler of the pods
    "schedulername" => scheduler: Option<String>, [Kubernetes];
    /// Service account of the pods
    "serviceaccount" => service_account: Option<String>, [Kubernetes];
    /// Labels of the machines that pods may run on
    "nodeselector" => node_selector: Pairs, [Kubernetes];
    /// Annotations of the pods
    "annotations" => annotations: Annotations, [Kubernetes];
    /// Labels of the pods
    "labels" => labels: Labels, [Kubernetes];
    /// Taints of machines that the pods tolerate
    "tolerations" => tolerations: Tolerations, [Kubernetes];
    /// How buildx chooses a pod
    "loadbalance": String = "sticky" where BALANCE, [Kubernetes];
    /// Install emulators for other platforms
    "qemu.install" => qemu: bool = "false", [Kubernetes];
    /// Image that installs them (default: `tonistiigi/binfmt:latest`)
    "qemu.image" => qemu_image: Option<String>, [Kubernetes];
    /// Size of BuildKit's data in memory instead of on disk
    "buildkit-root-volume-memory" => memory_volume: Option<String> where QUANTITY, [Kubernetes];
    /// Time until the pods must be ready (default: `builder-timeout`)
    "timeout" => timeout: Option<Seconds>, [Kubernetes];
}
