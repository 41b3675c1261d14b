//! What GitHub answers about earlier runs and comments, and artifacts of earlier runs.

use http::{HeaderMap, HeaderName, HeaderValue};
use readers::Target;

use super::github::{Answer, Question};
use super::leg::Leg;
use super::{HistoryError, artifact, comment, runs};
use crate::any_bytes::{fixture, part, parts, seed};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "artifact",
        read: artifact,
        seeds: || {
            let timings = artifact::tests::timings("docker", 1000);
            vec![
                artifact::tests::archive(&[("a.txt", "b"), ("timings.json", &timings)]),
                artifact::tests::archive(&[("a/b.json", "{}")]),
            ]
        },
    },
    Target {
        name: "github-answer",
        read: answer,
        seeds: answers,
    },
];

const QUESTION: Question = Question {
    what: "earlier runs",
    permission: "actions: read",
};

/// A status, headers, and documents about the repository, runs, artifacts, jobs and comments.
fn answer(bytes: &[u8]) {
    let parts = parts(bytes);
    let status = part(&parts, 0).parse().unwrap_or(200);
    let mut headers = HeaderMap::new();
    for line in part(&parts, 1).lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if let (Ok(name), Ok(value)) = (name.parse(), value.trim().parse()) {
            let (name, value): (HeaderName, HeaderValue) = (name, value);
            headers.append(name, value);
        }
    }
    let read = |index| Answer::read(status, &headers, part(&parts, index).into(), QUESTION);
    match [2, 3, 4, 5].map(read) {
        [Ok(repository), Ok(runs), Ok(artifacts), Ok(jobs)] => {
            runs::tests::check(&[repository, runs, artifacts, jobs]);
        }
        refused => {
            let errors = refused.into_iter().filter_map(Result::err);
            for error in errors.map(|error: HistoryError| error.to_string()) {
                // Nothing of the answer but a number or a time.
                assert!(error.len() < 200 && error.is_ascii(), "{error:?}");
                assert!(!error.contains(char::is_control), "{error:?}");
            }
        }
    }
    if let Ok(comments) = read(6) {
        comment::tests::check(&comments);
    }
}

/// GitHub's own examples, and refusals.
fn answers() -> Vec<Vec<u8>> {
    let example = |name: &str| {
        let text = fixture(&format!("github/{name}.json"));
        // As small as it can be.
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        value.to_string()
    };
    let more = "link: <https://api.github.com/repositories/1/x?page=2>; rel=\"next\"";
    let repository = r#"{"id":7,"default_branch":"main"}"#;
    let runs = r#"{"workflow_runs":[{"id":1,"workflow_id":9,"head_repository":{"id":7}},{"id":2,"head_repository":null}]}"#;
    let artifacts = r#"{"artifacts":[{"id":1,"name":"times","size_in_bytes":5,"expired":false}]}"#;
    let jobs = r#"{"jobs":[{"name":"a","status":"in_progress","runner_name":"r1","steps":[{"name":"b","status":"in_progress","conclusion":"success","started_at":"2026-01-01T00:00:01.000Z","completed_at":"2026-01-01T00:00:43-08:00"}]}]}"#;
    let comments = r#"[{"id":1,"body":"<!-- fast-ecr-push build -->\nold"},{"id":2,"body":null}]"#;
    vec![
        seed(&["200", more, repository, runs, artifacts, jobs, comments]),
        seed(&[
            "200",
            "",
            repository,
            runs,
            &example("artifact-paginated"),
            &example("job-paginated"),
            &example("issue-comment-items"),
        ]),
        seed(&[
            "403",
            "x-ratelimit-remaining: 0\nx-ratelimit-reset: 1723219534",
            "{}",
        ]),
        seed(&["429", "retry-after: 60", "{}"]),
        seed(&["403", "", r#"{"message":"API rate limit exceeded"}"#]),
        seed(&["404", "", r#"{"message":"Not Found"}"#]),
    ]
}

fn artifact(bytes: &[u8]) {
    let leg = Leg {
        driver: "docker".to_owned(),
        ..Leg::default()
    };
    let _ = artifact::total(bytes.to_vec(), &leg);
}
