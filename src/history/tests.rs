//! Against a stand-in for GitHub on loopback; its answers are the examples of GitHub's own description.

#[path = "../../tests/action/github.rs"]
mod stand_in;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;
use serde_json::{Value, json};

use super::artifact::tests::{archive, timings};
use super::leg::Leg;
use super::runs::earlier;
use super::{HistoryError, Workflow};
use crate::runner::env::Env;
use stand_in::{
    Answer, GitHub, artifact, comments, example, job, jobs, no_artifacts, repository, runs,
    runs_from, store, this_run,
};

fn start(answers: Vec<(&str, Answer)>) -> (GitHub, Workflow) {
    let answers = answers.into_iter();
    let github = GitHub::start(
        "hush",
        answers
            .map(|(path, answer)| (path.to_owned(), answer))
            .collect(),
    );
    let env = Env::from([
        ("GITHUB_API_URL", &*github.url()),
        ("GITHUB_REPOSITORY", stand_in::REPOSITORY),
        ("GITHUB_RUN_ID", "100"),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_REF", "refs/pull/7/merge"),
        ("RUNNER_NAME", "r1"),
    ]);
    let workflow = Workflow::from_env(&env, Some(&SecretString::from("hush"))).unwrap();
    (github, workflow)
}

fn leg() -> Leg {
    Leg {
        driver: "docker".to_owned(),
        name: "build".to_owned(),
        ..Leg::default()
    }
}

/// Median in seconds, and number of runs.
async fn found(workflow: &Workflow) -> (u64, usize) {
    let earlier = earlier(workflow, "times", &leg()).await.unwrap().unwrap();
    (earlier.median.as_secs(), earlier.runs)
}

const RUNS: &str = "GET /actions/workflows/9/runs?branch=trunk&status=success&per_page=100&page=1";

fn list(run: u64) -> String {
    format!("GET /actions/runs/{run}/artifacts?name=times&per_page=100&page=1")
}

fn zip(total_ms: u64) -> Answer {
    Answer {
        status: 200,
        body: archive(&[("timings.json", &timings("docker", total_ms))]),
        ..Answer::default()
    }
}

const OURS: &str = "GET /actions/runs/100/attempts/2/jobs?per_page=100&page=1";

fn of_run(run: u64) -> String {
    format!("GET /actions/runs/{run}/jobs?filter=latest&per_page=100&page=1")
}

#[test]
fn githubs_own_examples_are_read_as_they_are() {
    super::runs::tests::reads_examples(example);
}

#[tokio::test]
async fn the_median_of_earlier_artifacts_is_found() {
    let lists = [99, 98, 97].map(list);
    let location = store(zip(20_000).body);
    let (_github, workflow) = start(vec![
        ("GET ", repository()),
        ("GET /actions/runs/100", this_run()),
        (RUNS, runs(&[100, 99, 98, 97])),
        (&lists[0], artifact(1, "times", false)),
        (&lists[1], artifact(2, "times", false)),
        (&lists[2], artifact(3, "times", false)),
        ("GET /actions/artifacts/1/zip", zip(40_000)),
        // As GitHub does: the file is in a store of another host, which takes no token of GitHub's.
        (
            "GET /actions/artifacts/2/zip",
            Answer::refusal(302, "Found").header("location", &location),
        ),
        ("GET /actions/artifacts/3/zip", zip(30_000)),
    ]);
    assert_eq!(found(&workflow).await, (30, 3));
}

#[tokio::test]
async fn pages_are_followed_and_five_runs_are_enough() {
    let second = RUNS.replace("&page=1", "&page=2");
    let mut answers = vec![
        ("GET ", repository()),
        ("GET /actions/runs/100", this_run()),
        (RUNS, runs(&[100, 99, 98]).more()),
        (&*second, runs(&[97, 96, 95, 94])),
    ];
    let paths: Vec<(String, String, u64)> = (94..=99u64)
        .map(|run| (list(run), format!("GET /actions/artifacts/{run}/zip"), run))
        .collect();
    for (list, file, run) in &paths {
        answers.push((list, artifact(*run, "times", false)));
        answers.push((file, zip(run * 1_000)));
    }
    let (github, workflow) = start(answers);
    assert_eq!(found(&workflow).await, (97, 5));
    let paths = github.paths();
    assert!(paths.iter().all(|path| !path.contains("/94")), "{paths:?}");
}

