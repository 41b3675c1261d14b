//! What needs the stand-in's tricks: troubles by script, faults of the API, refused credentials,
//! clocks, two BuildKits, and records of every call.

mod between;
mod cache;
mod cancel;
mod eks;
mod left;
mod load;
mod long;
mod network;
mod nodes;
mod removal;
mod stateful;
mod times;
mod troubles;
mod unchanged;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// What the default script takes from the Deployment to its ready pod.
const POD: Duration = Duration::from_millis(50 + 100 + 100 + 1000);

/// What the rig's registry answers for the manifest of an image, with its headers.
fn manifest(method: &str, image: &str) -> String {
    let (host, name) = image.split_once('/').unwrap();
    let (repository, tag) = name.rsplit_once(':').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{method} /v2/{repository}/manifests/{tag} HTTP/1.0\r\nHost: {host}\r\n\
         Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
