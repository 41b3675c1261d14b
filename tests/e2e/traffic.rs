//! What went to the rig's registry and came from it, by its access log (Apache's combined format).
//!
//! The log tells bytes of answers only: an upload is known by the digest in its last request.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

/// Requests of a stretch of time.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: Vec<Request>,
}

/// One request.
#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    status: u16,
    bytes: u64,
}

/// Does something, and tells what went over the wire meanwhile.
pub(crate) fn during<T>(work: impl FnOnce() -> T) -> (Traffic, T) {
    let path = std::env::var("RIG_REGISTRY_LOG").expect("the rig's registry has a log");
    let mut log = std::fs::File::open(path).unwrap();
    let begin = log.seek(SeekFrom::End(0)).unwrap();
    let done = work();
    // An answer is logged behind its last byte.
    std::thread::sleep(Duration::from_millis(50));
    log.seek(SeekFrom::Start(begin)).unwrap();
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    let requests = text.lines().filter_map(request).collect();
    (Traffic { requests }, done)
}

/// `127.0.0.1 - - [24/Nov/2026:13:45:28 +0000] "GET /v2/… HTTP/1.1" 200 1240 "" "buildkit/v0.0-dev"`.
fn request(line: &str) -> Option<Request> {
    let mut quoted = line.split('"');
    let mut first = quoted.nth(1)?.split(' ');
    let mut numbers = quoted.next()?.split_whitespace();
    Some(Request {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        status: numbers.next()?.parse().ok()?,
        bytes: numbers.next()?.parse().unwrap_or(0),
    })
}

impl Traffic {
    fn of<'a>(&'a self, repository: &str, method: &'a str) -> impl Iterator<Item = &'a Request> {
        let start = format!("/v2/{repository}/");
        self.requests
            .iter()
            .filter(move |request| request.method == method && request.path.starts_with(&start))
    }

    /// Digests of the blobs that were downloaded from a repository.
    pub(crate) fn downloaded(&self, repository: &str) -> BTreeSet<String> {
        self.of(repository, "GET")
            .filter_map(|request| Some(request.path.rsplit_once("/blobs/")?.1.to_owned()))
            .collect()
    }

    /// Digests of the blobs that were uploaded, one entry for each time.
    pub(crate) fn uploaded(&self, repository: &str) -> Vec<String> {
        self.of(repository, "PUT")
            .filter_map(|request| Some(request.path.rsplit_once("digest=sha256%3A")?.1))
            .map(|hex| format!("sha256:{hex}"))
            .collect()
    }

    /// Repository and digest of all uploaded blobs, one entry for each time.
    pub(crate) fn all_uploaded(&self) -> Vec<(&str, String)> {
        self.requests
            .iter()
            .filter(|request| request.method == "PUT")
            .filter_map(|request| {
                let (path, hex) = request.path.rsplit_once("digest=sha256%3A")?;
                let (repository, _) = path.strip_prefix("/v2/")?.split_once("/blobs/")?;
                Some((repository, format!("sha256:{hex}")))
            })
            .collect()
    }

    /// Names or digests of the manifests that were written.
    pub(crate) fn written(&self, repository: &str) -> Vec<String> {
        self.of(repository, "PUT")
            .filter_map(|request| Some(request.path.rsplit_once("/manifests/")?.1.to_owned()))
            .collect()
    }

    /// Bytes of all answers.
    pub(crate) fn bytes_down(&self) -> u64 {
        self.requests
            .iter()
            .filter(|request| request.method == "GET" && request.status == 200)
            .map(|request| request.bytes)
            .sum()
    }
}
