//! Builds, builders and registries that fail: exit codes, what is said, what is still written.

use crate::ecr::{Answer, Ecr, HOST};
use crate::engine::Store;
use crate::runner::{Runner, recorded};

#[test]
fn a_failing_step_shows_its_name_its_words_and_the_line_of_the_dockerfile() {
    let ran = Runner::new()
        .file("workspace/Failing", "FROM scratch\n")
        .input("file", "Failing")
        .stream(&recorded("failing-run"))
        .run()
        .exits(1);
    ran.says("#4 [2/2] RUN sleep 1; echo almost there; exit 3\n")
        .says("#4 [TIME] almost there\n");
    let errors = ran.annotations("error");
    assert_eq!(errors.len(), 1, "{}", ran.log);
    let annotation = errors[0];
    assert!(
        annotation.starts_with("::error file=Failing,line=2,title=fast-ecr-push::step `[2/2] RUN sleep 1; echo almost there; exit 3` failed: "),
        "{annotation}"
    );
    assert!(
        annotation.contains("exit code: 3 (Failing:2)"),
        "{annotation}"
    );
    // The step's own words come right before the annotation, where the reader looks.
    let (before, _) = ran.log.split_once(annotation).unwrap();
    assert!(before.ends_with("  almost there\n"), "{before}");
}

/// BuildKit names a Dockerfile within what it was sent, which is not the repository.
#[test]
fn a_failure_stands_at_the_dockerfile_in_the_repository_or_nowhere() {
    let failing = || Runner::new().stream(&recorded("failing-run"));
    let below = |runner: Runner, file: &str| runner.file(&format!("workspace/{file}"), "FROM x\n");
    let github = "https://github.com/octo";
    let cases = [
        (
            below(failing(), "services/api/Failing")
                .input("context", "services/api")
                .input("file", "services/api/Failing"),
            Some("services/api/Failing"),
        ),
        (
            below(failing(), "docker/Failing").input("file", "docker/Failing"),
            Some("docker/Failing"),
        ),
        (
            failing()
                .input("context", &format!("{github}/app.git#main:docker"))
                .input("file", "Failing"),
            None,
        ),
        // An error in another file than the one that is built, one behind `--build-context` for example.
        (failing(), None),
    ];
    for (index, (runner, expected)) in cases.into_iter().enumerate() {
        let ran = runner.run().exits(1);
        let [annotation] = *ran.annotations("error") else {
            panic!("{}", ran.log);
        };
        let place = annotation
            .strip_prefix("::error file=")
            .and_then(|rest| rest.split_once(",line=2,"))
            .map(|(file, _)| file);
        assert_eq!(place, expected, "{index}: {annotation}");
        // In words it is said all the same.
        assert!(annotation.contains("(Failing:2)"), "{annotation}");
    }
    let of_this_commit = failing().input("context", "").input("file", "app/Failing");
    let ran = of_this_commit.run().exits(1);
    let annotations = ran.annotations("error");
    assert!(
        annotations[0].starts_with("::error file=app/Failing,line=2,"),
        "{annotations:?}"
    );
}

#[test]
fn a_failing_step_shows_no_more_than_its_last_30_lines() {
    let mut stream = recorded("failing-run");
    let step = "sha256:480e66b123204a8d4f9dc8eca739a457e283df09d411fe4406d2e589ff7bed77";
    let start = "0\tstart\n".to_owned();
    let mut before = start;
    for number in 0..100 {
        use base64::Engine as _;
        let data =
            base64::engine::general_purpose::STANDARD.encode(format!("line {number} of it\n"));
        let status = serde_json::json!({"logs": [{"vertex": step, "stream": 1, "data": data, "timestamp": "2026-11-23T18:41:01.2Z"}]});
        before += &format!("0\t{status}\n");
    }
    // After the step has started, before it says its last word.
    let place = stream.find("\t{\"logs\"").unwrap();
    let line = stream.get(..place).unwrap().rfind('\n').unwrap() + 1;
    stream.insert_str(line, before.strip_prefix("0\tstart\n").unwrap());
    let ran = Runner::new().stream(&stream).run().exits(1);
    let tail: Vec<&str> = ran
        .log
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    assert_eq!(tail.len(), 30, "{}", ran.log);
    assert_eq!(tail.first(), Some(&"line 71 of it"));
    assert_eq!(tail.last(), Some(&"almost there"));
    assert!(ran.summary.contains("line 71 of it") && !ran.summary.contains("line 70 of it"));
}

