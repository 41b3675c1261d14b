//! Nothing secret gets out: not into an argument, the log, the summary, an output or the state.

use crate::ecr::{Answer, Ecr, HOST};
use crate::runner::{GITHUB_TOKEN, Runner, recorded};

const PASSWORD: &str = "ecr-canary-password-0123456789";

/// Where the text stands, apart from the command that hides it.
fn leaks<'a>(everything: &'a str, secret: &str) -> Vec<&'a str> {
    let mask = format!("::add-mask::{secret}");
    everything
        .lines()
        .filter(|line| line.contains(secret) && *line != mask)
        .collect()
}

#[test]
fn the_github_token_is_masked_first_and_stands_nowhere() {
    let mask = format!("::add-mask::{GITHUB_TOKEN}");
    for (case, code) in [("cold-push", 0), ("failing-run", 1)] {
        let ran = Runner::new()
            // The commit of the workflow: a private repository, read with the token.
            .input("context", "")
            .variable("RUNNER_DEBUG", "1")
            .input("provenance", "mode=max")
            .stream(&recorded(case))
            .run()
            .exits(code);
        assert_eq!(ran.log.lines().next(), Some(mask.as_str()));
        assert_eq!(leaks(&ran.everything, GITHUB_TOKEN), [""; 0]);
        assert!(
            ran.calls[1].contains(
                "--secret id=GIT_AUTH_TOKEN.github.com,src=[ROOT]/temp/fast-ecr-push-[ID]/git-token"
            ),
            "{}",
            ran.calls[1]
        );
    }
}

#[test]
fn a_token_for_ecr_is_masked_before_anything_else_can_show_it() {
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, 720)]);
    let mask = format!("::add-mask::{PASSWORD}");
    for (repository, tags) in [
        ("team/app", "1".to_owned()),
        ("", format!("{HOST}/team/app:1")),
    ] {
        // A registry, a build or buildx itself may repeat what it was sent.
        let stream = recorded("failing-run").replace("almost there", &format!("login {PASSWORD}"));
        let ran = ecr
            .serve(Runner::new())
            .input("repository", repository)
            .input("tags", &tags)
            .input("github-token", "")
            .stream(&stream)
            .run()
            .exits(1);
        let first = ran.log.lines().position(|line| line.contains(PASSWORD));
        assert_eq!(first, ran.log.lines().position(|line| line == mask));
        assert!(first.is_some());
        if !repository.is_empty() {
            // Behind the line that says where the action runs, and the masks of the AWS keys.
            assert_eq!(first, Some(3), "{}", ran.log);
        }
        for call in &ran.calls {
            assert!(!call.contains(PASSWORD), "{call}");
        }
        assert!(!ran.state.values().any(|value| value.contains(PASSWORD)));
    }
}

/// `plan` with facts of a machine that needs no builder of its own.
const PLAN: &[&str] = &[
    "plan",
    "--fact",
    "buildx=0.37.1",
    "--fact",
    "store=containerd",
];

#[test]
fn a_plan_shows_no_token() {
    let ran = Runner::new()
        .without("GITHUB_ACTIONS")
        .input("context", "")
        .arguments(PLAN)
        .run()
        .exits(0);
    assert_eq!(leaks(&ran.everything, GITHUB_TOKEN), [""; 0]);
    let plan: serde_json::Value = serde_json::from_str(&ran.log).unwrap();
    assert_eq!(
        plan["images"][0]["secrets"][0]["id"],
        "GIT_AUTH_TOKEN.github.com"
    );
}

/// Whoever writes the Dockerfile may make it a link; the key of `skip-unchanged` and the push engine read it here.
#[test]
fn a_dockerfile_that_is_a_link_to_something_secret_shows_nothing_of_it() {
    const CANARY: &str = "canary-of-another-file";
    for (name, target) in [
        ("the logins of another step", "home/config.json"),
        ("the environment", "/proc/self/environ"),
    ] {
        let runner = Runner::new().without("GITHUB_ACTIONS");
        let path = runner.path("workspace/Linked");
        std::os::unix::fs::symlink(runner.path(target), path).unwrap();
        let ran = runner
            .file(
                "home/config.json",
                &format!("{{\"auths\":{{\"r\":{{\"auth\":\"{CANARY}\"}}}}}}"),
            )
            .variable("A_CANARY", CANARY)
            .input("file", "Linked")
            .input("skip-unchanged", "true")
            .arguments(PLAN)
            .run()
            .exits(0);
        assert_eq!(leaks(&ran.everything, CANARY), [""; 0], "{name}");
        ran.says("it begins with no instruction");
    }
}

