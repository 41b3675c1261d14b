//! A stand-in for the Docker Engine: its two answers that we ask for, on a socket of its own.
//!
//! The answers are recorded from Engine 28.5.2 with either image store
//! (`tests/fixtures/answers/regenerate.sh`) and trimmed to what concerns store and platform.
//! BuildKit itself is not imitated: the fake buildx stands before it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::runner::fixture;

/// The Engine's image store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Store {
    Containerd,
    Classic,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Classic => "classic",
        }
    }
}

/// An Engine that answers as long as the test's process lives.
pub(crate) struct Engine {
    /// For `DOCKER_HOST`.
    pub host: String,
}

impl Engine {
    pub(crate) fn start(socket: &Path, store: Store) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let read = |name: &str| {
            fs::read_to_string(fixture(&format!("answers/engine-28.5.2-{name}.json"))).unwrap()
        };
        let version = read("version");
        let info = read(&format!("{}-info", store.name()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &version, &info);
            }
        });
        Self {
            host: format!("unix://{}", socket.display()),
        }
    }
}

fn answer(mut stream: UnixStream, version: &str, info: &str) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.extend(byte),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path.rsplit('/').next() {
        Some("version") => ("200 OK", version),
        Some("info") => ("200 OK", info),
        _ => ("404 Not Found", r#"{"message":"page not found"}"#),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\n\
         Docker-Experimental: false\r\nOstype: linux\r\nServer: Docker/28.5.2 (linux)\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A client that went away needs no answer.
    let _ = stream.write_all(answer.as_bytes());
}
