//! One comment on the pull request, kept up to date.
//!
//! In: the summary. Out: a comment that begins with a marker nobody sees; a later run finds it by that and writes it anew. Each leg of a
//! matrix has its own, told by job and image.

use serde::Deserialize;
use serde_json::json;

use super::github::{GitHub, Method, Question};
use super::{HistoryError, Workflow, notice};

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
pub(crate) async fn comment(workflow: Option<&Workflow>, leg: &str, markdown: &str) {
    let Some(workflow) = workflow else {
        return;
    };
    // Runs without a pull request have nowhere to comment.
    let Some(number) = workflow.run.git_ref.as_deref().and_then(pull_request) else {
        return;
    };
    if let Err(error) = write(workflow, number, leg, markdown).await {
        notice("the pull request was not commented on", &error);
    }
}

/// `refs/pull/7/merge` → 7.
fn pull_request(git_ref: &str) -> Option<u64> {
    git_ref
        .strip_prefix("refs/pull/")?
        .split('/')
        .next()?
        .parse()
        .ok()
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
            ("refs/pull/7/merge", Some(7)),
            ("refs/heads/main", None),
            ("refs/pull/x/merge", None),
            ("", None),
        ];
        for (git_ref, number) in cases {
            assert_eq!(pull_request(git_ref), number, "{git_ref}");
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
