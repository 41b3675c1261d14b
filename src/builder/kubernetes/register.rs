//! Telling buildx of the nodes.
//!
//! `buildx create` looks whether a workload of the node's name is there; it makes its own only
//! when it boots one and finds none.

use super::client::Cluster;
use super::make::Made;
use super::manifest;
use crate::builder::create::create;
use crate::builder::{BuilderError, Start};
use crate::buildx::Tool;
use crate::buildx::create::{self, Bootstrap};
use crate::plan::{Node, VOLUME_OPTION, Workload};
use crate::runner::log;

/// Tells buildx of the builder. With our workload there it only looks whether it runs.
pub(super) async fn node(
    start: &Start<'_>,
    node: &Node,
    made: &Made,
    tool: &Tool,
) -> Result<(), BuilderError> {
    let Start { plan, stop, .. } = start;
    let (node, bootstrap) = as_made(node, made);
    let command = create::node(plan, &node, bootstrap, tool);
    create(
        &plan.name,
        start.retries,
        &mut Vec::new(),
        stop,
        async || {
            // With a node's name buildx updates what it knows.
            command.output(stop).await.map(drop)
        },
    )
    .await
}

/// The node with the options by which buildx finds the workload. Where buildx is to make it, it gets our labels and annotations.
fn as_made(node: &Node, made: &Made) -> (Node, Bootstrap) {
    let mut node = node.clone();
    if made.workload == Workload::StatefulSet {
        // With this option buildx looks for a StatefulSet.
        let size = node.storage.clone().unwrap_or_else(|| "1Gi".to_owned());
        node.set_option(VOLUME_OPTION, size);
    }
    if made.uid.is_some() {
        return (node, Bootstrap::Later);
    }
    for (name, value) in manifest::marks(&node, made.heartbeat) {
        if !value.is_empty() {
            node.set_option(name, value);
        }
    }
    (node, Bootstrap::Now)
}

/// Whether the workload that buildx found is ours.
pub(super) async fn check_owner(cluster: &Cluster, node: &Node, made: &Made) {
    let Some(uid) = made.uid.as_deref() else {
        return;
    };
    let Ok(Some(found)) = cluster.find(made.workload, &node.name).await else {
        return;
    };
    if found.uid() != Some(uid) {
        tracing::info!(
            target: log::NOTICE,
            "the {} `{}` was replaced: buildx's own manifest is used",
            made.workload.kind(),
            node.name
        );
    }
}
