//! Against a stand-in for GitHub on loopback, whose answers have the fields of GitHub's documented examples
//! (<https://github.com/github/rest-api-description>).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use serde_json::{Value, json};

use super::artifact::tests::{archive, timings};
use super::runs::before;
use super::{HistoryError, Workflow};
use crate::env::Env;

/// One answer.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn ok(body: &Value) -> Answer {
    Answer {
        status: 200,
        body: body.to_string().into_bytes(),
        ..Answer::default()
    }
}

fn refusal(status: u16, message: &str) -> Answer {
    Answer {
        status,
        ..ok(&json!({ "message": message, "documentation_url": "https://docs.github.com/rest" }))
    }
}

/// Answers by method and path with query; what it does not know is a 404. It remembers what it was asked.
struct StandIn {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    fn start(answers: Vec<(&str, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: BTreeMap<String, Answer> = answers
            .into_iter()
            .map(|(path, answer)| (path.to_owned(), answer))
            .collect();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &answers, &heard);
            }
        });
        Self { address, asked }
    }

    fn workflow(&self) -> Workflow {
        let env = Env::from([
            (
                "GITHUB_API_URL",
                &*format!("http://{}/api/v3", self.address),
            ),
            ("GITHUB_REPOSITORY", "octo/app"),
            ("GITHUB_RUN_ID", "100"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("RUNNER_NAME", "r1"),
        ]);
        Workflow::from_env(&env, Some(&SecretString::from("hush"))).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, answers: &BTreeMap<String, Answer>, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let mut length = 0;
    let mut authorized = false;
    reader.read_line(&mut first).unwrap_or_default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() <= 2 {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        authorized |= line.starts_with("authorization: bearer hush");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut words = first.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let key = format!(
        "{method} {}",
        path.strip_prefix("/api/v3/repos/octo/app").unwrap_or(path)
    );
    asked.lock().unwrap().push(
        format!("{key} {}", String::from_utf8_lossy(&body))
            .trim_end()
            .to_owned(),
    );
    let answer = match answers.get(&key) {
        Some(answer) if authorized => answer.clone(),
        Some(_) => refusal(401, "Bad credentials"),
        None => refusal(404, "Not Found"),
    };
    let mut head = format!(
        "HTTP/1.1 {} X\r\ncontent-length: {}\r\nconnection: close\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = reader.into_inner();
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&answer.body);
}

const RUNS: &str = "GET /actions/workflows/9/runs?branch=trunk&status=success&per_page=100&page=1";

fn repository() -> (&'static str, Answer) {
    (
        "GET ",
        ok(
            &json!({ "id": 1, "full_name": "octo/app", "default_branch": "trunk", "private": true }),
        ),
    )
}

fn this_run() -> (&'static str, Answer) {
    (
        "GET /actions/runs/100",
        ok(&json!({ "id": 100, "name": "CI", "workflow_id": 9, "status": "in_progress" })),
    )
}

fn runs(ids: &[u64]) -> Answer {
    let runs: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "id": id, "workflow_id": 9, "conclusion": "success" }))
        .collect();
    ok(&json!({ "total_count": ids.len(), "workflow_runs": runs }))
}

fn artifacts(id: u64, expired: bool) -> Answer {
    ok(
        &json!({ "total_count": 1, "artifacts": [{ "id": id, "name": "times", "size_in_bytes": 556, "expired": expired }] }),
    )
}

fn no_artifacts() -> Answer {
    ok(&json!({ "total_count": 0, "artifacts": [] }))
}

fn zip(total_ms: u64) -> Answer {
    Answer {
        status: 200,
        body: archive(&[("timings.json", &timings("docker", total_ms))]),
        ..Answer::default()
    }
}

fn jobs(name: &str, status: &str, times: Option<(&str, &str)>) -> Value {
    let conclusion = times.map(|_| "success");
    json!({ "id": 5, "name": name, "status": status, "runner_name": "r1", "steps": [
        { "name": "Set up job", "number": 1, "status": "completed", "conclusion": "success", "started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:01Z" },
        { "name": "Build and push", "number": 2, "status": if times.is_some() { "completed" } else { "in_progress" }, "conclusion": conclusion,
          "started_at": times.map(|times| times.0), "completed_at": times.map(|times| times.1) },
    ]})
}

