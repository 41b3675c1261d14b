//! The branch that a workflow run builds, and whether other runs may use its cache.
//!
//! In: a [`WorkflowRun`]. Out: an [`Origin`], for the names of caches. The default branch's next build would read a cache written by untrusted
//! code, so everything that is not known to be the repository's own code is untrusted. Payloads:
//! <https://docs.github.com/webhooks/webhook-events-and-payloads>; which events run which code:
//! <https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows>.

use serde_json::Value;

use super::workflow::WorkflowRun;

/// The origin of the code that a run builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub line: Line,
    /// The branch to merge into.
    pub base: Option<String>,
    pub default_branch: Option<String>,
    /// Why other runs must not use its cache.
    pub untrusted: Option<String>,
}

/// A line of development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A branch of the repository.
    Branch(String),
    /// Any tag: each is built once.
    Tags,
    /// A merge queue, whose branches exist for one run.
    Queue,
    /// Anything else.
    Unknown,
}

/// Default branches if the event has none.
const USUAL_DEFAULTS: [&str; 2] = ["main", "master"];

/// Branches of merge queues: `gh-readonly-queue/main/pr-7-<commit>`.
const QUEUE: &str = "gh-readonly-queue/";

impl Origin {
    pub(crate) fn of(run: &WorkflowRun) -> Self {
        let branch = run
            .git_ref
            .as_deref()
            .and_then(|name| name.strip_prefix("refs/heads/"));
        let mut origin = Self {
            line: line(run.git_ref.as_deref().unwrap_or_default()),
            base: None,
            default_branch: text(&run.payload, "/repository/default_branch"),
            untrusted: None,
        };
        match run.event_name.as_str() {
            // `pull_request_target` has the base's ref and permissions, but builds what it checks out.
            event if event.starts_with("pull_request") => origin.of_pull_request(run),
            "merge_group" => {
                let base = text(&run.payload, "/merge_group/base_ref");
                origin.base = base.map(|name| short(&name).to_owned());
            }
            "workflow_run" => origin.of_other_run(run),
            "issue_comment" if run.payload.pointer("/issue/pull_request").is_some() => {
                origin.line = Line::Unknown;
                origin.untrusted = Some(
                    "a comment on a pull request started this run, whose code may be untrusted"
                        .to_owned(),
                );
            }
            // Runs only on the default branch, which not every event names.
            "schedule" if origin.default_branch.is_none() => {
                origin.default_branch = branch.map(str::to_owned);
            }
            _ => {}
        }
        if run.actor.as_deref() == Some("dependabot[bot]") && origin.untrusted.is_none() {
            origin.untrusted =
                Some("Dependabot started this run, which has read-only permissions".to_owned());
        }
        if origin.default_branch.is_none() {
            origin.default_branch = branch
                .filter(|name| USUAL_DEFAULTS.contains(name))
                .map(str::to_owned);
        }
        origin
    }

    fn of_pull_request(&mut self, run: &WorkflowRun) {
        self.base = text(&run.payload, "/pull_request/base/ref");
        let fork = text(&run.payload, "/pull_request/head/repo/full_name");
        if fork.as_deref() == Some(run.repository.as_str()) {
            let head = text(&run.payload, "/pull_request/head/ref");
            self.line = head.map_or(Line::Unknown, Line::Branch);
        } else {
            self.line = Line::Unknown;
            self.untrusted = Some(from_fork(fork.as_deref(), "this pull request"));
        }
    }

    fn of_other_run(&mut self, run: &WorkflowRun) {
        let fork = text(&run.payload, "/workflow_run/head_repository/full_name");
        if fork.as_deref() == Some(run.repository.as_str()) {
            if let Some(head) = text(&run.payload, "/workflow_run/head_branch") {
                self.line = Line::Branch(head);
            }
        } else {
            self.line = Line::Unknown;
            self.untrusted = Some(from_fork(fork.as_deref(), "the run that started this one"));
        }
    }
}

fn from_fork(fork: Option<&str>, what: &str) -> String {
    let fork = fork.map_or("a fork".to_owned(), |name| format!("the fork `{name}`"));
    format!("{what} comes from {fork}")
}

fn line(git_ref: &str) -> Line {
    if git_ref.starts_with("refs/tags/") {
        return Line::Tags;
    }
    match git_ref.strip_prefix("refs/heads/") {
        Some(name) if name.starts_with(QUEUE) => Line::Queue,
        Some(name) if !name.is_empty() => Line::Branch(name.to_owned()),
        _ => Line::Unknown,
    }
}

