//! The workflow run: repository, commit, ref, event.
//!
//! In: the environment and the event's payload. Out: a value that the plan may read.
//! Variables: <https://docs.github.com/actions/reference/workflows-and-actions/variables>.

use serde_json::Value;

use super::files;
use crate::runner::env::Env;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WorkflowRun {
    /// `https://github.com`, or the address of a GitHub Enterprise Server.
    pub server_url: String,
    /// `owner/name`.
    pub repository: String,
    /// Commit that triggered the run.
    pub sha: Option<String>,
    /// Full ref, `refs/heads/main`.
    pub git_ref: Option<String>,
    pub run_id: Option<String>,
    pub run_attempt: Option<String>,
    /// `push`, `pull_request`, …
    pub event_name: String,
    /// The user or app that started it.
    pub actor: Option<String>,
    /// Whether the runner offers GitHub's cache service.
    pub cache_service: bool,
    /// The event's payload; null if there is none.
    pub payload: Value,
    /// docker/metadata-action's settings, from its variables.
    pub short_sha_length: Option<String>,
    pub pull_request_head: Option<String>,
    pub annotation_levels: Option<String>,
}

impl WorkflowRun {
    /// `None` outside of a workflow.
    pub(crate) fn from_env(env: &Env) -> Option<Self> {
        let owned = |name| env.get(name).map(str::to_owned);
        let cache = env
            .get("ACTIONS_RESULTS_URL")
            .or(env.get("ACTIONS_CACHE_URL"));
        let payload = env.path("GITHUB_EVENT_PATH");
        Some(Self {
            server_url: owned("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".into()),
            repository: owned("GITHUB_REPOSITORY")?,
            sha: owned("GITHUB_SHA"),
            git_ref: owned("GITHUB_REF"),
            run_id: owned("GITHUB_RUN_ID"),
            run_attempt: owned("GITHUB_RUN_ATTEMPT"),
            event_name: owned("GITHUB_EVENT_NAME").unwrap_or_default(),
            actor: owned("GITHUB_ACTOR"),
            cache_service: cache.and(env.get("ACTIONS_RUNTIME_TOKEN")).is_some(),
            payload: payload.map_or(Value::Null, files::event_payload),
            short_sha_length: owned("DOCKER_METADATA_SHORT_SHA_LENGTH"),
            pull_request_head: owned("DOCKER_METADATA_PR_HEAD_SHA"),
            annotation_levels: owned("DOCKER_METADATA_ANNOTATIONS_LEVELS"),
        })
    }

    /// Git context of the commit that triggered the run, docker/build-push-action's default:
    /// `https://github.com/owner/name.git#<sha or ref>`.
    pub(crate) fn git_context(&self) -> String {
        let url = format!("{}/{}.git", self.server_url, self.repository);
        match self.sha.as_ref().or(self.git_ref.as_ref()) {
            Some(commit) => format!("{url}#{commit}"),
            None => url,
        }
    }

    /// Host of the server, for the name of a Git credential.
    pub(crate) fn server_host(&self) -> &str {
        let url = self.server_url.as_str();
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        host.split('/').next().unwrap_or(host)
    }

    /// Whether the server is a GitHub Enterprise Server, by the rule of actions/toolkit
    /// (<https://github.com/actions/toolkit/blob/main/packages/cache/src/internal/config.ts>, `isGhes`).
    pub(crate) fn is_enterprise_server(&self) -> bool {
        let host = self.server_host().to_ascii_lowercase();
        host != "github.com" && !host.ends_with(".ghe.com") && !host.ends_with(".localhost")
    }

    /// Address of this run and attempt: the `builder-id` of a provenance.
    pub(crate) fn run_url(&self) -> Option<String> {
        let run = self.run_id.as_ref()?;
        let url = format!("{}/{}/actions/runs/{run}", self.server_url, self.repository);
        Some(match &self.run_attempt {
            Some(attempt) => format!("{url}/attempts/{attempt}"),
            None => url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_git_context_is_the_commit_that_triggered_the_run() {
        let run = WorkflowRun::from_env(&Env::from([
            ("GITHUB_REPOSITORY", "octo/app"),
            ("GITHUB_SHA", "0123abc"),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_SERVER_URL", "https://ghe.example.com"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_RUN_ATTEMPT", "2"),
        ]))
        .unwrap();
        assert_eq!(
            run.git_context(),
            "https://ghe.example.com/octo/app.git#0123abc"
        );
        assert_eq!(run.server_host(), "ghe.example.com");
        assert_eq!(
            run.run_url().unwrap(),
            "https://ghe.example.com/octo/app/actions/runs/7/attempts/2"
        );
    }

    #[test]
    fn outside_of_a_workflow_there_is_no_run() {
        assert_eq!(WorkflowRun::from_env(&Env::from([("HOME", "/x")])), None);
    }
}
