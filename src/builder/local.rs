//! Builders on this machine: the docker-container driver's boot, and platforms.

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{BuilderError, Tool, again};
use crate::build::rawjson::{self, Line};
use crate::plan::{BuilderPlan, driver_opt};
use crate::process::{Command, Event, ProcessError};
use crate::timings::Recorder;

/// Creates the builder and waits until its BuildKit answers.
pub(super) async fn boot(
    plan: &BuilderPlan,
    tool: &Tool,
    recorder: &mut Recorder,
    cancel: &CancellationToken,
) -> Result<(), BuilderError> {
    tracing::info!("starting the builder `{}`", plan.name);
    let options: Vec<String> = plan.options.iter().map(driver_opt).collect();
    let mut args = vec![
        "create",
        "--name",
        &plan.name,
        "--driver",
        plan.driver.name(),
    ];
    for option in &options {
        args.extend(["--driver-opt", option]);
    }
    if let Some(flags) = &plan.buildkitd_flags {
        args.extend(["--buildkitd-flags", flags]);
    }
    let config = plan
        .buildkitd_config
        .as_ref()
        .map(|path| path.to_string_lossy());
    if let Some(config) = &config {
        // `--buildkitd-config` in newer ones, which take this name too.
        args.extend(["--config", config]);
    }
    // With secret options buildx boots it only when they have been added.
    let mut commands = vec![args];
    if tool.secret_options.is_empty() {
        commands[0].push("--bootstrap");
    } else {
        commands.push(vec!["inspect", "--bootstrap", &plan.name]);
    }
    let commands = commands.iter().map(|args| {
        let mut command = tool.command(args);
        command
            .env
            .insert("BUILDKIT_PROGRESS".to_owned(), "rawjson".into());
        command
    });
    let commands: Vec<Command> = commands.collect();
    let mut retries = Vec::new();
    let created = again::create(&plan.name, tool, &mut retries, cancel, async || {
        // buildx refuses to make one that it knows; its container, if there is one, it takes over.
        tool.forget(&plan.name);
        for (index, command) in commands.iter().enumerate() {
            if index > 0 {
                add_secret_options(&plan.name, tool)?;
            }
            run(command, recorder, cancel).await?;
        }
        Ok(())
    });
    let created = created.await;
    for retry in retries {
        recorder.retried(retry);
    }
    created
}

/// Adds options to buildx's note of a builder, where its command line would show them to everybody: `Node` in
/// <https://github.com/docker/buildx/blob/461836ba0/store/nodegroup.go>.
fn add_secret_options(name: &str, tool: &Tool) -> Result<(), ProcessError> {
    let failed = |source| ProcessError::Read {
        program: tool.program.to_string_lossy().into_owned(),
        source,
    };
    let path = tool.note(name);
    let text = std::fs::read(&path).map_err(failed)?;
    let mut note: Value = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    let nodes = note.get_mut("Nodes").and_then(Value::as_array_mut);
    for node in nodes.into_iter().flatten().filter_map(Value::as_object_mut) {
        let options = node.entry("DriverOpts").or_insert(Value::Null);
        if options.is_null() {
            *options = json!({});
        }
        for (name, value) in &tool.secret_options {
            options[name] = value.expose_secret().into();
        }
    }
    std::fs::write(&path, note.to_string()).map_err(failed)
}

async fn run(
    command: &Command,
    recorder: &mut Recorder,
    cancel: &CancellationToken,
) -> Result<(), ProcessError> {
    let mut stderr = String::new();
    let booted = command.stream(cancel, |event| {
        let Event::Stderr(line) = event else {
            return;
        };
        match rawjson::parse(line) {
            Line::Status(status) => recorder.record(&status, Timestamp::now()),
            Line::Text(line) => {
                stderr.push_str(&line);
                stderr.push('\n');
            }
        }
    });
    let status = booted.await?;
    if status.success() {
        return Ok(());
    }
    Err(ProcessError::Failed {
        command: command.to_string(),
        status,
        stderr,
    })
}

/// Compares the platforms asked for with what the builder offers. Its own platform needs no
/// question, which is the usual case and saves a call.
pub(super) async fn check_platforms(
    plan: &BuilderPlan,
    wanted: &[String],
    tool: &Tool,
    cancel: &CancellationToken,
) -> Result<(), BuilderError> {
    if wanted.iter().all(|platform| *platform == plan.platform) {
        return Ok(());
    }
    let printed = tool
        .command(&["inspect", &plan.name])
        .output(cancel)
        .await
        .map_err(|source| BuilderError::Inspect {
            name: plan.name.clone(),
            source,
        })?;
    let offered = platforms(&printed);
    let missing: Vec<String> = wanted
        .iter()
        .filter(|platform| !offered.is_empty() && !offered.iter().any(|other| other == *platform))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(BuilderError::Platform {
        missing,
        offered: offered.join(", "),
    })
}

/// The `Platforms:` lines of `buildx inspect`; a star marks those that were asked for at creation.
fn platforms(printed: &str) -> Vec<String> {
    printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Platforms:"))
        .flat_map(|list| list.split(','))
        .map(|platform| platform.trim().trim_end_matches('*').to_owned())
        .filter(|platform| !platform.is_empty())
        .collect()
}

/// What to do about a builder that does not boot, from BuildKit's or the Engine's words.
pub(super) fn boot_hint(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let hint = if text.contains("toomanyrequests") || text.contains("429") {
        "Docker Hub limits pulls: name a mirror of `moby/buildkit` with `driver-opts: image=…`"
    } else if text.contains("pull") || text.contains("lookup") || text.contains("not found") {
        "the builder's image could not be pulled: is it reachable? `driver-opts: image=…` names another"
    } else {
        return None;
    };
    Some(hint.to_owned())
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

    #[test]
    fn a_boot_that_failed_for_a_known_reason_has_a_hint() {
        assert!(
            boot_hint("toomanyrequests: You have reached your limit")
                .is_some_and(|hint| hint.contains("mirror"))
        );
        assert!(boot_hint("failed to pull image: no such host").is_some());
        assert_eq!(boot_hint("exit status 1"), None);
    }
}