#[tokio::test]
async fn the_median_of_earlier_artifacts_is_found() {
    let github = StandIn::start(vec![
        repository(),
        this_run(),
        (RUNS, runs(&[100, 99, 98, 97])),
        (
            "GET /actions/runs/99/artifacts?name=times&per_page=100&page=1",
            artifacts(1, false),
        ),
        (
            "GET /actions/runs/98/artifacts?name=times&per_page=100&page=1",
            artifacts(2, false),
        ),
        (
            "GET /actions/runs/97/artifacts?name=times&per_page=100&page=1",
            artifacts(3, false),
        ),
        ("GET /actions/artifacts/1/zip", zip(40_000)),
        (
            "GET /actions/artifacts/2/zip",
            Answer {
                status: 302,
                headers: vec![("location", "/api/v3/repos/octo/app/blob".to_owned())],
                body: Vec::new(),
            },
        ),
        ("GET /blob", zip(20_000)),
        ("GET /actions/artifacts/3/zip", zip(30_000)),
    ]);
    let before = before(&github.workflow(), "times", "docker")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((before.median.as_secs(), before.runs), (30, 3));
}

#[tokio::test]
async fn pages_are_followed_and_five_runs_are_enough() {
    let second = RUNS.replace("&page=1", "&page=2");
    let mut answers = vec![
        repository(),
        this_run(),
        (
            RUNS,
            Answer {
                headers: vec![(
                    "link",
                    "<https://api.github.com/x?page=2>; rel=\"next\"".to_owned(),
                )],
                ..runs(&[100, 99, 98])
            },
        ),
        (&*second, runs(&[97, 96, 95, 94])),
    ];
    let paths: Vec<(String, String, u64)> = (94..=99u64)
        .map(|run| {
            (
                format!("GET /actions/runs/{run}/artifacts?name=times&per_page=100&page=1"),
                format!("GET /actions/artifacts/{run}/zip"),
                run,
            )
        })
        .collect();
    for (list, file, run) in &paths {
        answers.push((list, artifacts(*run, false)));
        answers.push((file, zip(run * 1_000)));
    }
    let github = StandIn::start(answers);
    let before = before(&github.workflow(), "times", "docker")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((before.median.as_secs(), before.runs), (97, 5));
    assert!(
        github.asked().iter().all(|asked| !asked.contains("/94")),
        "{:?}",
        github.asked()
    );
}

#[tokio::test]
async fn without_artifacts_the_times_of_the_same_step_count() {
    let github = StandIn::start(vec![
        repository(),
        this_run(),
        (RUNS, runs(&[99, 98])),
        (
            "GET /actions/runs/99/artifacts?name=times&per_page=100&page=1",
            artifacts(1, true),
        ),
        (
            "GET /actions/runs/98/artifacts?name=times&per_page=100&page=1",
            no_artifacts(),
        ),
        (
            "GET /actions/runs/100/attempts/2/jobs?per_page=100&page=1",
            ok(&json!({ "total_count": 1, "jobs": [jobs("build (amd64)", "in_progress", None)] })),
        ),
        (
            "GET /actions/runs/99/jobs?filter=latest&per_page=100&page=1",
            ok(&json!({ "total_count": 2, "jobs": [
                jobs("build (arm64)", "completed", Some(("2026-01-01T00:00:00Z", "2026-01-01T00:09:00Z"))),
                jobs("build (amd64)", "completed", Some(("2026-01-01T00:00:01Z", "2026-01-01T00:00:43Z"))),
            ] })),
        ),
        (
            "GET /actions/runs/98/jobs?filter=latest&per_page=100&page=1",
            ok(&json!({ "total_count": 0, "jobs": [] })),
        ),
    ]);
    let before = before(&github.workflow(), "times", "docker")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((before.median.as_secs(), before.runs), (42, 1));
}

#[tokio::test]
async fn a_first_run_has_nothing_before_it() {
    let github = StandIn::start(vec![repository(), this_run(), (RUNS, runs(&[]))]);
    assert_eq!(
        before(&github.workflow(), "times", "docker").await.unwrap(),
        None
    );
}

