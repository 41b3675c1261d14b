//! A stand-in for GitHub's REST API on loopback.
//!
//! Its answers are the examples of GitHub's own description (`tests/fixtures/github`), with ids, names and times that a test chooses.
//! Like GitHub it refuses who brings no token or no `User-Agent`
//! (<https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api#user-agent>). It lies below `/api/v3`, as on GitHub
//! Enterprise Server. Shared by the tests of the whole binary and those of `src/history`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Where it lies on its host.
const BASE: &str = "/api/v3";

/// The repository that it has.
pub(crate) const REPOSITORY: &str = "octo/app";

/// One answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn ok(body: &Value) -> Self {
        Self {
            status: 200,
            body: body.to_string().into_bytes(),
            ..Self::default()
        }
    }

    /// As GitHub refuses: <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api>.
    pub(crate) fn refusal(status: u16, message: &str) -> Self {
        Self {
            status,
            ..Self::ok(&json!({
                "message": message,
                "documentation_url": "https://docs.github.com/rest",
                "status": status.to_string(),
            }))
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With a page behind it.
    pub(crate) fn more(self) -> Self {
        let next = "<https://api.github.com/repositories/1/x?page=2>; rel=\"next\", <https://api.github.com/repositories/1/x?page=2>; rel=\"last\"";
        self.header("link", next)
    }
}

/// An example of GitHub's description.
pub(crate) fn example(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/github/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A copy of a value with other fields.
fn with(mut value: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else {
        panic!("{fields}");
    };
    for (name, field) in fields {
        assert!(value.get(&name).is_some(), "the example has no `{name}`");
        value[&name] = field;
    }
    value
}

/// The first entry of an example's list.
fn first(name: &str, list: &str) -> Value {
    example(name)[list][0].clone()
}

/// The repository, whose default branch is `trunk`.
pub(crate) fn repository() -> Answer {
    let fields = json!({ "full_name": REPOSITORY, "default_branch": "trunk" });
    Answer::ok(&with(example("full-repository"), fields))
}

/// The run that asks: number 100 of workflow 9.
pub(crate) fn this_run() -> Answer {
    let fields = json!({ "id": 100, "workflow_id": 9, "status": "in_progress" });
    Answer::ok(&with(example("workflow-run"), fields))
}

/// Successful runs of these numbers, on a branch of the repository.
pub(crate) fn runs(ids: &[u64]) -> Answer {
    let repository = &example("full-repository")["id"];
    runs_from(
        &ids.iter()
            .map(|id| (*id, json!({ "id": repository })))
            .collect::<Vec<_>>(),
    )
}

/// Successful runs of these numbers, and the repositories of their branches.
pub(crate) fn runs_from(runs: &[(u64, Value)]) -> Answer {
    let run = first("workflow-run-paginated", "workflow_runs");
    let run = |(id, head): &(u64, Value)| {
        let fields = json!({
            "id": id, "workflow_id": 9, "status": "completed", "conclusion": "success", "head_repository": head,
        });
        with(run.clone(), fields)
    };
    let runs: Vec<Value> = runs.iter().map(run).collect();
    Answer::ok(&json!({ "total_count": runs.len(), "workflow_runs": runs }))
}

/// An artifact of this number and name.
pub(crate) fn artifact(id: u64, name: &str, expired: bool) -> Answer {
    let artifact = first("artifact-paginated", "artifacts");
    let artifact = with(
        artifact,
        json!({ "id": id, "name": name, "expired": expired }),
    );
    Answer::ok(&json!({ "total_count": 1, "artifacts": [artifact] }))
}

pub(crate) fn no_artifacts() -> Answer {
    Answer::ok(&json!({ "total_count": 0, "artifacts": [] }))
}

/// A job on the runner `r1` with the step `Build and push`, which ran then or runs now.
pub(crate) fn job(name: &str, times: Option<(&str, &str)>) -> Value {
    let job = first("job-paginated", "jobs");
    let set_up = job["steps"][0].clone();
    let (status, conclusion) = match times {
        Some(_) => ("completed", json!("success")),
        None => ("in_progress", Value::Null),
    };
    let step = with(
        set_up.clone(),
        json!({
            "name": "Build and push",
            "number": 2,
            "status": status,
            "conclusion": conclusion,
            "started_at": times.map(|times| times.0),
            "completed_at": times.map(|times| times.1),
        }),
    );
    let fields = json!({
        "name": name,
        "status": status,
        "conclusion": step["conclusion"],
        "runner_name": "r1",
        "steps": [set_up, step],
    });
    with(job, fields)
}

pub(crate) fn jobs(jobs: &[Value]) -> Answer {
    Answer::ok(&json!({ "total_count": jobs.len(), "jobs": jobs }))
}

/// Comments of these numbers and texts.
pub(crate) fn comments(comments: &[(u64, &str)]) -> Answer {
    let comment = example("issue-comment-items")[0].clone();
    let comment =
        |(id, body): &(u64, &str)| with(comment.clone(), json!({ "id": id, "body": body }));
    Answer::ok(&comments.iter().map(comment).collect())
}

/// A request: method and path below the repository, the client, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub path: String,
    pub agent: String,
    pub body: String,
}

/// Answers by method and path with query below the repository; what it does not know is a 404. It remembers what it was asked.
pub(crate) struct GitHub {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl GitHub {
    /// Answers those who bring this token.
    pub(crate) fn start(token: &str, answers: Vec<(String, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: BTreeMap<String, Answer> = answers.into_iter().collect();
        let heard = Arc::clone(&asked);
        let token = format!("bearer {token}").to_ascii_lowercase();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &answers, &token, &heard);
            }
        });
        Self { address, asked }
    }

    /// For `GITHUB_API_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{BASE}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths that were asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }
}

