//! Boots a docker-container builder, and checks the platforms of any builder.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::create::create;
use super::{BuilderError, Start};
use crate::buildx::create::{self, Bootstrap, bootstrap, container, inspect};
use crate::buildx::rawjson::{self, Line};
use crate::buildx::{add_options, remove_instance};
use crate::process::{Command, Event, ProcessError};
use crate::timings::Recorder;

/// Creates the builder and waits until its BuildKit answers.
pub(super) async fn boot(start: &Start<'_>, recorder: &mut Recorder) -> Result<(), BuilderError> {
    let Start {
        plan, tool, stop, ..
    } = start;
    tracing::info!("starting the builder `{}`", plan.name);
    let mut retries = Vec::new();
    let create = create(&plan.name, start.retries, &mut retries, stop, async || {
        // buildx refuses to create a builder that it knows, and adopts an existing container.
        remove_instance(tool, &plan.name);
        if plan.secret_options.is_empty() {
            return run(&container(plan, Bootstrap::Now, tool), recorder, stop).await;
        }
        run(&container(plan, Bootstrap::Later, tool), recorder, stop).await?;
        add_options(tool, &plan.name, &plan.secret_options).map_err(|source| {
            ProcessError::Read {
                program: tool.program.to_string_lossy().into_owned(),
                source,
            }
        })?;
        run(&bootstrap(&plan.name, tool), recorder, stop).await
    });
    let created = create.await;
    for retry in retries {
        recorder.retried(retry);
    }
    created
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

/// Checks that the builder supports the requested platforms. Its own, the usual case, needs no call.
pub(super) async fn check_platforms(start: &Start<'_>) -> Result<(), BuilderError> {
    let Start {
        plan,
        tool,
        platforms,
        ..
    } = start;
    if platforms.iter().all(|platform| *platform == plan.platform) {
        return Ok(());
    }
    let printed = inspect(&plan.name, tool)
        .output(start.stop)
        .await
        .map_err(|source| BuilderError::Inspect {
            name: plan.name.clone(),
            source,
        })?;
    let offered = create::platforms(&printed);
    let missing: Vec<String> = platforms
        .iter()
        .filter(|platform| !offered.is_empty() && !offered.contains(platform))
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

/// What to do about a failed boot, by the error text of BuildKit or the Engine.
pub(super) fn boot_hint(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let hint = if text.contains("toomanyrequests") || text.contains("429") {
        "Docker Hub limits pulls: set a mirror of `moby/buildkit` with `driver-opts: image=…`"
    } else if text.contains("pull") || text.contains("lookup") || text.contains("not found") {
        "the builder's image could not be pulled: is it reachable? `driver-opts: image=…` sets another"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
