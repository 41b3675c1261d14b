//! BuildKit exits in its container during a build.

use std::net::TcpListener;
use std::thread;

use crate::abandoned::{containers, job, wait_for};
use crate::rig::{Classic, busybox};
use crate::runner::Ended;

/// The run of a build whose container is ended by a command of Docker's while a step runs.
fn ended_by(command: &[&str]) -> Ended {
    let engine = Classic::alone();
    // Builds until the connection is closed.
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    gate.set_nonblocking(true).unwrap();
    let port = gate.local_addr().unwrap().port();
    let slow = format!("FROM {}\nRUN nc 127.0.0.1 {port}\n", busybox());
    let host = engine.host.clone();
    let build = thread::spawn(move || job(&host, &slow, "exit"));
    let _held = wait_for("step that runs", || gate.accept().ok());
    let container = containers(&engine);
    engine.docker(&[command, &[container.trim()]].concat());
    let ended = build.join().unwrap();
    assert_eq!(ended.code, Some(3), "{}", ended.log());
    assert_eq!(containers(&engine), "");
    ended
}

#[test]
fn the_error_has_the_exit_code_that_the_engine_knows() {
    let ended = ended_by(&["kill"]);
    let error = "was lost during the build: BuildKit exited (exit code 137)";
    assert!(ended.log().contains(error), "{}", ended.log());
}
