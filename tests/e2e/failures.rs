//! Builds and pushes that fail, on real BuildKit, in its own words.

use crate::rig::{Action, busybox, registry};

#[test]
fn a_failed_step_is_named_with_its_last_words_and_its_line() {
    let dockerfile = format!(
        "FROM {}\n\nRUN seq 1 50 && echo '::add-mask::1' && exit 7\n",
        busybox()
    );
    let run = Action::new(&dockerfile)
        .input("tags", &format!("{}/failures/step:1", registry()))
        .run();
    assert_eq!(run.code, 1, "{}", run.log);
    let error = run
        .log
        .lines()
        .find(|line| line.starts_with("::error"))
        .unwrap();
    assert!(
        error.starts_with("::error file=Dockerfile,line=3,"),
        "{error}"
    );
    assert!(
        error.contains("RUN seq 1 50") && error.contains("exit code: 7"),
        "{error}"
    );
    assert!(
        !run.log
            .lines()
            .any(|line| line.starts_with("::add-mask::1")),
        "{}",
        run.log
    );
    assert!(
        run.summary.starts_with("### Failed to build"),
        "{}",
        run.summary
    );
    assert!(run.summary.contains("\n50\n"), "{}", run.summary);
    assert!(run.number("total-seconds") > 0.0);
    assert!(!run.outputs.contains_key("digest"));
}

#[test]
fn a_registry_that_is_not_there_is_said_with_a_hint() {
    let run = Action::new(&format!("FROM {}\n", busybox()))
        .input("tags", "127.0.0.1:1/failures/nowhere:1")
        .run();
    assert_eq!(run.code, 1, "{}", run.log);
    assert!(run.log.contains("connection refused"), "{}", run.log);
    assert!(
        run.log.contains("hint: nothing listens at this address"),
        "{}",
        run.log
    );
}

#[test]
fn a_dockerfile_that_is_none_is_said_with_its_line() {
    let run = Action::new("FROM scratch\nBUILD something\n")
        .input("tags", &format!("{}/failures/syntax:1", registry()))
        .run();
    assert_eq!(run.code, 1, "{}", run.log);
    assert!(
        run.log.contains("unknown instruction: BUILD"),
        "{}",
        run.log
    );
    assert!(run.log.contains("file=Dockerfile,line=2"), "{}", run.log);
}
