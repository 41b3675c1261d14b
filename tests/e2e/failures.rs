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
    assert_eq!(run.code, Some(1), "{}", run.log());
    let errors = run.in_files("error");
    assert_eq!(errors.len(), 1, "{}", run.log());
    let (message, at) = (&errors[0].message, &errors[0].properties);
    assert_eq!((&*at["file"], &*at["line"]), ("Dockerfile", "3"));
    assert!(
        message.contains("RUN seq 1 50") && message.contains("exit code: 7"),
        "{message}"
    );
    assert!(!run.log.masks.contains(&"1".to_owned()), "{}", run.log());
    assert!(
        run.values.summary.starts_with("### Failed to build"),
        "{}",
        run.values.summary
    );
    assert!(
        run.values.summary.contains("\n50\n"),
        "{}",
        run.values.summary
    );
    assert!(run.number("total-seconds") > 0.0);
    assert!(!run.values.outputs.contains_key("digest"));
}

#[test]
fn a_dockerfile_that_is_none_is_said_with_its_line() {
    let run = Action::new("FROM scratch\nBUILD something\n")
        .input("tags", &format!("{}/failures/syntax:1", registry()))
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    assert!(
        run.log().contains("unknown instruction: BUILD"),
        "{}",
        run.log()
    );
    let errors = run.in_files("error");
    assert_eq!(errors[0].properties["line"], "2", "{}", run.log());
}
