//! Which builder, and its options.

use std::path::PathBuf;

use secrecy::ExposeSecret as _;
use semver::Version;
use serde::Serialize;

use super::kubernetes::{self, Cluster, KubernetesPlan};
use super::memory::Limit;
use super::network::CertificatesFile;
use super::{
    Diagnostics, Driver, Hidden, Naming, PlanError, RunDir, Sources, buildkitd, driver_options,
    ignored, memory, network,
};
use crate::credentials::kubeconfig::Access;
use crate::facts::{Engine, ImageStore};
use crate::inputs::driver_options::DriverOption;
use crate::inputs::{self, Inputs};
use crate::runner::workflow::WorkflowRun;

/// The builder of this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BuilderPlan {
    pub driver: Driver,
    /// buildx's name of the builder.
    pub name: String,
    /// Driver options, each name once.
    pub options: Vec<DriverOption>,
    /// Driver options with a password in their value, by name.
    #[serde(skip)]
    pub secret_options: Vec<(String, Hidden)>,
    /// Flags of BuildKit's daemon, for a builder with a daemon of its own.
    pub buildkitd_flags: Option<String>,
    /// The file with the daemon's configuration, which we write.
    pub buildkitd_config: Option<PathBuf>,
    /// What goes into it, except for the line about [`Self::certificates`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub buildkitd_text: String,
    /// Certificates that the daemon trusts besides its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<CertificatesFile>,
    /// Address of the Engine.
    pub engine: String,
    /// The Engine's own platform; empty for a cluster, whose nodes may have any.
    pub platform: String,
    /// The image store that the builder exports to; none for one that has no store.
    #[serde(skip)]
    pub store: Option<ImageStore>,
    /// What runs in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesPlan>,
}

/// What docker/setup-buildx-action allows its builders by default
/// (<https://github.com/docker/setup-buildx-action/blob/37fe631/action.yml>). The build still has to allow every step.
const BUILDKITD_FLAGS: &str =
    "--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host";

/// buildx's name of the builder that is the Engine of `DOCKER_HOST`.
const ENGINE_BUILDER: &str = "default";

impl BuilderPlan {
    /// Whether the Engine's own BuildKit exports to the classic image store, which takes neither other compressions than gzip
    /// nor other caches than inline.
    pub(super) fn has_classic_store(&self) -> bool {
        self.store == Some(ImageStore::Classic)
    }

    /// The content of [`Self::buildkitd_config`].
    pub(crate) fn buildkitd_config_text(&self) -> String {
        let certificates = self.certificates.as_ref();
        let certificates = certificates.map(|file| buildkitd::trust(&file.path));
        format!(
            "{}{}",
            self.buildkitd_text,
            certificates.unwrap_or_default()
        )
    }