#[tokio::test]
async fn refusals_are_told_in_words() {
    let limited = |status, header: (&'static str, &str)| Answer {
        headers: vec![(header.0, header.1.to_owned())],
        ..refusal(status, "no")
    };
    let cases = [
        (
            refusal(403, "Resource not accessible by integration"),
            "the job needs `permissions: actions: read`, and a pull request from a fork",
        ),
        (
            refusal(404, "Not Found"),
            "(status 404); the job needs `permissions: actions: read`",
        ),
        (
            refusal(403, "You have exceeded a secondary rate limit"),
            "GitHub's rate limit is reached",
        ),
        (
            limited(403, ("x-ratelimit-remaining", "0")),
            "GitHub's rate limit is reached",
        ),
        (
            limited(429, ("retry-after", "60")),
            "GitHub's rate limit is reached",
        ),
        (
            refusal(500, "oops"),
            "GitHub answered with status 500 when asked for earlier runs",
        ),
        (
            ok(&json!({ "default_branch": 7 })),
            "could not read GitHub's answer about earlier runs",
        ),
        (
            Answer {
                status: 200,
                body: b"<html>".to_vec(),
                ..Answer::default()
            },
            "could not read GitHub's answer",
        ),
    ];
    for (answer, expected) in cases {
        let github = StandIn::start(vec![("GET ", answer)]);
        let error = before(&github.workflow(), "times", "docker")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_in_words() {
    let env = Env::from([
        ("GITHUB_API_URL", "http://127.0.0.1:1"),
        ("GITHUB_REPOSITORY", "octo/app"),
        ("GITHUB_RUN_ID", "1"),
    ]);
    let workflow = Workflow::from_env(&env, Some(&SecretString::from("hush"))).unwrap();
    let error = before(&workflow, "times", "docker").await.unwrap_err();
    assert!(matches!(error, HistoryError::Request { .. }), "{error:?}");
}

const COMMENTS: &str = "GET /issues/7/comments?per_page=100&page=1";
const MARKER: &str = "<!-- fast-ecr-push build -->";

#[tokio::test]
async fn a_first_comment_is_made() {
    let github = StandIn::start(vec![
        (
            COMMENTS,
            ok(&json!([{ "id": 1, "body": "Nice!" }, { "id": 2, "body": null }])),
        ),
        ("POST /issues/7/comments", ok(&json!({ "id": 3 }))),
    ]);
    super::comment(Some(&github.workflow()), "build", "### Pushed").await;
    let asked = github.asked();
    assert_eq!(
        asked[1],
        format!(
            "POST /issues/7/comments {}",
            json!({ "body": format!("{MARKER}\n### Pushed") })
        )
    );
}

#[tokio::test]
async fn a_later_run_writes_over_its_comment_on_any_page() {
    let github = StandIn::start(vec![
        (
            COMMENTS,
            Answer {
                headers: vec![(
                    "link",
                    "<https://api.github.com/x?page=2>; rel=\"next\"".to_owned(),
                )],
                ..ok(&json!([{ "id": 1, "body": "<!-- fast-ecr-push other -->\nx" }]))
            },
        ),
        (
            "GET /issues/7/comments?per_page=100&page=2",
            ok(&json!([{ "id": 2, "body": format!("{MARKER}\nold") }])),
        ),
        ("PATCH /issues/comments/2", ok(&json!({ "id": 2 }))),
    ]);
    super::comment(Some(&github.workflow()), "build", "new").await;
    let asked = github.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(
        asked[2],
        format!(
            "PATCH /issues/comments/2 {}",
            json!({ "body": format!("{MARKER}\nnew") })
        )
    );
}

#[tokio::test]
async fn a_fork_that_may_not_comment_ends_well() {
    let github = StandIn::start(vec![
        (COMMENTS, ok(&json!([]))),
        (
            "POST /issues/7/comments",
            refusal(403, "Resource not accessible by integration"),
        ),
    ]);
    super::comment(Some(&github.workflow()), "build", "x").await;
    assert_eq!(github.asked().len(), 2);
}
