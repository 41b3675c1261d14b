//! A stand-in for the APIs of Amazon ECR and ECR Public on loopback, for the real SDK:
//! `GetAuthorizationToken` alone.
//!
//! Form: AWS JSON 1.1
//! (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>);
//! errors carry their name in `__type`.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

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
    /// Nothing: the connection stays open.
    Silence,
}

/// The API, answering as long as the test's process lives.
pub(crate) struct Ecr {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Ecr {
    /// Answers each request with the next answer, the last one for ever.
    pub(crate) fn answering(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answers) = (Arc::clone(&requests), answers.to_vec());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = Request::read(&mut stream);
                let mut seen = seen.lock().unwrap();
                seen.push(request);
                let answer = answers[(seen.len() - 1).min(answers.len() - 1)].clone();
                let public = seen.last().is_some_and(is_public);
                thread::spawn(move || respond(stream, &answer, public));
            }
        });
        Self { address, requests }
    }

    /// The operations that were asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|request| request.header("x-amz-target").to_owned())
            .collect()
    }

    /// Whose keys signed the requests, and for which region: `AKIDEXAMPLE eu-west-1`.
    pub(crate) fn signed(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(Request::signed).collect()
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
        Answer::Error(name, message) => (
            "400 Bad Request",
            serde_json::json!({"__type": name, "message": message}),
        ),
        Answer::Silence => {
            thread::sleep(Duration::from_secs(120));
            return;
        }
    };
    let body = body.to_string();
    http::send(stream, status, "application/x-amz-json-1.1", &body);
}