#[test]
fn a_failed_build_still_has_its_summary_and_its_times() {
    let ran = Runner::new()
        .stream(&recorded("failing-run"))
        .run()
        .exits(1);
    assert!(
        ran.summary
            .starts_with("### Failed to build `registry.test/team/app:1` after [TIME]"),
        "{}",
        ran.summary
    );
    assert!(ran.summary.contains("almost there"), "{}", ran.summary);
    assert!(!ran.outputs.contains_key("digest") && !ran.outputs.contains_key("image"));
    assert_eq!(ran.outputs["total-steps"], "1");
    assert_eq!(ran.verbs(), ["version", "build"]);
}

#[test]
fn a_registry_that_refuses_is_quoted_with_a_hint() {
    let ran = Runner::new()
        .stream(&recorded("push-forbidden"))
        .run()
        .exits(1);
    let errors = ran.annotations("error");
    assert_eq!(errors.len(), 1, "{}", ran.log);
    assert!(
        errors[0].contains(
            "failed to push refusing.test/team/app:1: unexpected status from POST request"
        ),
        "{}",
        errors[0]
    );
    assert!(
        errors[0].contains("403 Forbidden%0Ahint: the login lacks rights on this repository"),
        "{}",
        errors[0]
    );
}

#[test]
fn a_buildx_that_dies_without_a_word_is_still_reported() {
    let ran = Runner::new().stream("0\tstart\n0\texit 7\n").run().exits(1);
    assert_eq!(ran.annotations("error").len(), 1);
    ran.says("buildx gave no reason");
    assert!(
        ran.summary.starts_with("### Failed to build "),
        "{}",
        ran.summary
    );
}

/// As the kernel does where memory is short.
#[test]
fn a_buildx_that_is_killed_is_an_error_that_speaks_of_memory() {
    let ran = Runner::new().buildx("build.killed", "").run().exits(1);
    let [error] = *ran.annotations("error") else {
        panic!("{}", ran.log);
    };
    assert!(
        error.contains("hint: buildx was killed, probably out of memory"),
        "{error}"
    );
    assert!(!ran.outputs.contains_key("digest"), "{}", ran.log);
    assert!(
        ran.summary.starts_with("### Failed to build "),
        "{}",
        ran.summary
    );
}

#[test]
fn metadata_that_is_no_json_fails_the_build_in_words() {
    let ran = Runner::new().buildx("metadata", "{\"cut").run().exits(1);
    ran.says("could not read what buildx says it built")
        .says("caused by: could not read `[ROOT]/temp/fast-ecr-push-[ID]/metadata-0.json`");
}

#[test]
fn a_builder_that_does_not_boot_is_an_error_of_the_environment_and_is_removed() {
    let ran = Runner::new()
        .engine(Store::Classic)
        .buildx("create.exit", "1")
        .buildx("create.stderr", "ERROR: Error response from daemon: toomanyrequests: You have reached your unauthenticated pull rate limit\n")
        .run()
        .exits(3);
    ran.says("could not start the builder `fast-ecr-push-[ID]`")
        .says("toomanyrequests")
        .says("hint: Docker Hub limits pulls");
    assert_eq!(ran.verbs(), ["version", "create"]);
    ran.removed_its_builder();
    assert!(
        ran.summary.starts_with("### Failed to build "),
        "{}",
        ran.summary
    );
}

#[test]
fn a_builder_is_removed_when_the_build_fails_too() {
    let ran = Runner::new()
        .engine(Store::Classic)
        .stream(&recorded("failing-run"))
        .run()
        .exits(1);
    assert_eq!(ran.verbs(), ["version", "create", "build"]);
    ran.removed_its_builder();
}

#[test]
fn a_builder_that_can_not_be_removed_hides_nothing() {
    let good = Runner::new()
        .engine(Store::Classic)
        .buildx("engine.refuses", "")
        .run()
        .exits(0);
    assert_eq!(good.annotations("warning").len(), 1, "{}", good.log);
    good.says("could not remove the builder `fast-ecr-push-[ID]`: Docker responded with status code 500: the Engine's disk is broken");
    let failed = Runner::new()
        .engine(Store::Classic)
        .stream(&recorded("failing-run"))
        .buildx("engine.refuses", "")
        .run()
        .exits(1);
    failed.says("failed: process");
}

