//! As much of HTTP as stand-ins for AWS and GitHub need: one request on a connection, one answer.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// A request: its first line, its headers by lower-case name, its body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub line: String,
    headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut request = Self::default();
        reader.read_line(&mut request.line).unwrap_or(0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let name = name.to_ascii_lowercase();
            request.headers.insert(name, value.trim().to_owned());
        }
        let length = request.header("content-length").parse().unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        request.body = String::from_utf8(body).unwrap();
        request
    }

    /// A header's value; empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Whose key signed it and for which region, `AKIDEXAMPLE eu-west-1`; empty where it is not signed.
    pub(crate) fn signed(&self) -> String {
        let header = self.header("authorization");
        let Some((_, scope)) = header.split_once("Credential=") else {
            return String::new();
        };
        let parts: Vec<&str> = scope.split('/').collect();
        format!("{} {}", parts[0], parts[2])
    }
}

pub(crate) fn send(mut stream: TcpStream, status: &str, kind: &str, body: &str) {
    // A client that went away needs no answer.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
}
