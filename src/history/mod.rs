//! Earlier runs and the comment on a pull request, through GitHub's API.
//!
//! In: the environment, the token, and the inputs `compare-with` and `comment`. Out: an [`Earlier`] for the headline, queried while the build
//! runs. Nothing here fails a run: an error is a notice, and a late answer is left out.
//!
//! API: <https://docs.github.com/rest/actions/workflow-runs>, `.../artifacts`, `.../workflow-jobs`,
//! <https://docs.github.com/rest/issues/comments>.

#[cfg(test)]
#[path = "../../tests/any_bytes/history.rs"]
pub(crate) mod any_bytes;
mod artifact;
mod comment;
mod github;
mod leg;
mod runs;
#[cfg(test)]
mod tests;

use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::runner::env::Env;
use crate::runner::log;
use crate::runner::workflow::WorkflowRun;
use crate::timings::Earlier;
use github::GitHub;

pub(crate) use comment::{LONGEST_COMMENT, comment};
pub(crate) use leg::Leg;

/// The default of `compare-with`: the artifact with earlier timings.
pub(crate) const ARTIFACT: &str = "fast-ecr-push-timings";

/// The value of `compare-with` that turns the comparison off.
const NONE: &str = "none";

/// How long the end of a run waits for the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the whole query may take.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
pub(crate) enum HistoryError {
    #[error("could not create a client for `{url}`")]
    Client {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("could not ask GitHub for {what}")]
    Request {
        what: &'static str,
        #[source]
        source: Box<octocrab::Error>,
    },
    #[error("GitHub's rate limit for {what} is exhausted; try again {again}")]
    RateLimit { what: &'static str, again: String },
    #[error("GitHub refuses {what} to this token (status {status}); the job needs `permissions: {permission}`{}", fork(*.status))]
    Refused {
        what: &'static str,
        status: u16,
        permission: &'static str,
    },
    #[error("GitHub answered the request for {what} with status {status}")]
    Status { what: &'static str, status: u16 },
    #[error("GitHub's answer about {what} is longer than {} MiB", github::LONGEST_ANSWER >> 20)]
    TooLong { what: &'static str },
    #[error("could not parse GitHub's answer about {what}")]
    Unreadable {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("GitHub did not answer in time")]
    Late,
}

/// A fork's token can only read (<https://docs.github.com/actions/concepts/security/github_token>).
fn fork(status: u16) -> &'static str {
    match status {
        403 => ", and a pull request from a fork never has more than `read`",
        _ => "",
    }
}

/// The workflow run and its access to GitHub.
#[derive(Debug, Clone)]
pub(crate) struct Workflow {
    api_url: String,
    run: WorkflowRun,
    /// Identifies our job among those of the run.
    runner_name: Option<String>,
    token: SecretString,
}

impl Workflow {
    /// None outside of a workflow, or without a token.
    pub(crate) fn from_env(env: &Env, token: Option<&SecretString>) -> Option<Self> {
        let owned = |name| env.get(name).map(str::to_owned);
        Some(Self {
            // GitHub Enterprise Server's has a path: https://HOST/api/v3.
            api_url: owned("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned()),
            run: WorkflowRun::from_env(env)?,
            runner_name: owned("RUNNER_NAME"),
            token: token?.clone(),
        })
    }

    fn client(&self) -> Result<GitHub, HistoryError> {
        GitHub::new(&self.api_url, &self.token, &self.run.repository)
    }
}

/// The query for earlier runs, in the background.
#[derive(Debug)]
pub(crate) struct History(Option<JoinHandle<Option<Earlier>>>);

impl History {
    /// Starts the query for earlier runs of the same leg. An error is a notice only if `compare_with` was given.
    pub(crate) fn ask(workflow: Option<&Workflow>, compare_with: Option<&str>, leg: &Leg) -> Self {
        let Some(workflow) = workflow.filter(|_| compare_with != Some(NONE)).cloned() else {
            return Self(None);
        };
        let wanted = compare_with.is_some();
        let artifact = compare_with.unwrap_or(ARTIFACT).to_owned();
        let leg = leg.clone();
        Self(Some(tokio::spawn(async move {
            let asked = tokio::time::timeout(LONGEST, runs::earlier(&workflow, &artifact, &leg));
            let answer = asked.await.unwrap_or(Err(HistoryError::Late));
            answer.unwrap_or_else(|error| {
                if wanted {
                    notice("no comparison with earlier runs", &error);
                } else {
                    tracing::debug!("no comparison with earlier runs: {error}");
                }
                None
            })
        })))
    }

    /// The answer, if it arrives within a moment.
    pub(crate) async fn answer(self) -> Option<Earlier> {
        let mut asked = self.0?;
        let answer = tokio::time::timeout(PATIENCE, &mut asked).await;
        if answer.is_err() {
            asked.abort();
            let late = HistoryError::Late;
            tracing::debug!("no comparison with earlier runs: {late}");
        }
        answer.ok()?.ok()?
    }
}

/// Logs what failed, with its cause, on one line.
fn notice(consequence: &str, error: &HistoryError) {
    use std::error::Error as _;
    let cause = error
        .source()
        .map_or(String::new(), |cause| format!(": {cause}"));
    tracing::info!(target: log::NOTICE, "{consequence}: {error}{cause}");
}
