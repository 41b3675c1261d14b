//! buildx's drivers, and which options each knows.

use image::ImageRef;
use serde::Serialize;

use super::Diagnostics;
use crate::inputs::driver_options::DriverOption;

/// The driver that builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Driver {
    /// The Engine's own BuildKit: nothing to boot.
    Docker,
    /// BuildKit in a container of the Engine.
    DockerContainer,
    /// BuildKit in pods of a cluster.
    Kubernetes,
}

impl Driver {
    /// buildx's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerContainer => "docker-container",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// Options of the docker-container driver:
/// <https://github.com/docker/buildx/blob/461836ba0/driver/docker-container/factory.go>.
const CONTAINER_OPTIONS: &[&str] = &[
    "image",
    "network",
    "memory",
    "memory-swap",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "cgroup-parent",
    "restart-policy",
    "default-load",
    "provenance-add-gha",
    "allow-untrusted-image",
];

/// Options of the kubernetes driver, which other drivers ignore, so that a matrix over drivers can share
/// one block: <https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/factory.go>.
const KUBERNETES_OPTIONS: &[&str] = &[
    "image",
    "namespace",
    "replicas",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "persistent-volume-claim.requests.storage",
    // Ours: EKS has had no default class since Kubernetes 1.30.
    "persistent-volume-claim.storageclassname",
    "rootless",
    "schedulername",
    "serviceaccount",
    "nodeselector",
    "annotations",
    "labels",
    "tolerations",
    "loadbalance",
    "qemu.install",
    "qemu.image",
    "buildkit-root-volume-memory",
    "default-load",
    "timeout",
];

/// The options that a driver knows, each name once; `input` is where they were given.
pub(super) fn options(
    input: &'static str,
    given: &[DriverOption],
    driver: Driver,
    diagnostics: &mut Diagnostics,
) -> Vec<DriverOption> {
    let known: &[&str] = match driver {
        Driver::Docker => &[],
        Driver::DockerContainer => CONTAINER_OPTIONS,
        Driver::Kubernetes => KUBERNETES_OPTIONS,
    };
    let mut options: Vec<DriverOption> = Vec::new();
    let mut repeated = Vec::new();
    let mut ignored = Vec::new();
    for option in given {
        let DriverOption { name, value } = option;
        let name = name.as_str();
        let is_variable = option.variable().is_some();
        let is_known = CONTAINER_OPTIONS.contains(&name) || KUBERNETES_OPTIONS.contains(&name);
        if !is_variable && !is_known {
            diagnostics.wrong(input, format!("{name}={value}"), expected(name));
        } else if name == "image" && !value.is_empty() && value.parse::<ImageRef>().is_err() {
            let expected = "the reference of an image, as `moby/buildkit:buildx-stable-1`";
            diagnostics.wrong(input, format!("{name}={value}"), expected);
        } else if known.contains(&name) || (is_variable && driver != Driver::Docker) {
            if options.iter().any(|other| other.name == name) {
                repeated.push(name);
                options.retain(|other| other.name != name);
            }
            options.push(option.clone());
        } else if !ignored.contains(&name) {
            ignored.push(name);
        }
    }
    if !repeated.is_empty() {
        diagnostics.notices.push(format!(
            "`{input}` names {} more than once: the last one counts",
            in_backticks(&repeated)
        ));
    }
    if !ignored.is_empty() {
        diagnostics.notices.push(format!(
            "`{input}` of another driver are ignored by `{}`: {}",
            driver.name(),
            in_backticks(&ignored)
        ));
    }
    options
}

fn expected(name: &str) -> String {
    let nearest = CONTAINER_OPTIONS
        .iter()
        .chain(KUBERNETES_OPTIONS)
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, known)) => format!("an option of a buildx driver; did you mean `{known}`?"),
        None => {
            "an option of a buildx driver, as `image`, `network` or `env.NAME`; a value with commas needs \
             quotes around the option, as `\"tolerations=key=a,operator=Exists\"`"
                .to_owned()
        }
    }
}

fn in_backticks(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
