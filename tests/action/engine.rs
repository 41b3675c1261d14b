//! A stand-in for the Docker Engine on a socket of its own: what it is, and the builders in containers that it has.
//!
//! What it is was recorded from Engine 28.5.2 with either image store
//! (`tests/fixtures/answers/regenerate.sh`) and trimmed to what concerns store and platform.
//! BuildKit itself is not imitated: the fake buildx stands before it. Containers and volumes are files in the folders
//! `containers` and `volumes`, where the fake buildx makes them; what is removed is noted in `removed`. A file
//! `engine.hold` makes removals wait, a file `engine.refuses` fails them.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

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
    pub(crate) fn start(socket: &Path, store: Store, folder: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let read = |name: &str| {
            fs::read_to_string(fixture(&format!("answers/engine-28.5.2-{name}.json"))).unwrap()
        };
        let version = read("version");
        let info = read(&format!("{}-info", store.name()));
        let folder = folder.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (version, info, folder) = (version.clone(), info.clone(), folder.clone());
                thread::spawn(move || answer(stream, &version, &info, &folder));
            }
        });
        Self {
            host: format!("unix://{}", socket.display()),
        }
    }
}

fn answer(mut stream: UnixStream, version: &str, info: &str, folder: &Path) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.extend(byte),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let mut words = request.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // Paths begin with the API's version, as `/v1.51`, but for the question for it.
    let parts = match parts.as_slice() {
        [version, rest @ ..] if version.starts_with("v1.") => rest,
        all => all,
    };
    let (status, body) = match (method, parts) {
        ("GET", ["version"]) => ("200 OK", version.to_owned()),
        ("GET", ["info"]) => ("200 OK", info.to_owned()),
        ("GET", ["containers", "json"]) => {
            let name = |name| json!({"Names": [format!("/{name}")]});
            let all: Vec<Value> = names(folder, "containers").into_iter().map(name).collect();
            ("200 OK", Value::from(all).to_string())
        }
        ("GET", ["volumes"]) => {
            let volume = |name| json!({"Name": name, "Driver": "local", "Mountpoint": "", "Labels": {}, "Scope": "local", "Options": {}});
            let all: Vec<Value> = names(folder, "volumes").into_iter().map(volume).collect();
            (
                "200 OK",
                json!({"Volumes": all, "Warnings": []}).to_string(),
            )
        }
        ("DELETE", [kind @ ("containers" | "volumes"), name]) => removed(folder, kind, name),
        _ => (
            "404 Not Found",
            r#"{"message":"page not found"}"#.to_owned(),
        ),
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

/// The containers or volumes that there are.
pub(crate) fn names(folder: &Path, kind: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.join(kind)).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn removed(folder: &Path, kind: &str, name: &str) -> (&'static str, String) {
    while folder.join("engine.hold").exists() {
        thread::sleep(Duration::from_millis(20));
    }
    if folder.join("engine.refuses").exists() {
        let message = json!({"message": "the Engine's disk is broken"});
        return ("500 Internal Server Error", message.to_string());
    }
    if kind == "volumes"
        && folder
            .join("containers")
            .join(name.trim_end_matches("_state"))
            .exists()
    {
        let message = json!({"message": "volume is in use"});
        return ("409 Conflict", message.to_string());
    }
    match fs::remove_file(folder.join(kind).join(name)) {
        Ok(()) => {
            let mut notes = OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join("removed"))
                .unwrap();
            writeln!(notes, "{kind}/{name}").unwrap();
            ("204 No Content", String::new())
        }
        Err(_) => (
            "404 Not Found",
            json!({"message": "no such thing"}).to_string(),
        ),
    }
}