/// The store that GitHub sends for an artifact's file. It refuses those who bring a token, which is none of its own
/// (<https://learn.microsoft.com/rest/api/storageservices/authorize-requests-to-azure-storage>).
pub(crate) fn store(file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let request = Request::read(&stream);
            let answer = match request.headers.get("authorization") {
                Some(_) => Answer::refusal(403, "Server failed to authenticate the request."),
                None => Answer {
                    status: 200,
                    body: file.clone(),
                    ..Answer::default()
                },
            };
            write(stream, &answer);
        }
    });
    format!("http://{address}/actions-results/file.zip?sig=x")
}

/// A request, read whole.
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).unwrap_or_default();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or_default() <= 2 {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        let length = headers.get("content-length");
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        let mut words = first.split_whitespace().map(str::to_owned);
        Self {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

fn answer(
    stream: TcpStream,
    answers: &BTreeMap<String, Answer>,
    token: &str,
    asked: &Mutex<Vec<Asked>>,
) {
    let request = Request::read(&stream);
    let path = request
        .path
        .strip_prefix(&format!("{BASE}/repos/{REPOSITORY}"));
    let path = format!("{} {}", request.method, path.unwrap_or(&request.path));
    let header = |name| {
        request
            .headers
            .get(name)
            .map(|value| value.to_ascii_lowercase())
    };
    let answer = if header("user-agent").is_none() {
        Answer::refusal(403, "Request forbidden by administrative rules.")
    } else if header("authorization").as_deref() != Some(token) {
        Answer::refusal(401, "Bad credentials")
    } else {
        let known = answers.get(&path).cloned();
        known.unwrap_or_else(|| Answer::refusal(404, "Not Found"))
    };
    asked.lock().unwrap().push(Asked {
        path,
        agent: header("user-agent").unwrap_or_default(),
        body: request.body,
    });
    write(stream, &answer);
}

fn write(mut stream: TcpStream, answer: &Answer) {
    let mut head = format!(
        "HTTP/1.1 {} X\r\ncontent-length: {}\r\nconnection: close\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // Who went away needs no answer.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&answer.body);
}
