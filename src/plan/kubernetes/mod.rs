//! The builder in a Kubernetes cluster: from driver options to what will run there.
//!
//! In: inputs and a way into the cluster. Out: a [`KubernetesPlan`], or what speaks against it. The
//! options are those of buildx's driver, with the traps of its own reading mended
//! (<https://docs.docker.com/build/builders/drivers/kubernetes/>,
//! <https://github.com/docker/buildx/blob/461836ba0/driver/kubernetes/factory.go>).

mod options;
mod quantity;

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Serialize;

use super::{Place, Remarks};
use crate::credentials::kubeconfig::Access;
use crate::github::workflow::WorkflowRun;
use crate::inputs::Inputs;

/// Seconds until a builder has to be ready, when nothing else is said. A node that has to be
/// started first takes one or two minutes.
const TIMEOUT: u64 = 300;

/// The image of buildx's own driver (`bkimage.go`).
const IMAGE: &str = "moby/buildkit:buildx-stable-1";
const ROOTLESS_IMAGE: &str = "moby/buildkit:buildx-stable-1-rootless";
const QEMU_IMAGE: &str = "tonistiigi/binfmt:latest";

/// The namespace where neither inputs nor kubeconfig name one, as kubectl takes it.
const NAMESPACE: &str = "default";

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
    /// Who runs it, for people who look at the cluster.
    pub run: Option<String>,
    /// The kubeconfig that is written for buildx.
    #[serde(skip)]
    pub kubeconfig: Hidden,
}

/// A text that plans carry and never show.
#[derive(Debug, Clone)]
pub(crate) struct Hidden(pub SecretString);

/// The kubeconfig says nothing about what is done; its address and namespace are compared.
impl PartialEq for Hidden {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Hidden {}

/// One workload of BuildKit pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    /// Name of the Deployment, and buildx's name of the node.
    pub name: String,
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
    /// Size of the claim that BuildKit's folder is on.
    pub storage: Option<String>,
    /// The claim's storage class; none for the cluster's default.
    pub storage_class: Option<String>,
    /// `buildkitd.toml`.
    pub config: Option<String>,
    pub buildkitd_flags: Vec<String>,
}

/// A taint that pods put up with, as the pod's specification writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Toleration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

impl KubernetesPlan {
    /// Reads the options, each name once.
    pub(super) fn new(
        inputs: &Inputs,
        options: &[(String, String)],
        access: &Access,
        run: Option<&WorkflowRun>,
        place: &Place,
        remarks: &mut Remarks,
    ) -> Self {
        let read = options::read(options, remarks);
        let mut node = read.node;
        node.name = name(inputs, place);
        check_storage(inputs, &node, remarks);
        if node.storage.is_some() {
            node.config = Some(CLEAN_BY_VOLUME.to_owned());
        }
        if node.image.is_empty() {
            node.image = if node.rootless { ROOTLESS_IMAGE } else { IMAGE }.to_owned();
        }
        if read.qemu {
            node.qemu = Some(read.qemu_image.unwrap_or_else(|| QEMU_IMAGE.to_owned()));
        }
        node.buildkitd_flags = match &inputs.buildkitd_flags {
            Some(flags) => flags.split_whitespace().map(str::to_owned).collect(),
            None => BUILDKITD_FLAGS.map(str::to_owned).to_vec(),
        };
        if let (Some(given), Some(option)) = (&inputs.namespace, &read.namespace)
            && given != option
        {
            remarks.wrong(
                "namespace",
                given,
                format!("the namespace of `driver-opts`, `{option}`, or only one of the two"),
            );
        }
        let namespace = inputs
            .namespace
            .clone()
            .or(read.namespace)
            .or_else(|| access.namespace.clone())
            .unwrap_or_else(|| NAMESPACE.to_owned());
        let timeout = inputs
            .builder_timeout
            .and_then(|seconds| seconds.try_into().ok());
        remarks.warnings.extend(access.warnings.iter().cloned());
        Self {
            server: access.server.clone(),
            context: access.context.clone(),
            restriction: access.restriction.clone(),
            kubeconfig: Hidden(access.to_file(&namespace, &place.tokens_folder())),
            namespace,
            timeout_seconds: timeout.or(read.timeout_seconds).unwrap_or(TIMEOUT),
            fallback: inputs.falls_back(),
            kept: inputs.builder.is_some(),
            replace: inputs.replace,
            nodes: nodes(&node, &inputs.platforms),
            run: run.and_then(WorkflowRun::run_url),
        }
    }

