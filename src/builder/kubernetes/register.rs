//! Telling buildx of the nodes.
//!
//! `buildx create` looks whether a Deployment of the node's name is there; it makes its own only
//! when it boots one and finds none.

use tokio_util::sync::CancellationToken;

use super::client::Cluster;
use super::make::Made;
use super::manifest;
use crate::builder::{BuilderError, Tool, again};
use crate::log;
use crate::plan::{BuilderPlan, Node};

/// Tells buildx of the builder. With our Deployment there it only looks whether it runs.
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
    if by_driver {
        for (name, value) in manifest::marks(&node, made.heartbeat) {
            if !value.is_empty() {
                node.set_option(name, value);
            }
        }
    }
    let options: Vec<String> = node.options.iter().map(option).collect();
    for option in &options {
        args.extend(["--driver-opt", option]);
    }
    if by_driver {
        args.push("--bootstrap");
    }
    args.into_iter().map(str::to_owned).collect()
}

/// `--driver-opt` is read as comma-separated values.
fn option((name, value): &(String, String)) -> String {
    let option = format!("{name}={value}");
    if option.contains([',', '"']) {
        format!("\"{}\"", option.replace('"', "\"\""))
    } else {
        option
    }
}

/// Whether the Deployment that buildx found is ours.
pub(super) async fn check_owner(cluster: &Cluster, node: &Node, uid: Option<&str>) {
    let (Some(uid), Ok(Some(found))) = (uid, cluster.deployment(&node.name).await) else {
        return;
    };
    if found.metadata.uid.as_deref() != Some(uid) {
        tracing::info!(
            target: log::NOTICE,
            "the Deployment `{}` was replaced: buildx's own manifest is used",
            node.name
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_with_commas_stay_in_one_piece() {
        let option = |name: &str, value: &str| option(&(name.to_owned(), value.to_owned()));
        assert_eq!(option("replicas", "1"), "replicas=1");
        assert_eq!(
            option("nodeselector", "a=b,c=d"),
            "\"nodeselector=a=b,c=d\""
        );
        assert_eq!(option("labels", "a=\"b\""), "\"labels=a=\"\"b\"\"\"");
    }
}
