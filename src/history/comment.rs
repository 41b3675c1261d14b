//! One comment on the pull request, kept up to date.
//!
//! In: the summary. Out: a comment that begins with an invisible marker, by which a later run finds and replaces it. Each leg of a matrix
//! has its own comment.

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::github::{GitHub, Method, Question};
use super::leg::Leg;
use super::{HistoryError, Workflow, notice};
use crate::runner::workflow::WorkflowRun;

/// GitHub's limit is 65,536 characters, including the marker.
pub(crate) const LONGEST_COMMENT: usize = 65_000;

/// A longer name of a leg (characters) is cut.
const LONGEST_LEG: usize = 400;

const QUESTION: Question = Question {
    what: "comments on the pull request",
    permission: "pull-requests: write",
};

#[derive(Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: Option<String>,
}

/// Writes the comment; a failure is a notice. A run without a pull request has nowhere to comment.
pub(crate) async fn comment(workflow: Option<&Workflow>, leg: &Leg, markdown: &str) {
    let Some(workflow) = workflow else {
        return;
    };
    let Some(number) = pull_request(&workflow.run) else {
        return;
    };
    if let Err(error) = write(workflow, number, &leg.name, markdown).await {
        notice("could not comment on the pull request", &error);
    }
}

/// The number of the pull request: the event's (the only source for `pull_request_target`), or that of `refs/pull/7/merge`.
fn pull_request(run: &WorkflowRun) -> Option<u64> {
    let of_event = run.payload.pointer("/pull_request/number");
    of_event.and_then(Value::as_u64).or_else(|| {
        let number = run.git_ref.as_deref()?.strip_prefix("refs/pull/")?;
        number.split('/').next()?.parse().ok()
    })
}

async fn write(
    workflow: &Workflow,
    number: u64,
    leg: &str,
    markdown: &str,
) -> Result<(), HistoryError> {
    let github = workflow.client()?;
    let marker = marker(leg);
    let body = json!({ "body": format!("{marker}\n{markdown}") });
    let comments = format!("issues/{number}/comments");
    let (method, path) = match find(&github, &comments, &marker).await? {
        Some(id) => (Method::Patch, format!("issues/comments/{id}")),
        None => (Method::Post, comments),
    };
    github.write(method, &path, &body, QUESTION).await
}

/// An HTML comment that nothing in `leg` can close. Of a long one it has the start and a hash.
fn marker(leg: &str) -> String {
    let is_safe = |character: char| character.is_ascii_alphanumeric() || "./:_".contains(character);
    let mut safe = leg.replace(|character| !is_safe(character), "_");
    if safe.len() > LONGEST_LEG {
        let hash = Sha256::digest(leg);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        // All its characters are bytes.
        safe.truncate(LONGEST_LEG - hash.len());
        safe.push_str(&hash);
    }
    format!("<!-- fast-ecr-push {safe} -->")
}

async fn find(github: &GitHub, path: &str, marker: &str) -> Result<Option<u64>, HistoryError> {
    let mut found = None;
    let pages = github.pages(path, None, QUESTION, |comments: Vec<Comment>| {
        found = ours(&comments, marker);
        found.is_some()
    });
    pages.await?;
    Ok(found)
}

fn ours(comments: &[Comment], marker: &str) -> Option<u64> {
    let is_ours = |comment: &&Comment| {
        let body = comment.body.as_deref();
        body.is_some_and(|body| body.starts_with(marker))
    };
    comments.iter().find(is_ours).map(|comment| comment.id)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::github::Answer;
    use super::*;

    /// Only a comment that begins with our marker is replaced.
    pub(in crate::history) fn check(answer: &Answer) {
        let Ok(comments) = answer.list::<Comment>(None, QUESTION) else {
            return;
        };
        let marker = marker("build");
        let begins = |comment: &Comment| comment.body.iter().any(|body| body.starts_with(&marker));
        let first = comments.iter().find(|comment| begins(comment));
        assert_eq!(ours(&comments, &marker), first.map(|comment| comment.id));
    }

    #[test]
    fn only_pull_requests_have_a_number() {
        let cases = [
            ("refs/pull/7/merge", Value::Null, Some(7)),
            ("refs/heads/main", Value::Null, None),
            ("refs/pull/x/merge", Value::Null, None),
            ("", Value::Null, None),
            (
                "refs/heads/main",
                json!({ "pull_request": { "number": 8 } }),
                Some(8),
            ),
            (
                "refs/pull/7/merge",
                json!({ "pull_request": { "number": "8" } }),
                Some(7),
            ),
        ];
        for (git_ref, payload, number) in cases {
            let run = WorkflowRun {
                git_ref: Some(git_ref.to_owned()),
                payload,
                ..WorkflowRun::default()
            };
            assert_eq!(pull_request(&run), number, "{git_ref}");
        }
    }

    #[test]
    fn nothing_closes_the_marker() {
        assert_eq!(
            marker("build r.example/a:1 --> <b>"),
            "<!-- fast-ecr-push build_r.example/a:1______b_ -->"
        );
        let long = |end: &str| marker(&format!("{}{end}", "é".repeat(9_000)));
        assert_ne!(long("a"), long("b"));
        assert_eq!(
            long("a").len(),
            "<!-- fast-ecr-push  -->".len() + LONGEST_LEG
        );
    }
}
