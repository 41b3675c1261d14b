//! BuildKit in the user's cluster, under the name that buildx's driver looks for.
//!
//! In: the plan and a kubeconfig. Out: a [`Running`] builder. We create, follow and delete the workload; buildx only connects to it. If the
//! cluster does not accept our manifest, buildx's driver creates its own. A heartbeat protects the builder from later runs ([`orphans`]); a
//! [`monitor`] checks its pods during the build.

#[cfg(test)]
#[path = "../../../tests/any_bytes/kubernetes.rs"]
pub(crate) mod any_bytes;
mod api_error;
mod boot;
mod cleanup_list;
mod client;
mod error;
mod follow;
mod liveness;
mod login;
mod manifest;
mod monitor;
mod orphans;
mod provision;
mod register;
mod removal;
mod rights;
mod stages;
mod tunnel;
mod workload;

use std::path::Path;
use std::time::Duration;

use futures_util::future::{select_all, try_join_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio_util::sync::CancellationToken;

use super::{BuilderError, Start};
use crate::buildx::Tool;
use crate::plan::{KubernetesPlan, Node};
use crate::process::Ongoing;
use crate::runner::log;
use crate::timings::{Recorder, Traffic};
use cleanup_list::CleanupList;
pub(crate) use cleanup_list::{is_left, set_aside};
use client::Cluster;
pub(crate) use error::KubernetesError;
use follow::{Follower, Progress};
use monitor::Monitor;
use provision::{Failed, Provisioned};
pub(super) use removal::remove_left;
use tunnel::Tunnel;

/// A builder whose pods are ready.
#[derive(Debug)]
pub(crate) struct Running {
    cluster: Cluster,
    nodes: Vec<RunningNode>,
    /// What is removed at the end; empty for a persistent builder.
    cleanup: CleanupList,
    /// None behind a proxy that the tunnel does not support.
    tunnel: Option<Tunnel>,
    /// Whether it is persistent.
    kept: bool,
}

#[derive(Debug)]
struct RunningNode {
    name: String,
    provisioned: Provisioned,
    monitor: Monitor,
}

/// Creates the builder, waits until it is ready, and records the stages of its boot, even of a failed one.
pub(super) async fn start(
    start: &Start<'_>,
    kubernetes: &KubernetesPlan,
    recorder: &mut Recorder,
) -> Result<Running, BuilderError> {
    let Start {
        plan,
        tool,
        stop,
        cancel,
        ..
    } = *start;
    let begun = Timestamp::now();
    let kubeconfig = tool.env.get("KUBECONFIG").map(Path::new);
    let kubeconfig = kubeconfig.unwrap_or(Path::new(""));
    let mut kubernetes = kubernetes.clone();
    let open = async {
        let mut cluster = Cluster::open(kubeconfig).await?;
        cluster.restriction.clone_from(&kubernetes.restriction);
        cluster.granted = rights::review(&cluster, &kubernetes).await?;
        Ok(cluster)
    };
    let cluster = unless_stopped(stop, Box::pin(open)).await?;
    let mut nodes = kubernetes.nodes.iter();
    if nodes.any(|node| node.certificates.is_some()) && !cluster.may_create_config() {
        tracing::info!(
            target: log::NOTICE,
            "the pods do not get this machine's certificates: this identity may not create configmaps"
        );
        for node in &mut kubernetes.nodes {
            node.certificates = None;
        }
    }
    let kubernetes = &kubernetes;
    let tunnel = Tunnel::open(kubeconfig).await.inspect_err(|error| {
        tracing::info!(
            target: log::NOTICE,
            "buildx connects to the API server directly ({error}): buildx before 0.36 hangs if a connection is lost"
        );
    });
    let tunnel = tunnel.ok();
    let mut tool = tool.clone();
    if let Some(tunnel) = &tunnel {
        // buildx stores this path with the nodes.
        let path = tunnel.kubeconfig.clone().into_os_string();
        tool.env.insert("KUBECONFIG".to_owned(), path);
    }
    let tool = &tool;
    let mut running = Running {
        cluster,
        nodes: Vec::new(),
        cleanup: CleanupList::new(kubeconfig),
        tunnel,
        kept: kubernetes.kept,
    };
    let mut progress = Vec::new();
    let ready = async {
        for node in &kubernetes.nodes {
            let provisioned = running.provision(kubernetes, node);
            unless_stopped(stop, Box::pin(provisioned)).await?;
        }
        let ready;
        (progress, ready) = Box::pin(running.ready(start, kubernetes, tool)).await;
        ready
    };
    let ready = Box::pin(ready).await;
    let failed = ready.is_err().then(Timestamp::now);
    for (progress, node) in progress.iter().zip(&kubernetes.nodes) {
        let node = (kubernetes.nodes.len() > 1).then_some(node);
        for stage in stages::of(progress, begun, failed, node) {
            recorder.add_boot(stage);
        }
    }
    if let Err(error) = ready {
        running.stop(&plan.name, tool, cancel).await;
        return Err(error);
    }
    let calls = running.cluster.calls();
    tracing::debug!("{calls} calls to the Kubernetes API until ready");
    Ok(running)
}

async fn unless_stopped<T>(
    stop: &CancellationToken,
    calls: impl Future<Output = Result<T, KubernetesError>>,
) -> Result<T, KubernetesError> {
    let done = stop.run_until_cancelled(calls).await;
    done.unwrap_or(Err(KubernetesError::Cancelled))
}

impl Running {
    async fn provision(
        &mut self,
        kubernetes: &KubernetesPlan,
        node: &Node,
    ) -> Result<(), KubernetesError> {
        if !self.kept {
            self.cleanup.add(&node.name)?;
        }
        let provisioned = match provision::node(&self.cluster, kubernetes, node).await {
            Ok(provisioned) => provisioned,
            Err(Failed { error, may_exist }) => {
                if !self.kept && !may_exist {
                    self.cleanup.remove(&node.name)?;
                }
                return Err(error);
            }
        };
        let may_renew = self.cluster.may_renew_heartbeats() && !kubernetes.kept;
        let cluster = self.cluster.clone();
        let monitor = Monitor::start(cluster, &node.name, provisioned.skew, may_renew);
        let owner = provisioned.uid.as_deref().filter(|_| provisioned.is_new);
        let config = owner.and_then(|owner| manifest::config(node, owner));
        self.nodes.push(RunningNode {
            monitor,
            name: node.name.clone(),
            provisioned,
        });
        let Some(config) = config else { return Ok(()) };
        // After the workload, whose pod waits for it: scheduling takes longer.
        let what = "create a ConfigMap";
        let create = || {
            let config = config.clone();
            self.cluster.create_if_missing::<ConfigMap>(what, config)
        };
        Ok(provision::repeat(kubernetes, create).await.result?)
    }

    /// Waits for all nodes. Meanwhile registers them with buildx and removes orphans.
    async fn ready(
        &self,
        start: &Start<'_>,
        kubernetes: &KubernetesPlan,
        tool: &Tool,
    ) -> (Vec<Progress>, Result<(), BuilderError>) {
        let stop = start.stop;
        let timeout = Duration::from_secs(kubernetes.timeout_seconds);
        let nodes = self.nodes.iter();
        let mut followers: Vec<Follower<'_>> = nodes
            .map(|node| Follower::new(&self.cluster, &node.name, &node.provisioned))
            .collect();
        let follow = try_join_all(followers.iter_mut().map(|follower| follower.ready(timeout)));
        let follow = async { Ok(unless_stopped(stop, follow).await?) };
        let register = async {
            for (node, running) in kubernetes.nodes.iter().zip(&self.nodes) {
                register::node(start, node, &running.provisioned, tool).await?;
                register::check_owner(&self.cluster, node, &running.provisioned).await;
            }
            Ok::<_, BuilderError>(())
        };
        let orphans = async {
            if self.cluster.may_renew_heartbeats()
                && let Some(first) = self.nodes.first()
            {
                let own: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                orphans::remove(&self.cluster, &own, first.provisioned.skew).await;
            }
            Ok(())
        };
        let ready = async {
            tokio::try_join!(follow, register, orphans)?;
            for node in &self.nodes {
                let selector = format!("app={}", node.name);
                let pods = async { Ok(self.cluster.pods(&selector).await?) };
                node.monitor.watch(unless_stopped(stop, pods).await?.0);
            }
            Ok(())
        };
        let ready = Box::pin(ready).await;
        let progress = followers.into_iter().map(|follower| follower.progress);
        let progress: Vec<Progress> = progress.collect();
        if ready.is_ok() {
            for (running, progress) in self.nodes.iter().zip(&progress) {
                let node = progress.node.as_deref().unwrap_or("a node");
                tracing::info!("builder `{}` is ready on {node}", running.name);
            }
        }
        (progress, ready)
    }

    /// Resolves when a node of the builder, or the connection to it, is lost.
    pub(super) async fn lost(&self, builder: &str, builds: &Ongoing) -> KubernetesError {
        let connection = async {
            let Some(tunnel) = &self.tunnel else {
                return std::future::pending().await;
            };
            tokio::select! {
                // The pods were checked meanwhile.
                () = tunnel.disconnected(builds) => KubernetesError::disconnected(builder),
                unresponsive = Box::pin(liveness::unresponsive(tunnel, &self.cluster)) => {
                    KubernetesError::unresponsive(builder, unresponsive)
                }
            }
        };
        let lost = tokio::select! {
            error = self.pods_lost() => error,
            error = connection => error,
        };
        // Logged now, because the clean-up may take a while.
        tracing::info!("{lost}: ending the build");
        lost
    }

    async fn pods_lost(&self) -> KubernetesError {
        let losses = self.nodes.iter().map(|node| Box::pin(node.monitor.lost()));
        let ((name, problem), ..) = select_all(losses).await;
        KubernetesError::Lost {
            name,
            why: problem.text,
            hint: problem.hint,
        }
    }

    /// Why a connection was closed: the API may report the end of its pod a moment later.
    pub(super) async fn after_disconnection(&self, builder: &str) -> KubernetesError {
        let pods = tokio::time::timeout(monitor::NEXT_CHECK, self.pods_lost()).await;
        pods.unwrap_or_else(|_| KubernetesError::disconnected(builder))
    }

    /// Traffic through the API server so far, if it was counted.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.tunnel.as_ref().map(Tunnel::traffic)
    }
}
