//! Earlier runs: how long they took, asked of GitHub while the build runs; and the comment on a pull request.
//!
//! In: the environment, the token, and the inputs `compare-with` and `comment`. Out: a [`Earlier`] for the headline. Nothing here can fail a
//! run: what GitHub refuses is a notice, and what comes too late is left out.
//!
//! API: <https://docs.github.com/rest/actions/workflow-runs>, `.../artifacts`, `.../workflow-jobs`,
//! <https://docs.github.com/rest/issues/comments>.

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

/// Name of the artifact that earlier timings are looked for in, unless `compare-with` says another.
pub(crate) const ARTIFACT: &str = "fast-ecr-push-timings";

/// Value of `compare-with` that asks for nothing.
const NONE: &str = "none";

/// How long the end of a run waits for an answer that is not there yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long GitHub is asked at all.
const LONGEST: Duration = Duration::from_secs(60);

/// GitHub could not be asked, or did not answer as hoped.
#[derive(Debug, Error)]
pub(crate) enum HistoryError {
    #[error("could not make a client for `{url}`")]
    Client {
        url: String,
        #[source]
        source: Box<octocrab::Error>,
    },
    #[error("could not ask GitHub for {what}")]
    Request {
        what: &'static str,
        #[source]
        source: Box<octocrab::Error>,
    },
    #[error(
        "GitHub's rate limit is reached, so {what} were not asked for; it answers again {again}"
    )]
    RateLimit {
        what: &'static str,
        /// When, in words.
        again: String,
    },
    #[error("GitHub refuses {what} to this token (status {status}); the job needs `permissions: {permission}`{}", fork(*.status))]
    Refused {
        what: &'static str,
        status: u16,
        permission: &'static str,
    },
    #[error("GitHub answered with status {status} when asked for {what}")]
    Status { what: &'static str, status: u16 },
    #[error("could not read GitHub's answer about {what}")]
    Odd {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("GitHub did not answer in time")]
    Late,
}

/// A fork's token reads at most (<https://docs.github.com/actions/concepts/security/github_token>).
fn fork(status: u16) -> &'static str {
    if status == 403 {
        ", and a pull request from a fork never has more than `read`"
    } else {
        ""
    }
}

/// Who and where we are, as the runner tells.
#[derive(Debug, Clone)]
pub(crate) struct Workflow {
    api_url: String,
    run: WorkflowRun,
    /// Tells our own job among those of the run.
    runner_name: Option<String>,
    token: SecretString,
}

impl Workflow {
    /// Reads it; none outside of a workflow, or without a token.
    pub(crate) fn from_env(env: &Env, token: Option<&SecretString>) -> Option<Self> {
        let owned = |name| env.get(name).map(str::to_owned);
        Some(Self {
            // On GitHub Enterprise Server it has a path: https://HOST/api/v3.
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

/// The question, asked while the build runs.
#[derive(Debug)]
pub(crate) struct History(Option<JoinHandle<Option<Earlier>>>);

impl History {
    /// Asks for earlier runs of the same leg. Unless `compare_with` was given, a refusal is not worth a notice.
    pub(crate) fn ask(workflow: Option<&Workflow>, compare_with: Option<&str>, leg: &Leg) -> Self {
        let Some(workflow) = workflow.filter(|_| compare_with != Some(NONE)).cloned() else {
            return Self(None);
        };
        let wanted = compare_with.is_some();
        let artifact = compare_with.unwrap_or(ARTIFACT).to_owned();
        let leg = leg.clone();
        Self(Some(tokio::spawn(async move {
            let asked = tokio::time::timeout(LONGEST, runs::before(&workflow, &artifact, &leg));
            let answer = asked.await.unwrap_or(Err(HistoryError::Late));
            answer.unwrap_or_else(|error| {
                if wanted {
                    notice("earlier runs were not compared", &error);
                } else {
                    tracing::debug!("earlier runs were not compared: {error}");
                }
                None
            })
        })))
    }

    /// The answer, if it has come or comes soon.
    pub(crate) async fn answer(self) -> Option<Earlier> {
        let mut asked = self.0?;
        match tokio::time::timeout(PATIENCE, &mut asked).await {
            Ok(answer) => answer.ok().flatten(),
            Err(_) => {
                asked.abort();
                tracing::debug!("earlier runs were not compared: {}", HistoryError::Late);
                None
            }
        }
    }
}

/// Says what did not work, with its cause, in one line.
fn notice(consequence: &str, error: &HistoryError) {
    use std::error::Error as _;
    let cause = error
        .source()
        .map_or(String::new(), |cause| format!(": {cause}"));
    tracing::info!(target: log::NOTICE, "{consequence}: {error}{cause}");
}