#[test]
fn a_manifest_that_can_not_be_read_back_costs_only_its_outputs() {
    let ran = Runner::new().buildx("imagetools.exit", "1").run().exits(0);
    assert!(ran.outputs.contains_key("digest"));
    assert!(!ran.outputs.contains_key("image-bytes"));
}

#[test]
fn what_ecr_says_about_a_login_is_passed_on_with_a_hint() {
    let cases = [
        (
            Answer::Error(
                "AccessDeniedException",
                "User is not authorized to perform: ecr:GetAuthorizationToken on resource: *",
            ),
            "AccessDeniedException: User is not authorized",
            "hint: the role needs `ecr:GetAuthorizationToken` on `*`",
        ),
        (
            Answer::Error(
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            "ExpiredTokenException: The security token included in the request is expired",
            "hint: the AWS credentials are expired or wrong",
        ),
    ];
    for (answer, words, hint) in cases {
        let ecr = Ecr::answering(&[answer]);
        let ran = ecr
            .serve(Runner::new())
            .input("tags", &format!("{HOST}/team/app:1"))
            .run()
            .exits(3);
        ran.says(&format!("could not get an ECR token for `{HOST}`: {words}"))
            .says(hint);
        assert!(!ran.verbs().contains(&"build"), "{:?}", ran.calls);
        assert_eq!(
            ecr.requests().len(),
            1,
            "what will not change is not tried again"
        );
    }
}

/// Each write to `/dev/full` fails as on a full disk.
#[test]
fn files_of_the_runner_that_can_not_be_written_are_an_error_with_a_remedy() {
    let remedy = "hint: the disk of this machine is full: free some space";
    for (name, error, builds) in [
        (
            "GITHUB_STATE",
            "could not save what the post step removes",
            false,
        ),
        ("GITHUB_OUTPUT", "could not write the report", true),
        ("GITHUB_STEP_SUMMARY", "could not write the report", true),
    ] {
        let ran = Runner::new().variable(name, "/dev/full").run().exits(3);
        ran.says(error)
            .says("caused by: could not append to the runner's file `/dev/full`")
            .says("No space left on device")
            .says(remedy);
        assert_eq!(ran.annotations("error").len(), 1, "{}", ran.log);
        assert_eq!(ran.verbs().contains(&"build"), builds, "{}", ran.log);
        // The others are written all the same.
        assert_eq!(
            ran.outputs.contains_key("digest"),
            name == "GITHUB_STEP_SUMMARY"
        );
        assert_eq!(
            ran.summary.is_empty(),
            name != "GITHUB_OUTPUT",
            "{}",
            ran.summary
        );
    }
    // A folder that is not there, or may not be written.
    let ran = Runner::new()
        .variable("GITHUB_OUTPUT", "/nowhere/output")
        .run()
        .exits(3);
    ran.says("could not write the report")
        .says("could not append to the runner's file `/nowhere/output`");
    assert!(!ran.log.contains(remedy), "{}", ran.log);
}

const THROTTLED: Answer = Answer::Error("ThrottlingException", "Rate exceeded");
const BROKEN: Answer = Answer::Status(
    "500 Internal Server Error",
    "ServerException",
    "Internal failure",
);

#[test]
fn what_may_pass_in_ecrs_api_is_tried_again() {
    let busy = Answer::Status("503 Service Unavailable", "ServiceUnavailable", "busy");
    let many = Answer::Status(
        "429 Too Many Requests",
        "TooManyRequestsException",
        "slow down",
    );
    for passing in [THROTTLED, BROKEN, busy, many] {
        let ecr = Ecr::answering(&[passing.clone(), Answer::Token("x", 720)]);
        ecr.serve(Runner::new())
            .input("tags", &format!("{HOST}/team/app:1"))
            .run()
            .exits(0);
        assert_eq!(ecr.requests().len(), 2, "{passing:?}");
    }
}

#[test]
fn an_api_of_ecr_that_is_overloaded_for_long_ends_the_run_with_a_remedy() {
    for (answer, words) in [
        (THROTTLED, "ThrottlingException: Rate exceeded"),
        (BROKEN, "ServerException: Internal failure"),
    ] {
        let ecr = Ecr::answering(&[answer]);
        let begun = std::time::Instant::now();
        let ran = ecr
            .serve(Runner::new())
            .input("tags", &format!("{HOST}/team/app:1"))
            .run()
            .exits(3);
        assert!(begun.elapsed().as_secs() < 30);
        ran.says(&format!("could not get an ECR token for `{HOST}`: {words}"))
            .says("hint: AWS is overloaded or limits the account's requests: run the job again");
        assert_eq!(ran.annotations("error").len(), 1, "{}", ran.log);
        assert!(!ran.verbs().contains(&"build"), "{:?}", ran.calls);
        assert!((2..=5).contains(&ecr.requests().len()), "{}", ran.log);
    }
}

/// Questions before the build only find errors earlier.
#[test]
fn questions_about_a_repository_that_ecr_throttles_do_not_end_the_run() {
    for answer in [THROTTLED, BROKEN] {
        let mut ecr = Ecr::answering(&[Answer::Token("x", 720)]);
        for operation in [
            "DescribeRepositories",
            "BatchCheckLayerAvailability",
            "BatchGetImage",
            "InitiateLayerUpload",
            "UploadLayerPart",
            "CompleteLayerUpload",
        ] {
            ecr = ecr.on(operation, std::slice::from_ref(&answer));
        }
        let ran = ecr
            .serve(Runner::new())
            .input("tags", &format!("{HOST}/team/app:1"))
            .run()
            .exits(0);
        assert!(ran.verbs().contains(&"build"), "{:?}", ran.calls);
    }
}

/// The texts are those of AWS
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html>).
#[test]
fn a_clock_that_is_wrong_is_named() {
    let behind = "Signature expired: 20261130T141613Z is now earlier than 20261130T150113Z (20261130T150613Z - 5 min.)";
    let ahead = "Signature not yet current: 20261130T160113Z is still later than 20261130T151113Z (20261130T150613Z + 5 min.)";
    for (code, message) in [
        ("InvalidSignatureException", behind),
        ("InvalidSignatureException", ahead),
        ("RequestExpired", "Request has expired."),
    ] {
        let ecr = Ecr::answering(&[Answer::Error(code, message)]);
        let ran = ecr
            .serve(Runner::new())
            .input("tags", &format!("{HOST}/team/app:1"))
            .run()
            .exits(3);
        ran.says(&format!(
            "could not get an ECR token for `{HOST}`: {code}: {message}"
        ))
        .says("hint: this machine's clock is wrong");
        assert!(!ran.log.contains("credentials are expired"), "{}", ran.log);
    }
    // A signature with another mistake.
    let wrong = "The request signature we calculated does not match the signature you provided.";
    let ecr = Ecr::answering(&[Answer::Error("InvalidSignatureException", wrong)]);
    let ran = ecr
        .serve(Runner::new())
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(3);
    ran.says("hint: the AWS credentials are expired or wrong");
}

#[test]
fn without_aws_credentials_the_error_says_where_they_come_from() {
    let ecr = Ecr::answering(&[Answer::Token("x", 720)]);
    let ran = ecr
        .serve(Runner::new())
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .input("repository", "team/app")
        .input("tags", "1")
        .run()
        .exits(3);
    ran.says("could not get an ECR token for the account's own registry")
        .says("caused by: there are no AWS credentials")
        .says("hint: set the input `role-to-assume`, with `permissions: id-token: write`, or run aws-actions/configure-aws-credentials")
        .started_nothing();
    assert!(ecr.requests().is_empty());
}

#[test]
fn an_ecr_that_stays_silent_does_not_hold_the_job_for_ever() {
    let ecr = Ecr::answering(&[Answer::Silence]);
    let ran = ecr
        .serve(Runner::new())
        .input("tags", &format!("{HOST}/team/app:1"))
        .run()
        .exits(3);
    ran.says(&format!("could not get an ECR token for `{HOST}`: "));
    assert!(!ran.verbs().contains(&"build"), "{:?}", ran.calls);
}