fn short(git_ref: &str) -> &str {
    git_ref.strip_prefix("refs/heads/").unwrap_or(git_ref)
}

fn text(payload: &Value, pointer: &str) -> Option<String> {
    let text = payload.pointer(pointer)?.as_str()?;
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn origin(event: &str, git_ref: &str, payload: Value) -> Origin {
        Origin::of(&WorkflowRun {
            repository: "octo/app".to_owned(),
            event_name: event.to_owned(),
            git_ref: Some(git_ref.to_owned()),
            payload,
            ..WorkflowRun::default()
        })
    }

    fn branch(name: &str) -> Line {
        Line::Branch(name.to_owned())
    }

    fn head(repository: &str) -> Value {
        json!({
            "repository": {"default_branch": "trunk"},
            "pull_request": {
                "head": {"ref": "fix", "repo": {"full_name": repository}},
                "base": {"ref": "release/1"},
            },
            "workflow_run": {"head_branch": "fix", "head_repository": {"full_name": repository}},
            "issue": {"pull_request": {}},
            "merge_group": {"base_ref": "refs/heads/trunk"},
        })
    }

    #[test]
    fn the_event_tells_the_line_and_its_base() {
        const MERGE: &str = "refs/pull/7/merge";
        const TRUNK: &str = "refs/heads/trunk";
        let cases = [
            ("push", "refs/heads/feature/x", branch("feature/x"), None),
            ("push", TRUNK, branch("trunk"), None),
            ("push", "refs/tags/v1", Line::Tags, None),
            ("release", "refs/tags/v1", Line::Tags, None),
            ("workflow_dispatch", TRUNK, branch("trunk"), None),
            ("pull_request", MERGE, branch("fix"), Some("release/1")),
            (
                "pull_request_target",
                TRUNK,
                branch("fix"),
                Some("release/1"),
            ),
            ("workflow_run", TRUNK, branch("fix"), None),
            (
                "merge_group",
                "refs/heads/gh-readonly-queue/trunk/pr-7-ab",
                Line::Queue,
                Some("trunk"),
            ),
            ("push", "", Line::Unknown, None),
        ];
        for (event, git_ref, expected, base) in cases {
            let found = origin(event, git_ref, head("octo/app"));
            assert_eq!(found.line, expected, "{event} {git_ref}");
            assert_eq!(found.base.as_deref(), base, "{event} {git_ref}");
            assert_eq!(found.untrusted, None, "{event} {git_ref}");
            assert_eq!(found.default_branch.as_deref(), Some("trunk"));
        }
    }

    #[test]
    fn what_may_be_a_strangers_is_not_trusted() {
        let cases = [
            (
                "pull_request",
                head("eve/app"),
                "this pull request comes from the fork `eve/app`",
            ),
            ("pull_request_target", head("eve/app"), "the fork `eve/app`"),
            ("pull_request_review", head("eve/app"), "the fork `eve/app`"),
            // The fork was deleted.
            (
                "pull_request",
                json!({"pull_request": {"head": {"repo": null}}}),
                "comes from a fork",
            ),
            (
                "workflow_run",
                head("eve/app"),
                "the run that started this one",
            ),
            (
                "issue_comment",
                head("octo/app"),
                "a comment on a pull request",
            ),
        ];
        for (event, payload, words) in cases {
            let found = origin(event, "refs/heads/trunk", payload);
            assert_eq!(found.line, Line::Unknown, "{event}");
            let reason = found.untrusted.unwrap();
            assert!(reason.contains(words), "{event}: {reason}");
        }
        let dependabot = Origin::of(&WorkflowRun {
            event_name: "push".to_owned(),
            git_ref: Some("refs/heads/dependabot/npm/x".to_owned()),
            actor: Some("dependabot[bot]".to_owned()),
            ..WorkflowRun::default()
        });
        assert!(dependabot.untrusted.is_some());
    }

    #[test]
    fn without_a_payload_the_usual_names_are_the_default_branch() {
        let cases = [
            ("push", "main", Some("main")),
            ("push", "master", Some("master")),
            ("schedule", "trunk", Some("trunk")),
            ("push", "trunk", None),
        ];
        for (event, name, expected) in cases {
            let found = origin(event, &format!("refs/heads/{name}"), Value::Null);
            assert_eq!(found.default_branch.as_deref(), expected, "{event} {name}");
        }
    }
}
