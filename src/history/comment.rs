//! One comment on the pull request, kept up to date.
//!
//! In: the summary. Out: a comment that begins with a marker nobody sees; a later run finds it by that and writes it anew. Each leg of a
//! matrix has its own, told by job and image.

use serde::Deserialize;
use serde_json::{Value, json};

use super::github::{GitHub, Method, Question};
use super::leg::Leg;
use super::{HistoryError, Workflow, notice};
use crate::runner::workflow::WorkflowRun;

/// GitHub's limit is 65,536 characters; the marker needs some.
pub(crate) const LONGEST_COMMENT: usize = 65_000;

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

/// Writes the comment; a notice if that does not work.
pub(crate) async fn comment(workflow: Option<&Workflow>, leg: &Leg, markdown: &str) {
    let Some(workflow) = workflow else {
        return;
    };
    // Runs without a pull request have nowhere to comment.
    let Some(number) = pull_request(&workflow.run) else {
        return;
    };
    if let Err(error) = write(workflow, number, &leg.words, markdown).await {
        notice("the pull request was not commented on", &error);
    }
}

/// The number of the pull request: the event's, which `pull_request_target` has alone, or that of `refs/pull/7/merge`.
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
    match find(&github, number, &marker).await? {
        Some(id) => {
            let path = format!("issues/comments/{id}");
            github.write(Method::Patch, &path, &body, QUESTION).await
        }
        None => {
            let path = format!("issues/{number}/comments");
            github.write(Method::Post, &path, &body, QUESTION).await
        }
    }
}

/// An HTML comment, which nothing in `leg` can close.
fn marker(leg: &str) -> String {
    let safe: String = leg
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() || "./:_".contains(character) {
                character
            } else {
                '_'
            }
        })
        .collect();
    format!("<!-- fast-ecr-push {safe} -->")
}

async fn find(github: &GitHub, number: u64, marker: &str) -> Result<Option<u64>, HistoryError> {
    let mut found = None;
    github
        .pages(
            &format!("issues/{number}/comments"),
            None,
            QUESTION,
            |comments: Vec<Comment>| {
                let ours = |comment: &&Comment| {
                    comment
                        .body
                        .as_deref()
                        .is_some_and(|body| body.starts_with(marker))
                };
                found = comments.iter().find(ours).map(|comment| comment.id);
                found.is_some()
            },
        )
        .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