    /// Variables that options set in the builder, with their values.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let nodes = self.kubernetes.iter().flat_map(|plan| &plan.nodes);
        let options = self
            .options
            .iter()
            .chain(nodes.flat_map(|node| &node.options));
        let plain = options.filter_map(|option| Some((option.variable()?, option.value.as_str())));
        let secret = self.secret_options.iter();
        let secret = secret.map(|(name, value)| (name.as_str(), value.0.expose_secret()));
        plain.chain(secret)
    }

    /// `auto` and `local`, and `kubernetes` after a failure of the cluster, take the Engine's own BuildKit if its image store lets
    /// it push and cache by itself, else BuildKit in a container.
    pub(super) fn choose(
        sources: &Sources<'_>,
        engine: &Engine,
        naming: Naming,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let Sources {
            inputs, facts, dir, ..
        } = *sources;
        let driver = choose_driver(inputs, engine, naming, diagnostics);
        diagnostics
            .notices
            .extend(ignored::on_this_machine(inputs, driver));
        let options =
            driver_options::of_driver("driver-opts", &inputs.driver_opts, driver, diagnostics);
        let config = buildkitd::given(inputs, diagnostics);
        let mut plan = Self {
            driver,
            name: ENGINE_BUILDER.to_owned(),
            options,
            secret_options: Vec::new(),
            buildkitd_flags: None,
            buildkitd_config: None,
            buildkitd_text: String::new(),
            certificates: None,
            engine: engine.address.host.clone(),
            platform: engine.platform.clone(),
            store: (driver == Driver::Docker).then_some(engine.store),
            kubernetes: None,
        };
        if driver == Driver::DockerContainer {
            let flags = inputs.buildkitd_flags.as_deref().unwrap_or(BUILDKITD_FLAGS);
            plan.name = dir.builder_name();
            plan.buildkitd_flags = Some(flags.to_owned());
            plan.buildkitd_config = Some(dir.buildkitd_config());
            plan.buildkitd_text = buildkitd::faster(config);
            let gets = network::of_container(&plan.options, &facts.network, dir, diagnostics);
            plan.options.extend(gets.options);
            plan.secret_options = gets.secret_options;
            plan.certificates = gets.certificates;
        }
        memory::check(Limit::of_container(&plan.options), diagnostics);
        plan
    }

    /// A builder in the cluster.
    pub(super) fn in_cluster(
        inputs: &Inputs,
        run: Option<&WorkflowRun>,
        cluster: &Cluster<'_>,
        dir: &RunDir,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        diagnostics.notices.extend(ignored::in_cluster(inputs));
        let mut kubernetes = KubernetesPlan::new(inputs, run, cluster, dir, diagnostics);
        network::give_to_nodes(&mut kubernetes.nodes, cluster.certificates, diagnostics);
        let limits = kubernetes.nodes.iter().filter_map(Limit::of_node);
        memory::check(limits, diagnostics);
        let config = inputs.buildkitd_config_inline.as_ref().map(|text| &text.0);
        let first = kubernetes.nodes.first();
        Self {
            driver: Driver::Kubernetes,
            name: kubernetes::name(inputs, dir),
            // Every node has its own; those of the first are shown.
            options: first.map_or_else(Vec::new, |node| node.options.clone()),
            secret_options: Vec::new(),
            buildkitd_flags: None,
            // buildx itself reads it, too, for the registries that it names.
            buildkitd_config: config.map(|_| dir.buildkitd_config()),
            buildkitd_text: config.cloned().unwrap_or_default(),
            certificates: None,
            engine: String::new(),
            platform: String::new(),
            store: None,
            kubernetes: Some(kubernetes),
        }
    }
}

fn choose_driver(
    inputs: &Inputs,
    engine: &Engine,
    naming: Naming,
    diagnostics: &mut Diagnostics,
) -> Driver {
    // The Engine's own BuildKit pushes under tags only (`toSolveOpt` in buildx's `build/opt.go`).
    let needs_digest = naming == Naming::Digest
        && inputs
            .outputs
            .iter()
            .any(|output| output.is_by_digest() && (output.pushes() || inputs.push == Some(true)));
    match (inputs.driver, engine.store) {
        (inputs::Driver::Docker, _) => {
            if needs_digest {
                let expected = "`docker-container` or `auto`: `docker` can't push by digest";
                diagnostics.wrong("driver", "docker", expected);
            }
            Driver::Docker
        }
        (inputs::Driver::DockerContainer, _) | (_, ImageStore::Classic) => Driver::DockerContainer,
        _ if needs_digest => Driver::DockerContainer,
        _ => Driver::Docker,
    }
}

/// Checks the inputs about a builder in a cluster, before anything is asked of the cluster.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn check_cluster(inputs: &Inputs, dir: &RunDir) -> Result<(), PlanError> {
    let mut diagnostics = Diagnostics::default();
    let cluster = Cluster {
        access: &Access::assumed("cluster"),
        // The version is not known yet: one that can do everything.
        buildx: &Version::new(u64::MAX, 0, 0),
        certificates: "",
    };
    BuilderPlan::in_cluster(inputs, None, &cluster, dir, &mut diagnostics);
    if diagnostics.errors.is_empty() {
        Ok(())
    } else {
        Err(PlanError::Inputs(diagnostics.errors))
    }
}
