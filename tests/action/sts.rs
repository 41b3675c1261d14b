//! A stand-in for AWS STS and for GitHub's issuer of tokens, on loopback, for the real SDK.
//!
//! Form: AWS Query
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>), and
//! `{"value": "<JWT>"}` (<https://docs.github.com/actions/reference/security/oidc>).

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use crate::http::{self, Request};
use crate::runner::Runner;

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/deploy";

/// What is secret: GitHub's token for the request, the JWT's signature, the session's keys.
pub(crate) const BEARER: &str = "bearer-canary-0123456789";
pub(crate) const SIGNATURE: &str = "jwt-canary-0123456789";
pub(crate) const KEY: &str = "ASIACANARYSESSIONKEY";
pub(crate) const SECRET: &str = "sts-canary-secret-0123456789";
pub(crate) const TOKEN: &str = "sts-canary-token-0123456789";

/// What STS, or the issuer, answers to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Keys, good for so many minutes.
    Keys(i64),
    /// An HTTP status, and an error of this name with this text.
    Error(u16, &'static str, &'static str),
    /// The connection is cut.
    Cut,
}

/// Both services, answering as long as the test's process lives.
pub(crate) struct Sts {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Sts {
    /// Answers each request of STS with the next answer, the last one for ever; the issuer always
    /// gives a token, another one each time.
    pub(crate) fn answering(answers: &[Answer]) -> Self {
        Self::with_issuer(answers, &[Answer::Keys(0)])
    }

    /// The issuer, too, answers as it is told; `Keys` stands for a token.
    pub(crate) fn with_issuer(answers: &[Answer], issuer: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::<Request>::new()));
        let (seen, answers, issuer) = (Arc::clone(&requests), answers.to_vec(), issuer.to_vec());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = Request::read(&mut stream);
                let mut seen = seen.lock().unwrap();
                let is_token = |request: &Request| request.line.starts_with("GET ");
                let kind = is_token(&request);
                let count = seen.iter().filter(|other| is_token(other) == kind).count();
                let list = if kind { &issuer } else { &answers };
                let answer = list[count.min(list.len() - 1)].clone();
                seen.push(request.clone());
                if kind {
                    issue(stream, &answer, count);
                } else {
                    respond(stream, &answer, &request);
                }
            }
        });
        Self { address, requests }
    }

    /// What was asked for: `token AUDIENCE`, or an action of STS with its parameters.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The names of what was asked for, in order: `token`, `AssumeRole`…
    pub(crate) fn asked(&self) -> Vec<String> {
        let name = |request: &Request| match request.line.starts_with("GET ") {
            true => "token".to_owned(),
            false => parameter(request, "Action"),
        };
        self.requests().iter().map(name).collect()
    }

    /// A job with `id-token: write` and a role to assume, without other AWS credentials.
    pub(crate) fn serve(&self, runner: Runner) -> Runner {
        let url = format!("{}/token?api-version=2.0", self.address);
        runner
            .without("AWS_ACCESS_KEY_ID")
            .without("AWS_SECRET_ACCESS_KEY")
            .variable("AWS_ENDPOINT_URL_STS", &self.address)
            .variable("AWS_REGION", "eu-west-1")
            .variable("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            .variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", BEARER)
            .input("role-to-assume", ROLE)
    }
}

/// A parameter of a form, decoded as far as tests need it.
pub(crate) fn parameter(request: &Request, name: &str) -> String {
    let mut pairs = request
        .body
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let value = pairs
        .find(|(other, _)| *other == name)
        .map_or("", |(_, value)| value);
    value.replace("%3A", ":").replace("%2F", "/")
}

fn issue(stream: TcpStream, answer: &Answer, count: usize) {
    match answer {
        Answer::Keys(_) => {
            let claims = r#"{"sub":"repo:octo/app:ref:refs/heads/main","aud":"sts.amazonaws.com"}"#;
            let payload = URL_SAFE_NO_PAD.encode(claims);
            let body = format!(r#"{{"value":"e30.{payload}.{SIGNATURE}-{count}"}}"#);
            http::send(stream, "200 OK", "application/json", &body);
        }
        Answer::Error(status, _, text) => {
            http::send(stream, &format!("{status} No"), "text/plain", text);
        }
        Answer::Cut => drop(stream),
    }
}

fn respond(stream: TcpStream, answer: &Answer, request: &Request) {
    let action = parameter(request, "Action");
    let (status, body) = match answer {
        Answer::Keys(_) if action == "GetCallerIdentity" => (
            "200 OK".to_owned(),
            "<GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/ci</Arn>\
             <Account>123456789012</Account></GetCallerIdentityResult>"
                .to_owned(),
        ),
        Answer::Keys(minutes) => {
            let expires = Timestamp::now() + SignedDuration::from_mins(*minutes);
            let body = format!(
                "<{action}Result><AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId>\
                 <Arn>arn:aws:sts::123456789012:assumed-role/deploy/GitHubActions</Arn></AssumedRoleUser>\
                 <Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
                 <SessionToken>{TOKEN}</SessionToken><Expiration>{expires:.0}</Expiration></Credentials>\
                 </{action}Result>"
            );
            ("200 OK".to_owned(), body)
        }
        Answer::Error(status, code, message) => (
            format!("{status} No"),
            format!(
                "<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            ),
        ),
        Answer::Cut => return drop(stream),
    };
    let root = if status == "200 OK" {
        format!("{action}Response")
    } else {
        "ErrorResponse".to_owned()
    };
    let body = format!(
        "<{root} xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{body}<RequestId>x</RequestId></{root}>"
    );
    http::send(stream, &status, "text/xml", &body);
}
