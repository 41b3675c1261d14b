//! A stand-in for the APIs of Amazon ECR and ECR Public on loopback, for the real SDK.
//!
//! Unless a test says otherwise the role has the rights to push, and no other: what else is asked is
//! denied. Form: AWS JSON 1.1
//! (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>);
//! errors carry their name in `__type`.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::http::{self, Request};
use crate::runner::Runner;

pub(crate) const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// What the API answers to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A token with this password, good for so many minutes.
    Token(&'static str, i64),
    /// An error of this name, with this text.
    Error(&'static str, &'static str),
    /// The same, with another status than 400.
    Status(&'static str, &'static str, &'static str),
    /// This, as JSON.
    Json(Value),
    /// Nothing: the connection stays open.
    Silence,
}

/// What an operation answers, time after time, the last one for ever.
type Answers = Arc<Mutex<BTreeMap<String, Vec<Answer>>>>;

const TOKEN: &str = "GetAuthorizationToken";

/// The API, answering as long as the test's process lives.
pub(crate) struct Ecr {
    pub address: String,
    answers: Answers,
    asked: Arc<Mutex<Vec<Request>>>,
    /// Whether questions about repositories wait.
    waits: Arc<AtomicBool>,
}

impl Ecr {
    /// Answers each request for a token with the next answer, the last one for ever.
    pub(crate) fn answering(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all: Answers = Arc::default();
        all.lock()
            .unwrap()
            .insert(TOKEN.to_owned(), answers.to_vec());
        let waits = Arc::new(AtomicBool::new(false));
        let (seen, answers, wait) = (Arc::clone(&asked), Arc::clone(&all), Arc::clone(&waits));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = Request::read(&mut stream);
                let answer = answer(&answers, &operation(&request));
                let public = is_public(&request);
                let wait = (operation(&request) != TOKEN).then(|| Arc::clone(&wait));
                seen.lock().unwrap().push(request);
                thread::spawn(move || {
                    while wait
                        .as_ref()
                        .is_some_and(|wait| wait.load(Ordering::Relaxed))
                    {
                        thread::sleep(Duration::from_millis(5));
                    }
                    respond(stream, &answer, public);
                });
            }
        });
        Self {
            address,
            answers: all,
            asked,
            waits,
        }
    }

    /// Lets questions about repositories wait, or answers them.
    pub(crate) fn wait(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// What the role may do beyond a push, or may not: answers to another operation.
    pub(crate) fn on(self, operation: &str, answers: &[Answer]) -> Self {
        let mut all = self.answers.lock().unwrap();
        all.insert(operation.to_owned(), answers.to_vec());
        drop(all);
        self
    }

    /// With one repository of these settings, and no image.
    pub(crate) fn with_repository(self, settings: &Value) -> Self {
        let repositories = json!({"repositories": [settings]});
        self.on("DescribeRepositories", &[Answer::Json(repositories)])
    }

    /// Without the repository that is asked for.
    pub(crate) fn without_repository(self) -> Self {
        let missing = || {
            let words = "The repository with name 'team/app' does not exist in the registry with id '123456789012'";
            [Answer::Error("RepositoryNotFoundException", words)]
        };
        self.on("DescribeRepositories", &missing())
            .on("BatchCheckLayerAvailability", &missing())
            .on("InitiateLayerUpload", &missing())
    }

    /// The requests for tokens.
    pub(crate) fn requests(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let tokens = asked.iter().filter(|asked| operation(asked) == TOKEN);
        tokens
            .map(|asked| asked.header("x-amz-target").to_owned())
            .collect()
    }

    /// What was sent to an operation.
    pub(crate) fn asked(&self, name: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter().filter(|asked| operation(asked) == name);
        asked
            .map(|asked| serde_json::from_str(&asked.body).unwrap())
            .collect()
    }

    /// Whose keys signed the requests for tokens, and for which region: `AKIDEXAMPLE eu-west-1`.
    pub(crate) fn signed(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let tokens = asked.iter().filter(|asked| operation(asked) == TOKEN);
        tokens.map(Request::signed).collect()
    }

    /// A runner whose AWS credentials are good here.
    pub(crate) fn serve(&self, runner: Runner) -> Runner {
        runner
            .variable("AWS_ENDPOINT_URL_ECR", &self.address)
            .variable("AWS_ENDPOINT_URL_ECR_PUBLIC", &self.address)
            .variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .variable("AWS_SECRET_ACCESS_KEY", "example")
            .variable("AWS_REGION", "eu-west-1")
    }
}

fn answer(answers: &Answers, operation: &str) -> Answer {
    let mut answers = answers.lock().unwrap();
    match (answers.get_mut(operation), operation) {
        (Some(of_it), _) if of_it.len() > 1 => of_it.remove(0),
        (Some(of_it), _) => of_it[0].clone(),
        (None, "BatchCheckLayerAvailability") => {
            Answer::Json(json!({"layers": [], "failures": []}))
        }
        (None, "BatchGetImage") => Answer::Json(json!({"images": [], "failures": []})),
        (None, "InitiateLayerUpload") => Answer::Json(
            json!({"uploadId": "4b8a2a4e-0000-4000-8000-000000000000", "partSize": 10_485_760}),
        ),
        (None, "UploadLayerPart" | "CompleteLayerUpload") => {
            Answer::Error("UploadNotFoundException", "The upload does not exist")
        }
        (None, _) => Answer::Error("AccessDeniedException", "User: tester is not authorized"),
    }
}

/// What a request asks for.
fn operation(request: &Request) -> String {
    let target = request.header("x-amz-target");
    target.rsplit('.').next().unwrap_or_default().to_owned()
}

/// ECR Public's operations are those of a service with another name.
fn is_public(request: &Request) -> bool {
    let target = request.header("x-amz-target");
    target.starts_with("SpencerFrontendService.")
}

fn respond(stream: TcpStream, answer: &Answer, public: bool) {
    let (status, body) = match answer {
        Answer::Token(password, minutes) => {
            let expires = Timestamp::now() + SignedDuration::from_mins(*minutes);
            let mut data = serde_json::json!({
                "authorizationToken": STANDARD.encode(format!("AWS:{password}")),
                "expiresAt": expires.as_second(),
            });
            if !public {
                data["proxyEndpoint"] = format!("https://{HOST}").into();
                data = serde_json::json!([data]);
            }
            ("200 OK", serde_json::json!({ "authorizationData": data }))
        }
        Answer::Json(body) => ("200 OK", body.clone()),
        Answer::Error(name, message) => (
            "400 Bad Request",
            json!({"__type": name, "message": message}),
        ),
        Answer::Status(status, name, message) => {
            (*status, json!({"__type": name, "message": message}))
        }
        Answer::Silence => {
            thread::sleep(Duration::from_secs(120));
            return;
        }
    };
    let body = body.to_string();
    http::send(stream, status, "application/x-amz-json-1.1", &body);
}