#[tokio::test]
async fn runs_of_forks_are_left_out_even_on_a_branch_of_the_same_name() {
    let (own, of_fork) = (list(97), list(99));
    let ours = example("full-repository")["id"].clone();
    let (github, workflow) = start(vec![
        ("GET ", repository()),
        ("GET /actions/runs/100", this_run()),
        (
            RUNS,
            runs_from(&[
                (99, json!({ "id": 1, "fork": true })),
                (98, Value::Null),
                (97, json!({ "id": ours })),
            ]),
        ),
        (&own, artifact(1, "times", false)),
        ("GET /actions/artifacts/1/zip", zip(40_000)),
    ]);
    assert_eq!(found(&workflow).await, (40, 1));
    assert!(!github.paths().contains(&of_fork), "{:?}", github.paths());
}

#[tokio::test]
async fn without_artifacts_the_times_of_the_same_step_count() {
    let (lists, jobs_of) = ([99, 98, 97].map(list), [99, 98, 97].map(of_run));
    let arm = job(
        "build (arm64)",
        Some(("2026-01-01T00:00:00Z", "2026-01-01T00:09:00Z")),
    );
    // In the time of another zone, as in GitHub's example.
    let amd = job(
        "build (amd64)",
        Some(("2026-01-01T00:00:01.000Z", "2025-12-31T16:00:43.000-08:00")),
    );
    let (_github, workflow) = start(vec![
        ("GET ", repository()),
        ("GET /actions/runs/100", this_run()),
        (RUNS, runs(&[99, 98, 97])),
        (&lists[0], artifact(1, "times", true)),
        (&lists[1], no_artifacts()),
        // Gone since it was listed.
        (&lists[2], artifact(3, "times", false)),
        (
            "GET /actions/artifacts/3/zip",
            Answer::refusal(410, "Artifact has expired"),
        ),
        (OURS, jobs(&[job("build (amd64)", None)])),
        (&jobs_of[0], jobs(&[arm.clone(), amd.clone()])),
        (&jobs_of[1], jobs(&[])),
        (&jobs_of[2], jobs(&[arm, amd])),
    ]);
    assert_eq!(found(&workflow).await, (42, 2));
}

#[tokio::test]
async fn a_first_run_has_no_earlier_ones() {
    let (_github, workflow) = start(vec![
        ("GET ", repository()),
        ("GET /actions/runs/100", this_run()),
        (RUNS, runs(&[])),
    ]);
    assert_eq!(earlier(&workflow, "times", &leg()).await.unwrap(), None);
}

/// Messages and headers: <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>; those of the first were seen at
/// <https://github.com/microsoft/azure-pipelines-tasks/issues/20278>.
#[tokio::test]
async fn refusals_have_an_explanation() {
    let cases = [
        (
            Answer::refusal(403, "Resource not accessible by integration")
                .header(
                    "x-accepted-github-permissions",
                    "issues=write; pull_requests=write",
                )
                .header("x-ratelimit-limit", "8050")
                .header("x-ratelimit-remaining", "7999")
                .header("x-ratelimit-reset", "1723219534"),
            "the job needs `permissions: actions: read`, and a pull request from a fork",
        ),
        (
            Answer::refusal(404, "Not Found"),
            "(status 404); the job needs `permissions: actions: read`",
        ),
        (
            Answer::refusal(401, "Bad credentials"),
            "(status 401); the job needs",
        ),
        (
            Answer::refusal(
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
            ),
            "GitHub's rate limit for earlier runs is exhausted; try again in some minutes",
        ),
        (
            Answer::refusal(403, "API rate limit exceeded for installation ID 1.")
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", "1723219534"),
            "try again at 2024-08-09T16:05:34Z",
        ),
        (
            Answer::refusal(429, "Too many requests").header("retry-after", "60"),
            "try again in 60 s",
        ),
        (
            Answer::refusal(500, "oops"),
            "GitHub answered the request for earlier runs with status 500",
        ),
        (
            Answer::ok(&json!({ "default_branch": 7 })),
            "could not parse GitHub's answer about earlier runs",
        ),
        (
            Answer {
                status: 200,
                body: b"<html>".to_vec(),
                ..Answer::default()
            },
            "could not parse GitHub's answer",
        ),
    ];
    for (answer, expected) in cases {
        let (_github, workflow) = start(vec![("GET ", answer)]);
        let error = earlier(&workflow, "times", &leg()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error() {
    let env = Env::from([
        ("GITHUB_API_URL", "http://127.0.0.1:1"),
        ("GITHUB_REPOSITORY", "octo/app"),
        ("GITHUB_RUN_ID", "1"),
    ]);
    let workflow = Workflow::from_env(&env, Some(&SecretString::from("hush"))).unwrap();
    let error = earlier(&workflow, "times", &leg()).await.unwrap_err();
    assert!(matches!(error, HistoryError::Request { .. }), "{error:?}");
}

/// A server whose answers end only when the client goes away, and how many bytes it got rid of.
fn endless() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n[");
            let zeros = b"0,".repeat(1 << 15);
            while stream.write_all(&zeros).is_ok() {
                count.fetch_add(zeros.len(), Ordering::Relaxed);
            }
        }
    });
    (format!("http://{address}/file.zip?sig=x"), sent)
}

