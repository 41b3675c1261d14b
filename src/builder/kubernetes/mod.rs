//! BuildKit in the user's cluster: ours under the name where buildx's driver looks for its own.
//!
//! In: the plan and a kubeconfig. Out: a [`Running`] builder. The Deployment is created, followed
//! and deleted by us; buildx is told of it meanwhile and only connects. If the cluster will not
//! have our manifest, the driver makes its own. A heartbeat tells later runs that this one lives
//! ([`reap`]); what happens to the pod during the build is watched ([`guard`]).

mod api;
mod boot;
mod client;
mod error;
mod follow;
mod guard;
mod login;
mod make;
mod manifest;
mod note;
mod reap;
mod register;
mod removal;
mod rights;
mod silence;
mod stages;
mod tunnel;
mod workload;

use std::path::Path;
use std::time::Duration;

use futures_util::future::{select_all, try_join_all};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{BuilderError, Start};
use crate::buildx::Tool;
use crate::plan::{KubernetesPlan, Node};
use crate::runner::log;
use crate::timings::{Recorder, Traffic};
use client::Cluster;
pub(crate) use error::KubernetesError;
use follow::{Follower, Way};
use guard::Guard;
use make::Made;
use note::Note;
pub(crate) use note::{is_left, set_aside};
pub(super) use removal::remove_left;
use tunnel::Tunnel;

/// A builder whose pods are ready.
#[derive(Debug)]
pub(crate) struct Running {
    cluster: Cluster,
    nodes: Vec<RunningNode>,
    /// What has to be removed at the end; nothing of a builder that outlives the run.
    note: Note,
    /// buildx's way to the cluster, unless there is a proxy on it that we can't speak to.
    tunnel: Option<Tunnel>,
    /// Whether it outlives the run.
    kept: bool,
}

#[derive(Debug)]
struct RunningNode {
    name: String,
    made: Made,
    guard: Guard,
}

/// Makes the builder and waits until it is ready. The recorder gets the parts of the boot, also of one that fails.
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
    let open = async {
        let mut cluster = Cluster::open(kubeconfig).await?;
        cluster.restriction.clone_from(&kubernetes.restriction);
        let granted = rights::review(&cluster, kubernetes).await?;
        Ok((cluster, granted))
    };
    let (cluster, granted) = unless(stop, Box::pin(open)).await?;
    let may_renew = granted.heartbeats;
    let mut kubernetes = kubernetes.clone();
    if !granted.config {
        trust_nobody_else(&mut kubernetes);
    }
    let kubernetes = &kubernetes;
    let tunnel = open_tunnel(kubeconfig).await;
    let mut tool = tool.clone();
    if let Some(tunnel) = &tunnel {
        // buildx keeps the path with the nodes that it is told of.
        let path = tunnel.kubeconfig.clone().into_os_string();
        tool.env.insert("KUBECONFIG".to_owned(), path);
    }
    let tool = &tool;
    let mut running = Running {
        cluster,
        nodes: Vec::new(),
        note: Note::beside(kubeconfig),
        tunnel,
        kept: kubernetes.kept,
    };
    let mut ways = Vec::new();
    let ready = async {
        for node in &kubernetes.nodes {
            let made = running.make(kubernetes, node, may_renew);
            unless(stop, Box::pin(made)).await?;
        }
        let ready;
        let all = running.ready(start, kubernetes, may_renew, tool);
        (ways, ready) = Box::pin(all).await;
        ready
    };
    let ready = Box::pin(ready).await;
    let failed = ready.is_err().then(Timestamp::now);
    for (way, node) in ways.iter().zip(&kubernetes.nodes) {
        let of = (kubernetes.nodes.len() > 1).then_some(node);
        for stage in stages::of(way, begun, failed, of) {
            recorder.add_boot(stage);
        }
    }
    match ready {
        Ok(()) => {
            let calls = running.cluster.calls();
            tracing::debug!("{calls} calls to the Kubernetes API until ready");
            Ok(running)
        }
        Err(error) => {
            running.stop(&plan.name, tool, cancel).await;
            Err(error)
        }
    }
}

/// Calls to the API, unless they are stopped.
async fn unless<T>(
    stop: &CancellationToken,
    calls: impl Future<Output = Result<T, KubernetesError>>,
) -> Result<T, KubernetesError> {
    tokio::select! {
        done = calls => done,
        () = stop.cancelled() => Err(KubernetesError::Cancelled),
    }
}

/// Leaves out the certificates, for which a ConfigMap would be needed.
fn trust_nobody_else(kubernetes: &mut KubernetesPlan) {
    tracing::info!(
        target: log::NOTICE,
        "the pods do not get the certificates that this machine trusts: this identity may not create configmaps"
    );
    for node in &mut kubernetes.nodes {
        node.certificates = None;
    }
}

