//! The registry's own answers, asked without any of our code.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::rig::registry;

/// GET of a path; status and body.
pub(crate) fn get(path: &str) -> (u16, Vec<u8>) {
    let host = registry();
    let mut stream = TcpStream::connect(&host).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/vnd.oci.image.manifest.v1+json, \
         application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

/// The manifest that a tag or digest names.
pub(crate) fn manifest(repository: &str, reference: &str) -> serde_json::Value {
    let (status, body) = get(&format!("/v2/{repository}/manifests/{reference}"));
    assert_eq!(status, 200, "{repository}:{reference}");
    serde_json::from_slice(&body).unwrap()
}

/// The digests of a manifest's layers.
pub(crate) fn digests(manifest: &serde_json::Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}
