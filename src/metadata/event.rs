//! The facts of a workflow run that rules and labels need, from `GITHUB_*` variables and the event's payload.
//!
//! Payloads: <https://docs.github.com/en/webhooks/webhook-events-and-payloads>; variables:
//! <https://docs.github.com/en/actions/reference/variables-reference>. No IO: some payloads lack the commit's time
//! (pull requests) or the repository (schedules), and the caller may add them.

use jiff::Timestamp;
use serde_json::Value;

use super::expression::Name;

/// The runner's variables, empty if not set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GithubValues<'a> {
    /// `GITHUB_EVENT_NAME`
    pub event_name: &'a str,
    /// `GITHUB_REF`
    pub reference: &'a str,
    /// `GITHUB_SHA`
    pub sha: &'a str,
    /// `GITHUB_REPOSITORY`, `owner/name`
    pub repository: &'a str,
    /// `GITHUB_SERVER_URL`
    pub server_url: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Length of a short commit hash (`DOCKER_METADATA_SHORT_SHA_LENGTH`).
    pub short_sha_length: usize,
    /// Whether a pull request's commit is its head, not the merge commit (`DOCKER_METADATA_PR_HEAD_SHA`).
    pub pull_request_head: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            short_sha_length: 7,
            pull_request_head: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`DOCKER_METADATA_SHORT_SHA_LENGTH` is `{0}`, expected a whole number above 0")]
pub(crate) struct SettingsError(String);

impl Settings {
    /// Parses the two `DOCKER_METADATA_*` variables.
    pub(crate) fn parse(
        short_sha_length: Option<&str>,
        pull_request_head: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let length = short_sha_length.map_or("", str::trim);
        if !length.is_empty() {
            let length = length.parse().ok().filter(|length| *length > 0);
            let error = || SettingsError(short_sha_length.unwrap_or_default().to_owned());
            settings.short_sha_length = length.ok_or_else(error)?;
        }
        settings.pull_request_head =
            pull_request_head.is_some_and(|text| text.to_ascii_lowercase().contains("true"));
        Ok(settings)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkflowRun {
    /// The event's name, `push`.
    pub event: String,
    /// The Git reference, `refs/heads/main`; for pull_request_target that of the pull request.
    pub reference: String,
    /// The commit's hash, or empty.
    pub sha: String,
    /// The base branch of a pull request or a Git tag, or empty.
    pub base_ref: String,
    /// The commit's time, if the payload has it.
    pub commit_date: Option<Timestamp>,
    pub repository: Repository,
    pub short_sha_length: usize,
}

/// The repository's data for labels, empty if unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Repository {
    pub name: String,
    pub description: String,
    pub url: String,
    /// SPDX identifier of the licence.
    pub license: String,
    pub default_branch: String,
}

impl WorkflowRun {
    /// Collects the facts from the runner's variables and the event's payload.
    pub(crate) fn new(github: GithubValues<'_>, payload: &Value, settings: Settings) -> Self {
        let text = |pointer: &str| {
            let value = payload.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let mut reference = github.reference.to_owned();
        if github.event_name.contains("pull_request_target")
            && let Some(number) = payload.get("number").and_then(Value::as_u64)
        {
            // GITHUB_REF is the base branch:
            // https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#pull_request_target
            reference = format!("refs/pull/{number}/merge");
        }
        let mut sha = github.sha.to_owned();
        let head = text("/pull_request/head/sha");
        if settings.pull_request_head
            && github.event_name.contains("pull_request")
            && !head.is_empty()
        {
            sha = head;
        }
        let base_ref = if reference.starts_with("refs/tags/") {
            let base = text("/base_ref");
            base.strip_prefix("refs/heads/").unwrap_or(&base).to_owned()
        } else if reference.starts_with("refs/pull/") {
            text("/pull_request/base/ref")
        } else {
            String::new()
        };
        let repository = if payload.get("repository").is_some_and(Value::is_object) {
            Repository {
                name: text("/repository/name"),
                description: text("/repository/description"),
                url: text("/repository/html_url"),
                license: text("/repository/license/spdx_id"),
                default_branch: text("/repository/default_branch"),
            }
        } else {
            Repository::from_values(github)
        };
        Self {
            event: github.event_name.to_owned(),
            commit_date: commit_date(payload, &sha),
            reference,
            sha,
            base_ref,
            repository,
            short_sha_length: settings.short_sha_length,
        }
    }

    /// The branch that was pushed, if one was.
    pub(crate) fn branch(&self) -> Option<&str> {
        self.reference.strip_prefix("refs/heads/")
    }

    /// The Git tag that was pushed, if one was.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.reference.strip_prefix("refs/tags/")
    }

    pub(crate) fn pull_request(&self) -> Option<&str> {
        let rest = self.reference.strip_prefix("refs/pull/")?;
        Some(rest.strip_suffix("/merge").unwrap_or(rest))
    }

    pub(crate) fn short_sha(&self) -> String {
        self.sha.chars().take(self.short_sha_length).collect()
    }