    /// The options that buildx's driver gets, so that its own manifest would be like ours.
    pub(super) fn driver_options(&self, given: Vec<(String, String)>) -> Vec<(String, String)> {
        let ours = [
            ("namespace", self.namespace.clone()),
            ("timeout", format!("{}s", self.timeout_seconds)),
        ];
        let mut options: Vec<(String, String)> = given
            .into_iter()
            .filter(|(name, _)| !ours.iter().any(|(other, _)| other == name))
            // With it the driver would look for a StatefulSet; the claim is ours.
            .filter(|(name, _)| !name.starts_with("persistent-volume-claim."))
            .collect();
        options.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        options
    }
}

/// BuildKit's cache may fill the volume but for what a build needs. Shares are of the volume that
/// its folder is on (<https://docs.docker.com/build/buildkit/toml-configuration/>).
const CLEAN_BY_VOLUME: &str = "[worker.oci]
  gc = true
  reservedSpace = \"10%\"
  maxUsedSpace = \"80%\"
  minFreeSpace = \"15%\"
";

/// buildx's name of the builder, and that of its one node.
pub(super) fn name(inputs: &Inputs, place: &Place) -> String {
    inputs
        .builder
        .clone()
        .unwrap_or_else(|| format!("{}{}", super::BUILDER_PREFIX, place.id))
}

fn check_storage(inputs: &Inputs, node: &Node, remarks: &mut Remarks) {
    let Some(size) = &node.storage else { return };
    let expected = if inputs.builder.is_none() {
        "a name in the input `builder`: a builder of one run keeps no volume"
    } else if node.replicas > 1 {
        "`replicas=1`: a volume belongs to one pod"
    } else if node.memory_volume.is_some() {
        "no `buildkit-root-volume-memory` beside it"
    } else {
        return;
    };
    let given = format!("persistent-volume-claim.requests.storage={size}");
    remarks.wrong("driver-opts", given, expected);
}

/// The label of machines that names their architecture
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch>).
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// One node for each architecture that is built for, each on a machine of that kind: native, where
/// emulation is ten times slower. With emulators asked for, one for all.
fn nodes(node: &Node, platforms: &[String]) -> Vec<Node> {
    if node.qemu.is_some() || node.node_selector.contains_key(ARCHITECTURE) {
        return vec![node.clone()];
    }
    let mut nodes: Vec<Node> = Vec::new();
    for platform in platforms {
        let Some(architecture) = architecture(platform) else {
            return vec![node.clone()];
        };
        let known = nodes
            .iter_mut()
            .find(|other| other.node_selector[ARCHITECTURE] == architecture);
        match known {
            Some(known) if known.platforms.contains(platform) => {}
            Some(known) => known.platforms.push(platform.clone()),
            None => {
                let mut new = node.clone();
                new.platforms.push(platform.clone());
                let selector = (ARCHITECTURE.to_owned(), architecture.to_owned());
                new.node_selector.extend([selector]);
                nodes.push(new);
            }
        }
    }
    if nodes.len() > 1 {
        for node in &mut nodes {
            node.name = format!("{}-{}", node.name, node.node_selector[ARCHITECTURE]);
        }
    }
    if nodes.is_empty() {
        nodes.push(node.clone());
    }
    nodes
}

/// The machines that run a Linux platform natively, under Kubernetes' name for them.
fn architecture(platform: &str) -> Option<&str> {
    let mut parts = platform.split('/');
    let (first, second) = (parts.next()?, parts.next());
    match (first, second) {
        // Machines of today run their 32-bit ancestors' programs.
        ("linux", Some("amd64" | "386")) => Some("amd64"),
        ("linux", Some("arm64" | "arm")) => Some("arm64"),
        ("linux", Some(other)) => Some(other),
        _ => None,
    }
}

/// What docker/setup-buildx-action allows its builders by default; every step still has to be
/// allowed by the build itself.
const BUILDKITD_FLAGS: [&str; 2] = [
    "--allow-insecure-entitlement=security.insecure",
    "--allow-insecure-entitlement=network.host",
];