/// Whoever writes the checkout may put a link where the workflow names a folder or a file.
#[test]
fn a_link_out_of_the_workspace_is_neither_sent_nor_written_through() {
    for (input, given, name) in [
        ("context", "app", "app"),
        ("context", "app/.docker", "app/.docker"),
        ("context", "./real/../app", "./real/../app"),
        ("build-contexts", "more=app", "more"),
        ("file", "app/Dockerfile", "app/Dockerfile"),
        ("secret-files", "word=app/.docker/config.json", "word"),
        ("timings-file", "app/timings.json", "app/timings.json"),
    ] {
        let runner = Runner::new()
            .file("workspace/real/Dockerfile", "FROM scratch\n")
            .file("home/Dockerfile", "FROM scratch\n")
            .file("home/timings.json", "{}")
            .file("home/.docker/config.json", "{}");
        let link = runner.path("workspace/app");
        std::os::unix::fs::symlink(runner.path("home"), link).unwrap();
        let ran = runner
            .input("context", "real")
            .input("file", "real/Dockerfile")
            .input(input, given)
            .run()
            .exits(2);
        ran.says(&format!(
            "input `{input}`: `{name}` is a link out of the workspace"
        ));
        let mut calls = ran.calls.iter();
        assert!(!calls.any(|call| call.starts_with("build ")), "{input}");
    }
    // Links within it, and folders that the workflow itself names, are as good as any.
    for given in ["app", "../elsewhere"] {
        let runner = Runner::new()
            .file("workspace/real/Dockerfile", "FROM scratch\n")
            .file("elsewhere/Dockerfile", "FROM scratch\n");
        std::os::unix::fs::symlink("real", runner.path("workspace/app")).unwrap();
        runner.input("context", given).run().exits(0);
    }
}

#[test]
fn a_secret_of_the_build_is_masked_first_and_stands_nowhere() {
    const CANARY: &str = "canary-of-the-build";
    for (case, code) in [("cold-push", 0), ("failing-run", 1)] {
        let ran = Runner::new()
            .variable("RUNNER_DEBUG", "1")
            .input(
                "secrets",
                &format!("A={CANARY}-1\n\"B={CANARY}-2\n{CANARY}-3\""),
            )
            .input("github-token", "")
            .input("provenance", "mode=max")
            .stream(&recorded(case))
            .run()
            .exits(code);
        let masks = [1, 2, 3].map(|line| format!("::add-mask::{CANARY}-{line}"));
        assert_eq!(ran.log.lines().take(3).collect::<Vec<_>>(), masks);
        let left: Vec<&str> = ran
            .everything
            .lines()
            .filter(|line| line.contains(CANARY) && !masks.iter().any(|mask| mask == line))
            .collect();
        assert_eq!(left, [""; 0]);
        assert!(
            ran.calls[1].contains("--secret id=B,src=[ROOT]/temp/fast-ecr-push-[ID]/secret-1"),
            "{}",
            ran.calls[1]
        );
        assert!(
            !ran.build_environment.contains("INPUT_"),
            "{}",
            ran.build_environment
        );
    }
}

#[test]
fn a_secret_in_an_input_that_can_not_be_read_is_masked_all_the_same() {
    const CANARY: &str = "canary-of-the-build";
    for text in [format!("A=b\n{CANARY}"), format!("\"A={CANARY}")] {
        let ran = Runner::new().input("secrets", &text).run().exits(2);
        let shown = ran
            .everything
            .lines()
            .find(|line| line.contains(CANARY) && !line.starts_with("::add-mask::"));
        assert_eq!(shown, None);
    }
}
