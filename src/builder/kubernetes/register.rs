//! Registering the nodes with buildx.
//!
//! `buildx create` adopts a workload of the node's name; it creates its own only if it boots the node and finds none.

use super::client::Cluster;
use super::manifest;
use super::provision::Provisioned;
use crate::builder::create::create;
use crate::builder::{BuilderError, Start};
use crate::buildx::Tool;
use crate::buildx::create::{self, Bootstrap};
use crate::plan::{Node, VOLUME_OPTION, Workload};
use crate::runner::log;

/// Registers a node. buildx adopts our workload.
pub(super) async fn node(
    start: &Start<'_>,
    node: &Node,
    provisioned: &Provisioned,
    tool: &Tool,
) -> Result<(), BuilderError> {
    let Start { plan, stop, .. } = start;
    let (node, bootstrap) = with_options(node, provisioned);
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

/// The node with the options by which buildx finds the workload. If buildx creates it, it gets our labels and annotations.
fn with_options(node: &Node, provisioned: &Provisioned) -> (Node, Bootstrap) {
    let mut node = node.clone();
    if provisioned.workload == Workload::StatefulSet {
        // With this option buildx looks for a StatefulSet.
        let size = node.storage.clone().unwrap_or_else(|| "1Gi".to_owned());
        node.set_option(VOLUME_OPTION, size);
    }
    if provisioned.uid.is_some() {
        return (node, Bootstrap::Later);
    }
    for (name, value) in manifest::marks(&node, provisioned.heartbeat) {
        if !value.is_empty() {
            node.set_option(name, value);
        }
    }
    (node, Bootstrap::Now)
}

/// Whether the workload that buildx found is ours.
pub(super) async fn check_owner(cluster: &Cluster, node: &Node, provisioned: &Provisioned) {
    let Some(uid) = provisioned.uid.as_deref() else {
        return;
    };
    let Ok(Some(found)) = cluster.find(provisioned.workload, &node.name).await else {
        return;
    };
    if found.uid() != Some(uid) {
        tracing::info!(
            target: log::NOTICE,
            "the {} `{}` was replaced: buildx's own manifest is used",
            provisioned.workload.kind(),
            node.name
        );
    }
}
