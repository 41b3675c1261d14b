//! The Engine goes on with what it was asked for when who asked is stopped: a builder's container, or its volume alone, comes
//! when the run is being cleaned up, or after its end.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::cancel::{IN_TIME, Work};
use crate::rig::variable;

/// What comes of the request for a container, and when.
#[derive(Clone, Copy, Debug)]
struct Late {
    /// The volume alone, as when the Engine was stopped half-way.
    half: bool,
    /// At which question for the Engine's version: the first is the run's at its start, the second comes before it makes a
    /// builder, the third begins the run's cleaning up, the fourth that of the post step.
    at: u32,
    /// Later than that.
    after: Duration,
}

const LATE: [(&str, Late); 2] = [
    (
        "the volume, while the run cleans up",
        Late {
            half: true,
            at: 3,
            after: Duration::from_millis(200),
        },
    ),
    (
        "the container, after the run's end",
        Late {
            half: false,
            at: 4,
            after: Duration::ZERO,
        },
    ),
];

#[test]
fn what_the_engine_makes_of_a_builder_when_its_run_was_cancelled_is_removed() {
    for (name, late) in LATE {
        // A machine with other work to do takes longer until buildx asks for the container.
        let tries = [2, 5, 15].into_iter().map(|seconds| {
            let mut work = Work::new();
            let engine = Engine::before(&variable("DOCKER_HOST"), late);
            work.runner = work.runner.engine(&engine.address());
            let (main, post) = work
                .step("docker-container")
                .cancelled_at("starting the builder", 1, Duration::from_secs(seconds))
                .main_and_post();
            (work, engine, main, post)
        });
        let mut tries = tries.skip_while(|(_, engine, ..)| !engine.was_asked());
        let (work, engine, main, post) = tries.next().expect("a request for a container");
        assert_eq!(main.code, Some(130), "{name}: {}", main.log());
        assert!(
            main.cancelled.unwrap() < IN_TIME,
            "{name}: {:?}",
            main.cancelled
        );
        assert!(engine.came(), "{name}: {}", main.log());
        work.has_left_nothing(name, &main, &post);
    }
}

/// An Engine that is slow to make containers, and goes on when nobody waits for it any more.
struct Engine {
    socket: PathBuf,
    state: Arc<State>,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct State {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    asked: bool,
    versions: u32,
    came: bool,
}

impl Engine {
    fn before(real: &str, late: Late) -> Self {
        let real = PathBuf::from(real.strip_prefix("unix://").expect("a socket"));
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (real, state) = (real.clone(), Arc::clone(&shared));
                // Who went away is no matter of ours.
                thread::spawn(move || serve(client?, &real, &state, late));
            }
            io::Result::Ok(())
        });
        Self {
            socket,
            state,
            _folder: folder,
        }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Whether somebody asked for a container.
    fn was_asked(&self) -> bool {
        self.state.progress.lock().unwrap().asked
    }

    fn came(&self) -> bool {
        self.state.progress.lock().unwrap().came
    }
}

/// Passes one request on, and lets the connection end with its answer.
fn serve(mut client: UnixStream, real: &Path, state: &State, late: Late) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length, mut upgrade) = (Vec::new(), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(text) = lower.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        upgrade |= lower.starts_with("upgrade:");
        head.push(line);
    }
    let Some(first) = head.first().cloned() else {
        return Ok(());
    };
    if !upgrade {
        head.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        head.push("Connection: close\r\n".to_owned());
    }
    let mut request = (head.concat() + "\r\n").into_bytes();
    if first.contains("/containers/create?") {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request.extend(body);
        let mut came = state.progress.lock().unwrap();
        came.asked = true;
        let asked = state
            .changed
            .wait_while(came, |progress| progress.versions < late.at);
        drop(asked);
        thread::sleep(late.after);
        if late.half {
            request = volume(&first);
        }
        let mut engine = UnixStream::connect(real)?;
        engine.write_all(&request)?;
        let mut answer = Vec::new();
        engine.read_to_end(&mut answer)?;
        assert!(
            answer.starts_with(b"HTTP/1.1 201"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        state.progress.lock().unwrap().came = true;
        state.changed.notify_all();
        return client.write_all(&answer);
    }
    if first.contains("/version ") {
        let mut progress = state.progress.lock().unwrap();
        progress.versions += 1;
        state.changed.notify_all();
        if progress.versions == late.at && late.after.is_zero() {
            drop(
                state
                    .changed
                    .wait_while(progress, |progress| !progress.came),
            );
        }
    }
    let mut engine = UnixStream::connect(real)?;
    engine.write_all(&request)?;
    let mut up = engine.try_clone()?;
    thread::spawn(move || {
        io::copy(&mut reader, &mut up)?;
        up.shutdown(std::net::Shutdown::Write)
    });
    io::copy(&mut engine, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}

/// The request for the volume of the container that a request's first line names.
fn volume(first: &str) -> Vec<u8> {
    let (_, name) = first.split_once("name=").expect("a name");
    let name = name.split(['&', ' ']).next().unwrap();
    let body = format!("{{\"Name\":\"{name}_state\"}}");
    let head = "POST /volumes/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nConnection: close";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
