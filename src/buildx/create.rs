//! `buildx create` and `buildx inspect`: command lines, and what they print.

use crate::inputs::driver_options::DriverOption;
use crate::plan::{BuilderPlan, Node};
use crate::process::Command;

use super::Tool;

/// Whether buildx starts the builder at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bootstrap {
    Now,
    Later,
}

pub(crate) fn container(plan: &BuilderPlan, bootstrap: Bootstrap, tool: &Tool) -> Command {
    let mut args = Args::create(plan);
    args.driver_options(&plan.options);
    if let Some(flags) = &plan.buildkitd_flags {
        args.pair("--buildkitd-flags", flags);
    }
    // The boot prints its progress as a build does.
    with_progress(args.finish(plan, bootstrap, tool))
}

/// Creates a node of a builder in a cluster, or updates what buildx knows of it.
pub(crate) fn node(plan: &BuilderPlan, node: &Node, bootstrap: Bootstrap, tool: &Tool) -> Command {
    let mut args = Args::create(plan);
    args.pair("--node", &node.name);
    args.pair("--buildkitd-flags", node.buildkitd_flags.join(" "));
    let first = plan.kubernetes.as_ref().and_then(|plan| plan.nodes.first());
    if first.is_some_and(|first| first.name != node.name) {
        args.0.push("--append".to_owned());
    }
    if !node.platforms.is_empty() {
        args.pair("--platform", node.platforms.join(","));
    }
    args.driver_options(&node.options);
    args.finish(plan, bootstrap, tool)
}

/// Starts a builder that was created before.
pub(crate) fn bootstrap(builder: &str, tool: &Tool) -> Command {
    with_progress(tool.command(["inspect", "--bootstrap", builder]))
}

pub(crate) fn inspect(builder: &str, tool: &Tool) -> Command {
    tool.command(["inspect", builder])
}

/// The platforms in what [`inspect`] printed. A star marks those that were asked for when the builder was created.
pub(crate) fn platforms(printed: &str) -> Vec<String> {
    printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Platforms:"))
        .flat_map(|list| list.split(','))
        .map(|platform| platform.trim().trim_end_matches('*').to_owned())
        .filter(|platform| !platform.is_empty())
        .collect()
}

fn with_progress(mut command: Command) -> Command {
    let format = ("BUILDKIT_PROGRESS".to_owned(), "rawjson".into());
    command.env.extend([format]);
    command
}

struct Args(Vec<String>);

impl Args {
    fn create(plan: &BuilderPlan) -> Self {
        let mut args = Self(vec!["create".to_owned()]);
        args.pair("--name", &plan.name);
        args.pair("--driver", plan.driver.name());
        args
    }

    fn pair(&mut self, flag: &str, value: impl Into<String>) {
        self.0.extend([flag.to_owned(), value.into()]);
    }

    fn driver_options(&mut self, options: &[DriverOption]) {
        for option in options {
            self.pair("--driver-opt", option.to_string());
        }
    }

    fn finish(mut self, plan: &BuilderPlan, bootstrap: Bootstrap, tool: &Tool) -> Command {
        if let Some(path) = &plan.buildkitd_config {
            // Newer versions call it `--buildkitd-config` and still take this name.
            self.pair("--config", path.to_string_lossy());
        }
        if bootstrap == Bootstrap::Now {
            self.0.push("--bootstrap".to_owned());
        }
        tool.command(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_platforms_that_inspect_prints() {
        let printed = "Name:   default\nDriver: docker\n\nNodes:\nName:      default\n\
                       Platforms: linux/amd64*, linux/amd64/v2, linux/386\n";
        assert_eq!(
            platforms(printed),
            ["linux/amd64", "linux/amd64/v2", "linux/386"]
        );
        assert!(platforms("Name: x").is_empty());
    }
}