/// The limit, and what the system's buffers of a connection hold.
const MOST_SENT: usize = 2 * super::github::LONGEST_ANSWER;

#[tokio::test]
async fn an_answer_without_an_end_is_an_error_and_not_kept() {
    let (address, sent) = endless();
    let (_github, workflow) = start(vec![(
        "GET ",
        Answer::refusal(302, "Found").header("location", &address),
    )]);
    let error = earlier(&workflow, "times", &leg()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GitHub's answer about earlier runs is longer than 16 MiB"
    );
    let sent = sent.load(Ordering::Relaxed);
    assert!((1..MOST_SENT).contains(&sent), "{sent}");
}

#[tokio::test]
async fn the_jobs_count_where_an_artifact_has_no_end() {
    let (lists, jobs_of) = (list(99), of_run(99));
    let (address, sent) = endless();
    let times = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:42Z");
    let (_github, workflow) = start(vec![
        ("GET ", repository()),
        ("GET /actions/runs/100", this_run()),
        (RUNS, runs(&[99])),
        (&lists, artifact(1, "times", false)),
        (
            "GET /actions/artifacts/1/zip",
            Answer::refusal(302, "Found").header("location", &address),
        ),
        (OURS, jobs(&[job("build", None)])),
        (&jobs_of, jobs(&[job("build", Some(times))])),
    ]);
    assert_eq!(found(&workflow).await, (42, 1));
    let sent = sent.load(Ordering::Relaxed);
    assert!((1..MOST_SENT).contains(&sent), "{sent}");
}

const COMMENTS: &str = "GET /issues/7/comments?per_page=100&page=1";
const MARKER: &str = "<!-- fast-ecr-push build -->";

fn body(text: &str) -> String {
    json!({ "body": format!("{MARKER}\n{text}") }).to_string()
}

#[tokio::test]
async fn a_first_comment_is_made() {
    let mut others = comments(&[(1, "Nice!"), (2, "")]);
    let mut value: Value = serde_json::from_slice(&others.body).unwrap();
    value[1]["body"] = Value::Null;
    others.body = value.to_string().into_bytes();
    let (github, workflow) = start(vec![
        (COMMENTS, others),
        ("POST /issues/7/comments", comments(&[(3, "")])),
    ]);
    super::comment(Some(&workflow), &leg(), "### Pushed").await;
    let asked = github.asked();
    assert_eq!(asked[1].path, "POST /issues/7/comments");
    assert_eq!(asked[1].body, body("### Pushed"));
    let agent = format!("fast-ecr-push/{}", env!("CARGO_PKG_VERSION"));
    assert!(asked.iter().all(|asked| asked.agent == agent), "{asked:?}");
}

#[tokio::test]
async fn a_later_run_replaces_its_comment_on_any_page() {
    let old = format!("{MARKER}\nold");
    let (github, workflow) = start(vec![
        (
            COMMENTS,
            comments(&[(1, "<!-- fast-ecr-push other -->\nx")]).more(),
        ),
        (
            "GET /issues/7/comments?per_page=100&page=2",
            comments(&[(2, &old)]),
        ),
        ("PATCH /issues/comments/2", comments(&[(2, "")])),
    ]);
    super::comment(Some(&workflow), &leg(), "new").await;
    let asked = github.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(asked[2].path, "PATCH /issues/comments/2");
    assert_eq!(asked[2].body, body("new"));
}

#[tokio::test]
async fn a_fork_that_may_not_comment_ends_well() {
    let (github, workflow) = start(vec![
        (COMMENTS, comments(&[])),
        (
            "POST /issues/7/comments",
            Answer::refusal(403, "Resource not accessible by integration"),
        ),
    ]);
    super::comment(Some(&workflow), &leg(), "x").await;
    assert_eq!(github.asked().len(), 2);
}
