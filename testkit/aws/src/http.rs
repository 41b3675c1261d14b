//! The least client: JSON over plain HTTP, for tests that have no asynchronous runtime.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Sends a request to an `http://` address and returns status and body.
///
/// # Panics
///
/// Where nobody answers: a test fails then.
#[must_use]
#[expect(clippy::expect_used, reason = "a test's harness fails by panics")]
pub fn send(method: &str, address: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let rest = address.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).expect("the stand-in listens");
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .expect("an open connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}
