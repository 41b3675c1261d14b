//! Telling buildx of the nodes.
//!
//! `buildx create` looks whether a workload of the node's name is there; it makes its own only
//! when it boots one and finds none.

use tokio_util::sync::CancellationToken;

use super::client::Cluster;
use super::make::Made;
use super::manifest;
use crate::builder::{BuilderError, Tool, again};
use crate::plan::{BuilderPlan, Node, VOLUME_OPTION, Workload, driver_opt};
use crate::runner::log;

/// Tells buildx of the builder. With our workload there it only looks whether it runs.
pub(super) async fn node(
    plan: &BuilderPlan,
    node: &Node,
    made: &Made,
    tool: &Tool,
    cancel: &CancellationToken,
) -> Result<(), BuilderError> {
    let arguments = arguments(plan, node, made);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let command = tool.command(&arguments);
    again::create(&plan.name, tool, &mut Vec::new(), cancel, async || {
        // With a node's name buildx updates what it knows.
        command.output(cancel).await.map(drop)
    })
    .await
}

fn arguments(plan: &BuilderPlan, node: &Node, made: &Made) -> Vec<String> {
    let by_driver = made.uid.is_none();
    let flags = node.buildkitd_flags.join(" ");
    let mut args = vec!["create", "--name", &plan.name, "--node", &node.name];
    args.extend(["--driver", plan.driver.name(), "--buildkitd-flags", &flags]);
    let first = plan.kubernetes.as_ref().and_then(|plan| plan.nodes.first());
    if first.is_some_and(|first| first.name != node.name) {
        args.push("--append");
    }
    let platforms = node.platforms.join(",");
    if !platforms.is_empty() {
        args.extend(["--platform", &platforms]);
    }
    let config = plan.buildkitd_config.as_ref();
    let config = config.map(|path| path.to_string_lossy());
    if let Some(config) = &config {
        // `--buildkitd-config` in newer ones, which take this name too.
        args.extend(["--config", config]);
    }
    let mut node = node.clone();
    if made.workload == Workload::StatefulSet {
        // So that it looks for one.
        let size = node.storage.clone().unwrap_or_else(|| "1Gi".to_owned());
        node.set_option(VOLUME_OPTION, size);
    }
    if by_driver {
        for (name, value) in manifest::marks(&node, made.heartbeat) {
            if !value.is_empty() {
                node.set_option(name, value);
            }
        }
    }
    let options: Vec<String> = node.options.iter().map(driver_opt).collect();
    for option in &options {
        args.extend(["--driver-opt", option]);
    }
    if by_driver {
        args.push("--bootstrap");
    }
    args.into_iter().map(str::to_owned).collect()
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
