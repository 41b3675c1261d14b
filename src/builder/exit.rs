//! Why BuildKit's container exited during a build, according to the Engine.
//!
//! buildx restarts the container (`unless-stopped`), which resets its state, so the Engine's events come first: it keeps the last 256
//! (<https://docs.docker.com/reference/api/engine/version/v1.51/#tag/System/operation/SystemEvents>).

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::removal::PREFIX;
use crate::facts::Address;

/// How long the exit is looked for: buildx may lose its connection before the Engine notices.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(250);

/// The exit of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub code: i64,
    /// Whether the kernel killed it for its memory.
    pub out_of_memory: bool,
}

impl Exit {
    pub(super) fn hint(self) -> &'static str {
        if self.out_of_memory {
            "use a larger runner, raise a limit of `driver-opts: memory=…`, or let the build use less memory: with fewer steps at a time \
             (`max-parallelism` in `buildkitd-config-inline`), or fewer jobs in a step"
        } else {
            "a restart of the Docker Engine or a `docker kill` ends it, too: run this job again"
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.out_of_memory {
            "ran out of memory"
        } else {
            "exited"
        };
        write!(formatter, "BuildKit {what} (exit code {})", self.code)
    }
}

/// The last exit of a builder's container since `since`; none if it runs on, or the Engine does not say.
pub(super) async fn of(builder: &str, engine: &Address, since: Timestamp) -> Option<Exit> {
    // The only node of a builder has the number 0.
    let container = format!("{PREFIX}{builder}0");
    let docker = match engine.client().await {
        Ok(docker) => docker.with_timeout(PATIENCE),
        Err(error) => {
            tracing::debug!("{error}");
            return None;
        }
    };
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let found = timeout(PATIENCE, exit(&docker, &container, since)).await;
        if let Some(exit) = found.ok().flatten() {
            return Some(exit);
        }
        sleep(POLL).await;
    }
    None
}

/// `1700000000.123456789`.
fn unix(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

async fn exit(docker: &Docker, container: &str, since: Timestamp) -> Option<Exit> {
    let filters = HashMap::from([
        ("container", vec![container.to_owned()]),
        ("event", vec!["die".to_owned(), "oom".to_owned()]),
    ]);
    let options = EventsOptionsBuilder::new()
        .since(&unix(since))
        .until(&unix(Timestamp::now()))
        .filters(&filters)
        .build();
    // Up to now, so the stream ends.
    let mut events = Box::pin(docker.events(Some(options)));
    let mut out_of_memory = false;
    let mut code = None;
    while let Some(Ok(event)) = events.next().await {
        match event.action.as_deref() {
            Some("oom") => out_of_memory = true,
            Some("die") => {
                let attributes = event.actor.and_then(|actor| actor.attributes);
                let text = attributes.and_then(|attributes| attributes.get("exitCode").cloned());
                code = text.and_then(|text| text.parse().ok()).or(code);
            }
            _ => {}
        }
    }
    if let Some(code) = code {
        return Some(Exit {
            code,
            out_of_memory,
        });
    }
    // An Engine that was restarted has no events of before.
    let inspected = docker.inspect_container(container, None::<InspectContainerOptions>);
    let state = inspected.await.ok()?.state?;
    if state.running != Some(false) {
        return None;
    }
    Some(Exit {
        code: state.exit_code?,
        out_of_memory: state.oom_killed == Some(true),
    })
}
