//! What the cluster does, by script: a JSON file that tests may rewrite at any time.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// Delays are milliseconds after the stage before.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    pub scheduled_ms: u64,
    pub pulled_ms: u64,
    pub started_ms: u64,
    /// When buildkitd would answer; the readiness probe finds out later.
    pub ready_ms: u64,
    pub trouble: Option<Trouble>,
    /// What the caller may not do, as `watch pods`.
    pub denied: Vec<String>,
    pub namespaces: Vec<String>,
    /// What happens to the first calls of a kind.
    pub faults: Vec<Fault>,
    /// How far the server's clock is ahead of the machine's.
    pub seconds_ahead: i64,
    /// After how many milliseconds the connection of an exec is cut.
    pub cut_exec_after_ms: Option<u64>,
    /// After how many milliseconds the connection of an exec says and hears nothing more, as when its
    /// node is gone.
    pub silent_exec_after_ms: Option<u64>,
    /// How old an EKS token may be. A real cluster takes it for 15 minutes.
    pub token_seconds: i64,
}

/// What keeps a pod from its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {
    Unschedulable,
    ImagePull,
    /// The image of the init container cannot be pulled.
    InitImagePull,
    /// The node has no free pod IP.
    Sandbox,
    /// The volume cannot be attached.
    Attach,
    /// The volume cannot be created where the pod is to run: the scheduler waits and says nothing.
    Provision,
    CrashLoop,
    Quota,
    /// The pod runs and is never ready.
    NeverReady,
    /// The node goes away once the pod is ready.
    Evicted,
    /// BuildKit exits once the pod is ready, and is restarted.
    Exited,
    /// BuildKit of the first pod is killed for its memory once it is ready; other pods go on.
    OomKilled,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// As `get deployments`.
    pub call: String,
    /// How many calls get it.
    pub times: usize,
    /// The answer to a call that is not done.
    #[serde(default)]
    pub code: Option<u16>,
    /// Whether code 403 is the answer of an authorizer, as after the restart of an API server that has not read its roles yet.
    #[serde(default)]
    pub forbidden: bool,
    /// How many milliseconds the answer takes; the call is done at once.
    #[serde(default)]
    pub late_ms: u64,
    /// For how many milliseconds the API server stops before it answers.
    #[serde(default)]
    pub restart_ms: Option<u64>,
}

impl Fault {
    /// The answer that is no answer: the connection is cut.
    pub(crate) const CUT: u16 = 0;
}

impl Default for Script {
    fn default() -> Self {
        Self {
            scheduled_ms: 50,
            pulled_ms: 100,
            started_ms: 100,
            ready_ms: 200,
            trouble: None,
            denied: Vec::new(),
            namespaces: vec!["default".to_owned(), "buildx".to_owned()],
            faults: Vec::new(),
            seconds_ahead: 0,
            cut_exec_after_ms: None,
            silent_exec_after_ms: None,
            token_seconds: 15 * 60,
        }
    }
}

impl Script {
    /// Reads the file; where there is none, everything goes well.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("reading the script `{}`", path.display())),
            Err(_) => Ok(Self::default()),
        }
    }
}
