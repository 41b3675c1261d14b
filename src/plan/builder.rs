//! Which builder, and its options.

use std::path::PathBuf;

use image::ImageRef;
use lists::attributes;
use semver::Version;
use serde::Serialize;

use super::kubernetes::{self, KubernetesPlan};
use super::{Place, PlanError, Remarks, buildkitd, ignored};
use crate::credentials::kubeconfig::Access;
use crate::facts::{Engine, ImageStore};
use crate::inputs::driver_options::DriverOption;
use crate::inputs::{self, Inputs};
use crate::runner::workflow::WorkflowRun;

/// The driver that builds, under buildx's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Driver {
    /// The Engine's own BuildKit: nothing to boot.
    Docker,
    /// BuildKit in a container beside the Engine.
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

/// The builder of this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BuilderPlan {
    pub driver: Driver,
    /// buildx's name of the builder.
    pub name: String,
    /// Driver options, each name once.
    pub options: Vec<(String, String)>,
    /// Flags of BuildKit's daemon, for a builder that has one of its own.
    pub buildkitd_flags: Option<String>,
    /// The file with the daemon's configuration, which we write.
    pub buildkitd_config: Option<PathBuf>,
    /// What stands in it, but for [`Self::certificates`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub buildkitd_text: String,
    /// Certificates that the daemon trusts beside its own, in a file that we write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<PathBuf>,
    /// Address of the Engine.
    pub engine: String,
    /// The Engine's own platform.
    pub platform: String,
    /// What runs in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesPlan>,
}

/// How the names of options begin that give the builder a variable.
const VARIABLE: &str = "env.";

impl BuilderPlan {
    /// The options as they may be shown: of a variable only the name, as its value may be secret.
    pub(crate) fn shown_options(&self) -> impl Iterator<Item = String> {
        let shown = |(name, value): &(String, String)| match name.strip_prefix(VARIABLE) {
            Some(_) => format!("{name}=…"),
            None => format!("{name}={value}"),
        };
        self.options.iter().map(shown)
    }

    /// The variables that options give the builder, with their values.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let nodes = self.kubernetes.iter().flat_map(|plan| &plan.nodes);
        let options = self
            .options
            .iter()
            .chain(nodes.flat_map(|node| &node.options));
        options.filter_map(|(name, value)| Some((name.strip_prefix(VARIABLE)?, value.as_str())))
    }
}

/// Prefix of the names of builders that we make.
pub(crate) const PREFIX: &str = "fast-ecr-push-";

/// What docker/setup-buildx-action allows its builders by default
/// (<https://github.com/docker/setup-buildx-action/blob/37fe631/action.yml>): every step still has
/// to be allowed by the build itself.
const BUILDKITD_FLAGS: &str =
    "--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host";

/// buildx's name of the builder that is the Engine of `DOCKER_HOST`.
const ENGINE_BUILDER: &str = "default";

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

/// Options of the kubernetes driver, which others ignore, so that a matrix over drivers can share
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

impl BuilderPlan {
    /// `auto` and `local`, and `kubernetes` where the cluster can't, take the Engine's own BuildKit where
    /// its image store lets it push and cache by itself, else BuildKit in a container.
    pub(super) fn choose(
        inputs: &Inputs,
        engine: &Engine,
        place: &Place,
        remarks: &mut Remarks,
    ) -> Self {
        // The Engine's own BuildKit pushes under tags only (`toSolveOpt` in buildx's `build/opt.go`).
        let by_digest = inputs.call.is_none()
            && inputs.outputs.iter().any(|output| {
                output.is_by_digest() && (output.pushes() || inputs.push == Some(true))
            });
        let driver = match (inputs.driver, engine.store) {
            (inputs::Driver::Docker, _) => {
                if by_digest {
                    remarks.wrong(
                        "driver",
                        "docker",
                        "`docker-container` or `auto`: `docker` can't push by digest",
                    );
                }
                Driver::Docker
            }
            (inputs::Driver::DockerContainer, _) | (_, ImageStore::Classic) => {
                Driver::DockerContainer
            }
            (
                inputs::Driver::Auto | inputs::Driver::Local | inputs::Driver::Kubernetes,
                ImageStore::Containerd,
            ) => {
                if by_digest {
                    Driver::DockerContainer
                } else {
                    Driver::Docker
                }
            }
        };
        let own_daemon = driver == Driver::DockerContainer;
        remarks.notices.extend(ignored::here(inputs, driver));
        let flags = inputs.buildkitd_flags.as_deref().unwrap_or(BUILDKITD_FLAGS);
        let config = buildkitd::given(inputs, remarks);
        Self {
            driver,
            name: match driver {
                Driver::Docker => ENGINE_BUILDER.to_owned(),
                Driver::DockerContainer | Driver::Kubernetes => format!("{PREFIX}{}", place.id),
            },
            options: options("driver-opts", &inputs.driver_opts, driver, remarks),
            buildkitd_flags: own_daemon.then(|| flags.to_owned()),
            buildkitd_config: own_daemon.then(|| place.buildkitd_config_file()),
            buildkitd_text: if own_daemon {
                buildkitd::faster(config)
            } else {
                String::new()
            },
            certificates: None,
            engine: engine.address.host.clone(),
            platform: engine.platform.clone(),
            kubernetes: None,
        }
    }