async fn open_tunnel(kubeconfig: &Path) -> Option<Tunnel> {
    match Tunnel::open(kubeconfig).await {
        Ok(tunnel) => Some(tunnel),
        Err(error) => {
            tracing::info!(
                target: log::NOTICE,
                "buildx goes to the API server by itself ({error}): a connection that is cut is noticed by \
                 buildx 0.36 and later, and hangs older ones"
            );
            None
        }
    }
}

impl Running {
    async fn make(
        &mut self,
        kubernetes: &KubernetesPlan,
        node: &Node,
        may_renew: bool,
    ) -> Result<(), KubernetesError> {
        if !self.kept {
            self.note.add(&node.name)?;
        }
        let made = match make::node(&self.cluster, kubernetes, node, may_renew).await {
            Ok(made) => made,
            Err(error) => {
                // Otherwise it may have been made, though nobody told us.
                if matches!(&error, KubernetesError::Api(error) if !error.may_pass()) {
                    self.note.strike(&node.name)?;
                }
                return Err(error);
            }
        };
        self.nodes.push(RunningNode {
            guard: Guard::start(
                self.cluster.clone(),
                &node.name,
                made.skew,
                may_renew && !kubernetes.kept,
            ),
            name: node.name.clone(),
            made,
        });
        match self.nodes.last() {
            Some(last) => make::config(&self.cluster, node, &last.made).await,
            None => Ok(()),
        }
    }

    /// Waits for all nodes at once. Meanwhile buildx is told of them, and what other runs left is
    /// removed.
    async fn ready(
        &self,
        start: &Start<'_>,
        kubernetes: &KubernetesPlan,
        may_renew: bool,
        tool: &Tool,
    ) -> (Vec<Way>, Result<(), BuilderError>) {
        let cancel = start.stop;
        let timeout = Duration::from_secs(kubernetes.timeout_seconds);
        let followers = self.nodes.iter();
        let mut followers: Vec<Follower<'_>> = followers
            .map(|node| Follower::new(&self.cluster, &node.name, &node.made))
            .collect();
        let follow = followers.iter_mut();
        let follow = try_join_all(follow.map(|follower| follower.ready(timeout)));
        let follow = async { Ok(unless(cancel, follow).await?) };
        let register = async {
            for (node, running) in kubernetes.nodes.iter().zip(&self.nodes) {
                register::node(start, node, &running.made, tool).await?;
                register::check_owner(&self.cluster, node, &running.made).await;
            }
            Ok::<_, BuilderError>(())
        };
        let reap = async {
            if let (true, Some(first)) = (may_renew, self.nodes.first()) {
                let own: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                reap::others(&self.cluster, &own, first.made.skew).await;
            }
            Ok(())
        };
        let ready = async {
            tokio::try_join!(follow, register, reap)?;
            for running in &self.nodes {
                let selector = format!("app={}", running.name);
                let pods = async { Ok(self.cluster.pods(&selector).await?) };
                running.guard.watch(unless(cancel, pods).await?.0);
            }
            Ok(())
        };
        let ready = Box::pin(ready).await;
        let ways: Vec<Way> = followers.into_iter().map(Follower::way).collect();
        if ready.is_ok() {
            for (running, way) in self.nodes.iter().zip(&ways) {
                let node = way.node.as_deref().unwrap_or("a node");
                tracing::info!("builder `{}` is up on {node}", running.name);
            }
        }
        (ways, ready)
    }
}

impl Running {
    /// Ends when a node of the builder is lost, or the way to it, with what happened.
    pub(super) async fn lost(&self, builder: &str) -> KubernetesError {
        let way = async {
            match &self.tunnel {
                Some(tunnel) => tokio::select! {
                    // The pods were looked at meanwhile.
                    () = tunnel.cut() => KubernetesError::cut(builder),
                    silence = Box::pin(silence::noticed(tunnel, &self.cluster)) => {
                        KubernetesError::silent(builder, silence)
                    }
                },
                None => std::future::pending().await,
            }
        };
        let lost = tokio::select! {
            error = self.pods_lost() => error,
            error = way => error,
        };
        // Cleaning up may take a while where nobody answers.
        tracing::info!("{lost}: the build is ended");
        lost
    }

    async fn pods_lost(&self) -> KubernetesError {
        let guards = self.nodes.iter().map(|node| Box::pin(node.guard.lost()));
        let ((name, trouble), ..) = select_all(guards).await;
        KubernetesError::Lost {
            name,
            why: trouble.text,
            hint: trouble.hint,
        }
    }

    /// Why a connection was cut: it may have been its pod's end, of which the API tells later.
    pub(super) async fn after_disconnection(&self, builder: &str) -> KubernetesError {
        let pods = tokio::time::timeout(guard::NEXT_LOOK, self.pods_lost());
        pods.await.unwrap_or_else(|_| KubernetesError::cut(builder))
    }

    /// What went over the API server so far, where it could be counted.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.tunnel.as_ref().map(Tunnel::traffic)
    }
}
