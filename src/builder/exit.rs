//! Why BuildKit's container exited during a build.
//!
//! The Engine restarts the container (`unless-stopped`), which resets its state, so its last 256 events come first
//! (<https://docs.docker.com/reference/api/engine/version/v1.51/#tag/System/operation/SystemEvents>).

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use super::lease;
use crate::facts::Address;

/// How long to poll: buildx may lose its connection before the Engine notices the exit.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub code: i64,
    pub out_of_memory: bool,
}

impl Exit {
    pub(super) fn hint(self) -> &'static str {
        if self.out_of_memory {
            "use a larger runner, raise `driver-opts: memory=…`, or run fewer steps in parallel (`max-parallelism` in \
             `buildkitd-config-inline`)"
        } else {
            "the Docker Engine may have been restarted, or the container killed: run this job again"
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

/// The last exit of a builder's container since `since`, if the Engine knows one.
pub(super) async fn of(builder: &str, engine: &Address, since: Timestamp) -> Option<Exit> {
    let container = lease::container(builder);
    let client = engine.client().await;
    let client = client.inspect_err(|error| tracing::debug!("{error}"));
    let docker = client.ok()?.with_timeout(PATIENCE);
    let poll = async {
        loop {
            if let Some(exit) = exit(&docker, &container, since).await {
                return exit;
            }
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, poll).await.ok()
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
    let mut events = Box::pin(docker.events(Some(options)));
    let mut out_of_memory = false;
    let mut code = None;
    while let Some(Ok(event)) = events.next().await {
        out_of_memory |= event.action.as_deref() == Some("oom");
        let attributes = event.actor.and_then(|actor| actor.attributes);
        let text = attributes.and_then(|mut attributes| attributes.remove("exitCode"));
        code = text.and_then(|text| text.parse().ok()).or(code);
    }
    if let Some(code) = code {
        return Some(Exit {
            code,
            out_of_memory,
        });
    }
    // A restart of the Engine deletes its events.
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
