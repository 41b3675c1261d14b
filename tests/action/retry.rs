//! What failed in a way that passes is done again, and nothing else.

use std::time::Duration;

use rustix::process::Signal;

use crate::engine::Store;
use crate::runner::{Runner, recorded};

/// The recorded push that a registry refused, as if it had been in trouble.
fn trouble(words: &str) -> String {
    recorded("push-forbidden").replace("403 Forbidden", words)
}

#[test]
fn a_push_that_failed_in_passing_is_tried_again_and_told_of() {
    let ran = Runner::new()
        .stream(&trouble("503 Service Unavailable"))
        .second_stream(&recorded("cached-push"))
        .run()
        .exits(0);
    assert_eq!(
        ran.verbs().iter().filter(|verb| **verb == "build").count(),
        2
    );
    ran.says("503 Service Unavailable")
        .says("this is temporary: the push is tried again in ")
        .says("Build, attempt 2");
    assert_eq!(ran.annotations("warning").len(), 1, "{}", ran.log);
    assert_eq!(ran.annotations("error").len(), 0, "{}", ran.log);
    assert!(ran.summary.contains("1 retry"), "{}", ran.summary);
    assert!(ran.outputs["timings"].contains("503 Service Unavailable"));
}

#[test]
fn it_is_tried_as_often_as_the_input_says() {
    for (retries, builds) in [("0", 1), ("1", 2)] {
        let ran = Runner::new()
            .input("retries", retries)
            .stream(&trouble("503 Service Unavailable"))
            .run()
            .exits(1);
        assert_eq!(
            ran.verbs().iter().filter(|verb| **verb == "build").count(),
            builds
        );
        ran.says("hint: the registry has a problem");
    }
}

#[test]
fn what_will_be_the_same_and_steps_that_fail_are_not_tried_again() {
    for stream in [recorded("push-forbidden"), recorded("failing-run")] {
        let ran = Runner::new().stream(&stream).run().exits(1);
        assert_eq!(
            ran.verbs().iter().filter(|verb| **verb == "build").count(),
            1
        );
    }
}

#[test]
fn a_cancelled_run_does_not_wait_for_the_next_try() {
    let mut running = Runner::new()
        .stream(&trouble("503 Service Unavailable"))
        .start();
    running.wait_until("the wait", |runner| {
        std::fs::read_to_string(runner.path("stdout"))
            .is_ok_and(|log| log.contains("is tried again in"))
    });
    running.signal(Signal::TERM);
    let ran = running.finish().exits(130);
    assert!(ran.took < Duration::from_secs(1), "{:?}", ran.took);
    assert_eq!(
        ran.verbs().iter().filter(|verb| **verb == "build").count(),
        1
    );
}

/// What buildx says when a builder's image could not be pulled, or its BuildKit not be dialled.
const BOOT_TROUBLES: [&str; 3] = [
    "ERROR: Error response from daemon: Get \"https://registry-1.docker.io/v2/\": net/http: TLS handshake timeout",
    "ERROR: failed to dial: write tcp 10.0.0.1:1->10.0.0.2:443: write: connection reset by peer",
    "ERROR: error dialing backend: remote error: tls: internal error",
];

fn creations(ran: &crate::ran::Ran) -> usize {
    let calls = ran.calls.iter();
    calls.filter(|call| call.starts_with("create ")).count()
}

#[test]
fn a_builder_that_did_not_boot_for_a_passing_reason_is_started_again() {
    for trouble in BOOT_TROUBLES {
        let ran = Runner::new()
            .engine(Store::Classic)
            .buildx("create.troubles", &format!("{trouble}\n"))
            .run()
            .exits(0);
        assert_eq!(creations(&ran), 2, "{}", ran.log);
        ran.says(trouble)
            .says("this is temporary: starting the builder again in ")
            .removed_its_builder();
        assert_eq!(ran.annotations("warning").len(), 1, "{}", ran.log);
        assert!(ran.summary.contains("1 retry"), "{}", ran.summary);
        assert!(ran.outputs["timings"].contains("the start of the builder"));
    }
}

#[test]
fn a_builder_is_started_as_often_as_the_input_says_and_only_for_a_passing_reason() {
    let passing = format!("{}\n", BOOT_TROUBLES[0]).repeat(3);
    let lasting = "ERROR: Error response from daemon: no such image\n".to_owned();
    for (retries, troubles, expected) in
        [("0", &passing, 1), ("1", &passing, 2), ("2", &lasting, 1)]
    {
        let ran = Runner::new()
            .engine(Store::Classic)
            .input("retries", retries)
            .buildx("create.troubles", troubles)
            .run()
            .exits(3);
        assert_eq!(creations(&ran), expected, "{}", ran.log);
        ran.says("could not start the builder")
            .removed_its_builder();
    }
}

#[test]
fn a_cancelled_run_does_not_wait_for_the_next_start_of_its_builder() {
    let mut running = Runner::new()
        .engine(Store::Classic)
        .buildx("create.troubles", &format!("{}\n", BOOT_TROUBLES[0]))
        .start();
    running.wait_until("the wait", |runner| {
        std::fs::read_to_string(runner.path("stdout"))
            .is_ok_and(|log| log.contains("starting the builder again in"))
    });
    running.signal(Signal::TERM);
    let ran = running.finish().exits(130);
    assert!(ran.took < Duration::from_secs(2), "{:?}", ran.took);
    assert_eq!(creations(&ran), 1);
    ran.removed_its_builder();
}