    /// A builder in the cluster.
    pub(super) fn in_cluster(
        inputs: &Inputs,
        access: &Access,
        run: Option<&WorkflowRun>,
        buildx: &Version,
        place: &Place,
        remarks: &mut Remarks,
    ) -> Self {
        let given = options(
            "driver-opts",
            &inputs.driver_opts,
            Driver::Kubernetes,
            remarks,
        );
        remarks.notices.extend(ignored::in_cluster(inputs));
        let kubernetes = KubernetesPlan::new(inputs, given, access, run, buildx, place, remarks);
        let config = inputs.buildkitd_config_inline.as_ref().map(|text| &text.0);
        Self {
            driver: Driver::Kubernetes,
            name: kubernetes::name(inputs, place),
            // Every node has its own; those of the first are shown.
            options: kubernetes
                .nodes
                .first()
                .map_or_else(Vec::new, |node| node.options.clone()),
            buildkitd_flags: None,
            // Also buildx itself needs it, to know the registries that it names.
            buildkitd_config: config.map(|_| place.buildkitd_config_file()),
            buildkitd_text: config.cloned().unwrap_or_default(),
            certificates: None,
            engine: String::new(),
            // That of whichever node takes the pod.
            platform: String::new(),
            kubernetes: Some(kubernetes),
        }
    }
}

/// An option as `--driver-opt` takes it, which buildx reads as comma-separated values.
pub(crate) fn driver_opt((name, value): &(String, String)) -> String {
    attributes::join([format!("{name}={value}")])
}

/// The options that a driver knows, each name once; `input` is the one that they stand in.
pub(super) fn options(
    input: &'static str,
    given: &[DriverOption],
    driver: Driver,
    remarks: &mut Remarks,
) -> Vec<(String, String)> {
    let known: &[&str] = match driver {
        Driver::Docker => &[],
        Driver::DockerContainer => CONTAINER_OPTIONS,
        Driver::Kubernetes => KUBERNETES_OPTIONS,
    };
    let mut options: Vec<(String, String)> = Vec::new();
    let mut repeated = Vec::new();
    let mut ignored = Vec::new();
    for DriverOption { name, value } in given {
        let environment = name
            .strip_prefix("env.")
            .is_some_and(|name| !name.is_empty());
        let of_a_driver = environment
            || CONTAINER_OPTIONS.contains(&name.as_str())
            || KUBERNETES_OPTIONS.contains(&name.as_str());
        if !of_a_driver {
            remarks.wrong(input, format!("{name}={value}"), expected(name));
        } else if name == "image" && !value.is_empty() && value.parse::<ImageRef>().is_err() {
            let expected = "the reference of an image, as `moby/buildkit:buildx-stable-1`";
            remarks.wrong(input, format!("{name}={value}"), expected);
        } else if known.contains(&name.as_str()) || (environment && driver != Driver::Docker) {
            if options.iter().any(|(other, _)| other == name) {
                repeated.push(name.as_str());
                options.retain(|(other, _)| other != name);
            }
            options.push((name.clone(), value.clone()));
        } else if !ignored.contains(&name.as_str()) {
            ignored.push(name.as_str());
        }
    }
    if !repeated.is_empty() {
        remarks.notices.push(format!(
            "`{input}` names {} more than once: the last one counts",
            in_backticks(&repeated)
        ));
    }
    if !ignored.is_empty() {
        remarks.notices.push(format!(
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
            "an option of a buildx driver, as `image`, `network` or `env.NAME`; one with commas in \
                 its value stands in quotes, as `\"tolerations=key=a,operator=Exists\"`"
                .to_owned()
        }
    }
}

fn in_backticks(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Looks at what is said of a builder in a cluster, before the cluster is asked for anything.
///
/// # Errors
/// All that is wrong about it.
pub(crate) fn check_cluster(inputs: &Inputs, place: &Place) -> Result<(), PlanError> {
    let mut remarks = Remarks::default();
    let access = Access::assumed("cluster");
    // Which buildx there is, is not known yet: one that can do all that any can.
    let buildx = Version::new(u64::MAX, 0, 0);
    BuilderPlan::in_cluster(inputs, &access, None, &buildx, place, &mut remarks);
    if remarks.errors.is_empty() {
        Ok(())
    } else {
        Err(PlanError::Inputs(remarks.errors))
    }
}
