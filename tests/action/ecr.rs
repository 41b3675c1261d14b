//! A stand-in for Amazon ECR's API on loopback, for the real SDK.
//!
//! Unless a test says otherwise the role has the rights to push, and no other: what else is asked is
//! denied. Form: AWS JSON 1.1
//! (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>);
//! errors carry their name in `__type`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::runner::Runner;

pub(crate) const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// What the API answers to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A token with this password, good for so many minutes.
    Token(&'static str, i64),
    /// An error of this name, with this text.
    Error(&'static str, &'static str),
    /// This, as JSON.
    Json(Value),
    /// Nothing: the connection stays open.
    Silence,
}

/// What an operation answers, time after time, the last one for ever.
type Answers = Arc<Mutex<BTreeMap<String, Vec<Answer>>>>;

const TOKEN: &str = "GetAuthorizationToken";

/// A request: the operation, and what was sent.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub operation: String,
    pub body: Value,
}

/// The API, answering as long as the test's process lives.
pub(crate) struct Ecr {
    address: String,
    answers: Answers,
    asked: Arc<Mutex<Vec<Asked>>>,
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
        let (seen, answers) = (Arc::clone(&asked), Arc::clone(&all));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = request(&mut stream);
                let answer = answer(&answers, &request.operation);
                seen.lock().unwrap().push(request);
                thread::spawn(move || respond(stream, &answer));
            }
        });
        Self {
            address,
            answers: all,
            asked,
        }
    }

    /// What the role may do beyond a push, or may not: answers to another operation.
    pub(crate) fn on(self, operation: &str, answers: &[Answer]) -> Self {
        let mut all = self.answers.lock().unwrap();
        all.insert(operation.to_owned(), answers.to_vec());
        drop(all);
        self
    }

    /// With one repository of these settings, and no image.
    pub(crate) fn with_repository(self, settings: Value) -> Self {
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
        let tokens = asked.iter().filter(|asked| asked.operation == TOKEN);
        tokens
            .map(|asked| format!("{PREFIX}{}", asked.operation))
            .collect()
    }

    /// What was sent to an operation.
    pub(crate) fn asked(&self, operation: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter().filter(|asked| asked.operation == operation);
        asked.map(|asked| asked.body.clone()).collect()
    }

    /// A runner whose AWS credentials are good here.
    pub(crate) fn serve(&self, runner: Runner) -> Runner {
        runner
            .variable("AWS_ENDPOINT_URL_ECR", &self.address)
            .variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .variable("AWS_SECRET_ACCESS_KEY", "example")
            .variable("AWS_REGION", "eu-west-1")
    }
}

/// What stands before the operation in the header that names it.
const PREFIX: &str = "AmazonEC2ContainerRegistry_V20150921.";

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

/// Reads a request; what it is shows in its header `X-Amz-Target`.
fn request(stream: &mut TcpStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => target = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Asked {
        operation: target.trim_start_matches(PREFIX).to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

fn respond(mut stream: TcpStream, answer: &Answer) {
    let (status, body) = match answer {
        Answer::Token(password, minutes) => {
            let expires = Timestamp::now() + SignedDuration::from_mins(*minutes);
            let body = json!({"authorizationData": [{
                "authorizationToken": STANDARD.encode(format!("AWS:{password}")),
                "expiresAt": expires.as_second(),
                "proxyEndpoint": format!("https://{HOST}"),
            }]});
            ("200 OK", body)
        }
        Answer::Json(body) => ("200 OK", body.clone()),
        Answer::Error(name, message) => (
            "400 Bad Request",
            json!({"__type": name, "message": message}),
        ),
        Answer::Silence => {
            thread::sleep(Duration::from_secs(120));
            return;
        }
    };
    let body = body.to_string();
    // A client that went away needs no answer.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
}
