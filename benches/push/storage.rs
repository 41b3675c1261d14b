//! What is in the registry before a push.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKERS: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Gives a repository the layers of an image in another one.
pub(super) fn mount(host: &str, from: &str, tag: &str, into: &str) {
    let (status, manifest) = ask(host, "GET", &format!("/v2/{from}/manifests/{tag}"));
    assert_eq!(status, 200, "{from}:{tag}");
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let path = format!("/v2/{into}/blobs/uploads/?mount={digest}&from={from}");
        assert_eq!(ask(host, "POST", &path).0, 201, "{digest}");
    }
}

/// Gives an image one more tag.
pub(super) fn tag(host: &str, repository: &str, tag: &str, other: &str) {
    let (status, manifest) = ask(host, "GET", &format!("/v2/{repository}/manifests/{tag}"));
    assert_eq!(status, 200, "{repository}:{tag}");
    let path = format!("/v2/{repository}/manifests/{other}");
    assert_eq!(send(host, "PUT", &path, &manifest).0, 201, "{path}");
}

/// Bytes of the layers that an image has and another one does not have.
pub(super) fn new_bytes(host: &str, repository: &str, tag: &str, other: &str) -> u64 {
    let [new, old] = [tag, other].map(|tag| {
        let (_, manifest) = ask(host, "GET", &format!("/v2/{repository}/manifests/{tag}"));
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        manifest["layers"].as_array().unwrap().clone()
    });
    let is_new = |layer: &&Value| !old.iter().any(|other| other["digest"] == layer["digest"]);
    let sizes = new
        .iter()
        .filter(is_new)
        .map(|layer| layer["size"].as_u64());
    sizes.flatten().sum()
}

fn ask(host: &str, method: &str, path: &str) -> (u16, String) {
    send(host, method, path, "")
}

/// Status and body of an answer.
fn send(host: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let kind = if body.contains(DOCKERS) {
        DOCKERS
    } else {
        MANIFEST
    };
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAccept: {MANIFEST}, {DOCKERS}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}