    /// Whether the run is for the default branch. Some events always are.
    pub(crate) fn is_default_branch(&self) -> bool {
        let branch = self.branch().unwrap_or(&self.reference);
        !branch.is_empty()
            && (branch == self.repository.default_branch
                || ["create", "discussion", "issues", "schedule"]
                    .iter()
                    .any(|event| self.event.contains(event)))
    }

    /// The value that an expression names; empty for other names.
    pub(crate) fn value(&self, name: Name) -> String {
        match name {
            Name::Branch => self.branch().unwrap_or_default().to_owned(),
            Name::Tag => self.tag().unwrap_or_default().to_owned(),
            Name::Sha => self.short_sha(),
            Name::BaseRef => self.base_ref.clone(),
            Name::IsDefaultBranch => self.is_default_branch().to_string(),
            Name::IsNotDefaultBranch => (!self.is_default_branch()).to_string(),
            _ => String::new(),
        }
    }
}

impl Repository {
    /// The data that the variables have: a schedule's payload may lack the repository.
    fn from_values(github: GithubValues<'_>) -> Self {
        let Some((_, name)) = github.repository.split_once('/') else {
            return Self::default();
        };
        Self {
            name: name.to_owned(),
            url: if github.server_url.is_empty() {
                String::new()
            } else {
                format!("{}/{}", github.server_url, github.repository)
            },
            ..Self::default()
        }
    }
}

/// The time of the run's commit, from the commits in the payload.
fn commit_date(payload: &Value, sha: &str) -> Option<Timestamp> {
    let pushed = payload.get("commits").and_then(Value::as_array);
    let heads = [
        "/head_commit",
        "/merge_group/head_commit",
        "/workflow_run/head_commit",
    ];
    let heads = heads.iter().filter_map(|pointer| payload.pointer(pointer));
    pushed
        .into_iter()
        .flatten()
        .chain(heads)
        .filter(|commit| commit.get("id").and_then(Value::as_str) == Some(sha))
        .find_map(|commit| commit.get("timestamp")?.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(event_name: &str, reference: &str, payload: &Value, settings: Settings) -> WorkflowRun {
        let github = GithubValues {
            event_name,
            reference,
            sha: "860c1904a1ce19322e91ac35af1ab07466440c37",
            repository: "octocat/Hello-World",
            server_url: "https://github.example",
        };
        WorkflowRun::new(github, payload, settings)
    }

    #[test]
    fn recognises_a_pull_request() {
        let payload = json!({"number": 15, "pull_request": {"base": {"ref": "release/2"}, "head": {"sha": "abc"}}});
        for event in ["pull_request", "pull_request_target"] {
            let reference = if event == "pull_request" {
                "refs/pull/15/merge"
            } else {
                "refs/heads/main"
            };
            let seen = run(event, reference, &payload, Settings::default());
            assert_eq!(seen.reference, "refs/pull/15/merge");
            assert_eq!(
                (seen.pull_request(), seen.branch(), seen.tag()),
                (Some("15"), None, None)
            );
            assert_eq!(
                (seen.base_ref.as_str(), seen.short_sha().as_str()),
                ("release/2", "860c190")
            );
            let settings = Settings::parse(Some("2"), Some("True")).unwrap();
            assert_eq!(run(event, reference, &payload, settings).short_sha(), "ab");
        }
    }

    #[test]
    fn finds_the_time_of_the_runs_commit() {
        let own = "860c1904a1ce19322e91ac35af1ab07466440c37";
        let expected = "2020-01-09T14:30:15Z".parse().ok();
        for (payload, found) in [
            (
                json!({"head_commit": {"id": own, "timestamp": "2020-01-09T23:30:15+09:00"}}),
                expected,
            ),
            (
                json!({"commits": [{"id": "x", "timestamp": "2019-01-01T00:00:00Z"}, {"id": own, "timestamp": "2020-01-09T14:30:15Z"}]}),
                expected,
            ),
            (
                json!({"merge_group": {"head_commit": {"id": own, "timestamp": "2020-01-09T14:30:15Z"}}}),
                expected,
            ),
            (
                json!({"head_commit": {"id": "x", "timestamp": "2020-01-09T14:30:15Z"}}),
                None,
            ),
            (
                json!({"head_commit": {"id": own, "timestamp": "yesterday"}}),
                None,
            ),
            (json!([]), None),
        ] {
            let seen = run("push", "refs/heads/main", &payload, Settings::default());
            assert_eq!(seen.commit_date, found, "{payload}");
        }
    }

    #[test]
    fn knows_a_repository_without_its_payload() {
        let seen = run(
            "schedule",
            "refs/heads/main",
            &json!({"schedule": "0 0 * * *"}),
            Settings::default(),
        );
        assert_eq!(seen.repository.name, "Hello-World");
        assert_eq!(
            seen.repository.url,
            "https://github.example/octocat/Hello-World"
        );
        assert!(seen.is_default_branch());
    }

    #[test]
    fn refuses_an_invalid_length() {
        for length in ["0", "-1", "seven", "1.5"] {
            let error = Settings::parse(Some(length), None).unwrap_err().to_string();
            assert!(error.contains(length), "{error}");
        }
        assert_eq!(Settings::parse(Some(""), None), Ok(Settings::default()));
    }
}
