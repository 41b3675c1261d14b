//! The builder in a Kubernetes cluster: from driver options to what will run there.
//!
//! In: inputs and a way into the cluster. Out: a [`KubernetesPlan`], or what speaks against it. The
//! options are those of buildx's driver, with the traps of its own reading mended
//! (<https://docs.docker.com/build/builders/drivers/kubernetes/>,
//! <https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/factory.go>).

mod nodes;
mod options;
mod volume;

use std::collections::BTreeMap;

use semver::Version;
use serde::Serialize;

use super::driver_options::Toleration;
use super::{Diagnostics, Hidden, RunDir};
use crate::credentials::kubeconfig::Access;
use crate::inputs::Inputs;
use crate::inputs::driver_options::DriverOption;
use crate::runner::workflow::WorkflowRun;
pub(crate) use volume::{OPTION as VOLUME_OPTION, Workload};

/// Seconds until a builder has to be ready, when nothing else is said. A node that has to be
/// started first takes one or two minutes.
const TIMEOUT: u64 = 300;

/// The namespace where neither inputs nor kubeconfig name one, as kubectl takes it.
const NAMESPACE: &str = "default";

/// What planning needs to know of a cluster.
pub(in crate::plan) struct Cluster<'a> {
    pub access: &'a Access,
    /// The buildx that will look for the nodes.
    pub buildx: &'a Version,
    /// Certificates that this machine trusts, in PEM form; empty for none of its own.
    pub certificates: &'a str,
}

/// Everything that will run in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KubernetesPlan {
    pub server: String,
    /// Name of the kubeconfig's context.
    pub context: String,
    /// Who can reach the server, when not everybody can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction: Option<String>,
    pub namespace: String,
    pub timeout_seconds: u64,
    /// Whether another builder takes over when this one can't be had.
    pub fallback: bool,
    /// Whether the builder outlives the run.
    pub kept: bool,
    /// Whether one that differs is replaced.
    pub replace: bool,
    pub nodes: Vec<Node>,
    /// The buildx that is to find them.
    #[serde(skip)]
    pub buildx: Version,
    /// Who runs it, for people who look at the cluster.
    pub run: Option<String>,
    /// The kubeconfig that is written for buildx.
    #[serde(skip)]
    pub kubeconfig: Hidden,
}

/// One workload of BuildKit pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    /// Name of the workload, and buildx's name of the node.
    pub name: String,
    pub workload: Workload,
    /// What it builds for; none for whatever machine takes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    pub image: String,
    pub replicas: u32,
    /// Resource and quantity.
    pub requests: BTreeMap<&'static str, String>,
    pub limits: BTreeMap<&'static str, String>,
    pub rootless: bool,
    pub scheduler: Option<String>,
    pub service_account: Option<String>,
    pub node_selector: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub env: BTreeMap<String, String>,
    /// Image that installs emulators before BuildKit starts.
    pub qemu: Option<String>,
    /// Size of BuildKit's folder in memory.
    pub memory_volume: Option<String>,
    /// Size of the claim that BuildKit's folder is on, one for each pod.
    pub storage: Option<String>,
    /// The claim's storage class; none for the cluster's default.
    pub storage_class: Option<String>,
    /// `buildkitd.toml`.
    pub config: Option<String>,
    /// What BuildKit trusts beside the certificates of its image, in PEM form.
    #[serde(skip)]
    pub certificates: Option<String>,
    pub buildkitd_flags: Vec<String>,
    /// Options that buildx's driver gets, so that its own manifest would be like ours.
    pub options: Vec<DriverOption>,
}

impl KubernetesPlan {
    /// Reads the options.
    pub(super) fn new(
        inputs: &Inputs,
        run: Option<&WorkflowRun>,
        cluster: &Cluster<'_>,
        dir: &RunDir,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let Cluster { access, buildx, .. } = *cluster;
        let builder = name(inputs, dir);
        let nodes::Nodes {
            mut nodes,
            namespace,
            timeout_seconds,
        } = nodes::choose(inputs, &builder, buildx, diagnostics);
        if let (Some(given), Some(option)) = (&inputs.namespace, &namespace)
            && given != option
        {
            let expected = format!("`{option}`, as in `driver-opts`, or only one of the two");
            diagnostics.wrong("namespace", given, expected);
        }
        let namespace = inputs
            .namespace
            .clone()
            .or(namespace)
            .or_else(|| access.namespace.clone())
            .unwrap_or_else(|| NAMESPACE.to_owned());
        let timeout = inputs.builder_timeout.map(|seconds| seconds.get().into());
        let timeout_seconds = timeout.or(timeout_seconds).unwrap_or(TIMEOUT);
        diagnostics.warnings.extend(access.warnings.iter().cloned());
        for node in &mut nodes {
            node.set_option("namespace", namespace.clone());
            node.set_option("timeout", format!("{timeout_seconds}s"));
        }
        Self {
            server: access.server.clone(),
            context: access.context.clone(),
            restriction: access.restriction.clone(),
            kubeconfig: Hidden(access.to_file(&namespace, &dir.tokens())),
            namespace,
            timeout_seconds,
            fallback: inputs.falls_back(),
            kept: inputs.builder.is_some(),
            replace: inputs.replace,
            nodes,
            buildx: buildx.clone(),
            run: run.and_then(WorkflowRun::run_url),
        }
    }
}

impl Node {
    /// Sets an option of buildx's driver.
    pub(crate) fn set_option(&mut self, name: &str, value: String) {
        self.options.retain(|other| other.name != name);
        self.options.push(DriverOption::new(name, value));
    }
}

/// buildx's name of the builder, and that of its one node.
pub(super) fn name(inputs: &Inputs, dir: &RunDir) -> String {
    inputs.builder.clone().unwrap_or_else(|| dir.builder_name())
}
