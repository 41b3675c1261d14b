//! What is in the registry before a push.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

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

/// Status and body of an answer.
fn ask(host: &str, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}
