//! A stand-in for the Docker Engine on a socket of its own: what it is, and the builders in containers that it has.
//!
//! What it is was recorded from Engine 28.5.2 with either image store
//! (`tests/fixtures/answers/regenerate.sh`) and trimmed to what concerns store and platform.
//! BuildKit itself is not imitated: the fake buildx stands before it. Containers and volumes are files in the folders
//! `containers` and `volumes`, where the fake buildx makes them; what is removed is noted in `removed`. A file
//! `engine.hold` makes removals wait, a file `engine.refuses` fails them. A container was created when its file was written.
//! Commands in containers run until whoever holds them goes; each line of a file `engine.commands` is what becomes of one
//! instead: `refused`, or `ends`. A client has to name itself. With a file `engine.silent` it does not list them.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

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

/// A command in a container.
struct Command {
    container: String,
    running: bool,
}

/// All that there were; a command's id is its place.
type Commands = Arc<Mutex<Vec<Command>>>;

impl Engine {
    pub(crate) fn start(socket: &Path, store: Store, folder: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let read = |name: &str| {
            fs::read_to_string(fixture(&format!("answers/engine-28.5.2-{name}.json"))).unwrap()
        };
        let version = read("version");
        let info = read(&format!("{}-info", store.name()));
        let folder = folder.to_owned();
        let commands = Commands::default();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (version, info, folder) = (version.clone(), info.clone(), folder.clone());
                let commands = commands.clone();
                thread::spawn(move || answer(stream, &version, &info, &folder, &commands));
            }
        });
        Self {
            host: format!("unix://{}", socket.display()),
        }
    }
}

fn answer(
    mut stream: UnixStream,
    version: &str,
    info: &str,
    folder: &Path,
    commands: &Mutex<Vec<Command>>,
) {
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
    let names_itself = request
        .to_ascii_lowercase()
        .contains("\r\nuser-agent: fast-ecr-push/");
    let (status, body) = match (method, parts) {
        _ if !names_itself => (
            "400 Bad Request",
            json!({"message": "the client does not name itself"}).to_string(),
        ),
        ("GET", ["version"]) => ("200 OK", version.to_owned()),
        ("GET", ["info"]) => ("200 OK", info.to_owned()),
        ("GET", ["containers", "json"]) => {
            let named = names(folder, "containers").into_iter();
            let container = |name: String| {
                let file = folder.join("containers").join(&name);
                let created = fs::metadata(file).and_then(|file| file.modified()).ok()?;
                let created = created.duration_since(UNIX_EPOCH).unwrap().as_secs();
                Some(json!({"Names": [format!("/{name}")], "Created": created}))
            };
            let all: Vec<Value> = named.filter_map(container).collect();
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
        ("GET", ["containers", name, "json"]) => {
            let commands = commands.lock().unwrap();
            let here = commands.iter().enumerate();
            let here = here.filter(|(_, command)| command.container == *name);
            let ids: Vec<String> = here.map(|(id, _)| id.to_string()).collect();
            let ids = (!folder.join("engine.silent").exists()).then_some(ids);
            ("200 OK", json!({"ExecIDs": ids}).to_string())
        }
        ("POST", ["containers", name, "exec"]) => {
            body(&mut stream, &request);
            let mut commands = commands.lock().unwrap();
            let there = folder.join("containers").join(name).exists();
            let trouble = if there {
                next_trouble(folder)
            } else {
                String::new()
            };
            if !there || trouble == "refused" {
                (
                    "409 Conflict",
                    r#"{"message":"the container is not running"}"#.to_owned(),
                )
            } else {
                commands.push(Command {
                    container: (*name).to_owned(),
                    running: trouble != "ends",
                });
                let id = commands.len() - 1;
                ("201 Created", json!({"Id": id.to_string()}).to_string())
            }
        }
        ("GET", ["exec", id, "json"]) => {
            let running = commands.lock().unwrap()[id.parse::<usize>().unwrap()].running;
            ("200 OK", json!({"ID": id, "Running": running}).to_string())
        }
        ("POST", ["exec", id, "start"]) => {
            body(&mut stream, &request);
            let id: usize = id.parse().unwrap();
            let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\
                        Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
            let held = commands.lock().unwrap()[id].running;
            if stream.write_all(head.as_bytes()).is_ok() && held {
                // Until the other end goes.
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
            commands.lock().unwrap()[id].running = false;
            return;
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

/// Reads a request's body.
fn body(stream: &mut UnixStream, request: &str) {
    let request = request.to_ascii_lowercase();
    let (_, rest) = request.split_once("content-length: ").unwrap();
    let (length, _) = rest.split_once("\r\n").unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
}

/// What becomes of the next command, which is taken off the list.
fn next_trouble(folder: &Path) -> String {
    let file = folder.join("engine.commands");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let (first, rest) = text.split_once('\n').unwrap_or_default();
    if !text.is_empty() {
        fs::write(file, rest).unwrap();
    }
    first.to_owned()
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
