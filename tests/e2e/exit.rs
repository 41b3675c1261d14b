//! BuildKit exits in its container during a build.

use std::net::TcpListener;
use std::thread;

use crate::abandoned::{containers, job, wait_for};
use crate::rig::{Classic, busybox};

#[test]
fn the_error_has_the_exit_code_that_the_engine_knows() {
    let engine = Classic::alone();
    // Builds until the connection is closed.
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    gate.set_nonblocking(true).unwrap();
    let port = gate.local_addr().unwrap().port();
    let slow = format!("FROM {}\nRUN nc 127.0.0.1 {port}\n", busybox());
    let host = engine.host.clone();
    let build = thread::spawn(move || job(&host, &slow, "exit"));
    let _held = wait_for("step that runs", || gate.accept().ok());
    engine.docker(&["kill", containers(&engine).trim()]);
    let ended = build.join().unwrap();
    assert_eq!(ended.code, Some(3), "{}", ended.log());
    let error = "was lost during the build: BuildKit exited (exit code 137)";
    assert!(ended.log().contains(error), "{}", ended.log());
    assert_eq!(containers(&engine), "");
}
