//! A stand-in for Amazon ECR's API on loopback, for the real SDK: `GetAuthorizationToken` alone.
//!
//! Form: AWS JSON 1.1
//! (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>);
//! errors carry their name in `__type`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

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
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
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
                let request = request(&mut stream);
                let mut seen = seen.lock().unwrap();
                seen.push(request);
                let answer = answers[(seen.len() - 1).min(answers.len() - 1)].clone();
                thread::spawn(move || respond(stream, &answer));
            }
        });
        Self { address, requests }
    }

    /// The operations that were asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
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

/// Reads a request; what it is shows in its header `X-Amz-Target`.
fn request(stream: &mut TcpStream) -> String {
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
    reader.read_exact(&mut vec![0; length]).unwrap();
    target
}

fn respond(mut stream: TcpStream, answer: &Answer) {
    let (status, body) = match answer {
        Answer::Token(password, minutes) => {
            let expires = Timestamp::now() + SignedDuration::from_mins(*minutes);
            let body = serde_json::json!({"authorizationData": [{
                "authorizationToken": STANDARD.encode(format!("AWS:{password}")),
                "expiresAt": expires.as_second(),
                "proxyEndpoint": format!("https://{HOST}"),
            }]});
            ("200 OK", body)
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
    // A client that went away needs no answer.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
}
