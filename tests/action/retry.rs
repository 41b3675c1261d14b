//! What failed in a way that passes is done again, and nothing else.

use std::time::Duration;

use rustix::process::Signal;

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
        .says("this passes: the push is tried again in ")
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
        ran.says("hint: the registry is in trouble");
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
