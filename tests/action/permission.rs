//! A job that gets no token for OpenID Connect, and so no role: it is told why.

use std::net::TcpListener;
use std::thread;

use crate::ecr::{self, Ecr, HOST};
use crate::http::{self, Request};
use crate::runner::Runner;
use crate::sts::{Answer, Sts};

fn tagged(runner: Runner) -> Runner {
    runner.input("tags", &format!("{HOST}/team/app:1"))
}

fn ecr() -> Ecr {
    Ecr::answering(&[ecr::Answer::Token("ecr-canary-password-0123456789", 720)])
}

/// A job that GitHub gives no token.
fn without_token(runner: Runner) -> Runner {
    runner
        .without("ACTIONS_ID_TOKEN_REQUEST_URL")
        .without("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
}

fn without_keys(runner: Runner) -> Runner {
    runner
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
}

/// A job for a pull request from a fork: it has neither.
fn of_a_fork(runner: Runner) -> Runner {
    let event = r#"{"pull_request":{"head":{"repo":{"full_name":"eve/app"}}}}"#;
    let runner = without_keys(without_token(runner)).file("temp/event.json", event);
    let path = runner.path("temp/event.json");
    runner
        .variable("GITHUB_EVENT_NAME", "pull_request")
        .variable("GITHUB_EVENT_PATH", path)
}

#[test]
fn a_job_without_the_permission_is_told_to_ask_for_it() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    let ran = without_keys(without_token(sts.serve(tagged(ecr.serve(Runner::new())))))
        .run()
        .exits(3);
    ran.says("hint: `role-to-assume` needs GitHub's OpenID Connect token: give the job `permissions: id-token: write`");
    assert!(sts.asked().is_empty());
    let sts = Sts::with_issuer(&[Answer::Keys(60)], &[Answer::Error(403, "", "no")]);
    let ran = sts.serve(tagged(ecr.serve(Runner::new()))).run().exits(3);
    ran.says("127.0.0.1 answered 403 Forbidden")
        .says("hint: give the job `permissions: id-token: write`");
    assert_eq!(sts.asked(), ["token"]);
}

/// A machine's metadata service that gives no token for a session: as that of GitHub's own machines,
/// which is not Amazon's (400), or one that keeps containers out (403).
fn metadata(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = Request::read(&mut stream);
            assert!(
                request.line.starts_with("PUT /latest/api/token "),
                "{}",
                request.line
            );
            http::send(stream, status, "application/json", "{\"error\": \"no\"}");
        }
    });
    address
}

#[test]
fn a_machine_that_is_not_amazons_has_no_credentials_either() {
    for status in ["400 Bad Request", "403 Forbidden", "404 Not Found"] {
        let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
        let without_permission = || {
            without_token(sts.serve(tagged(ecr.serve(Runner::new()))))
                .without("AWS_EC2_METADATA_DISABLED")
                .variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata(status))
        };
        let ran = without_permission().run().exits(3);
        ran.says("caused by: there are no AWS credentials")
            .says("hint: `role-to-assume` needs GitHub's OpenID Connect token: give the job `permissions: id-token: write`");
        let ran = without_permission()
            .without("INPUT_ROLE-TO-ASSUME")
            .run()
            .exits(3);
        ran.says("caused by: there are no AWS credentials")
            .says("hint: set the input `role-to-assume`");
        assert!(sts.asked().is_empty());
    }
}

#[test]
fn credentials_in_place_of_the_token_that_do_not_do_are_told_about_the_permission() {
    let denied = Answer::Error(403, "AccessDenied", "User: runner is not authorized");
    for (chaining, expected) in [("false", true), ("true", false)] {
        let (sts, ecr) = (Sts::answering(std::slice::from_ref(&denied)), ecr());
        let ran = without_token(sts.serve(tagged(ecr.serve(Runner::new()))))
            .variable("AWS_ACCESS_KEY_ID", "AKIDRUNNER")
            .variable("AWS_SECRET_ACCESS_KEY", "runner")
            .input("role-chaining", chaining)
            .run()
            .exits(3);
        ran.says("must be allowed to call sts:AssumeRole on it");
        let told = ran.log.contains("`permissions: id-token: write`");
        assert_eq!(told, expected, "{}", ran.log);
    }
}

#[test]
fn a_pull_request_from_a_fork_is_told_why_there_is_no_role() {
    let (sts, ecr) = (Sts::answering(&[Answer::Keys(60)]), ecr());
    let runner = of_a_fork(sts.serve(tagged(ecr.serve(Runner::new()))));
    let ran = runner.run().exits(3);
    ran.says("this pull request comes from the fork `eve/app`");
}

#[test]
fn a_push_from_a_fork_without_credentials_says_so() {
    let ran = of_a_fork(tagged(ecr().serve(Runner::new()))).run().exits(3);
    ran.says("could not get an ECR token")
        .says("comes from the fork `eve/app`")
        .says("Build without pushing");
    assert!(
        !ran.log.contains("configure-aws-credentials"),
        "{}",
        ran.log
    );
    assert!(
        ran.summary.contains("comes from the fork"),
        "{}",
        ran.summary
    );
}

/// Without a token the role is never asked for, and what lies in a private registry is not there.
#[test]
fn a_pull_request_from_a_fork_builds_without_its_role_when_nothing_is_pushed() {
    let sts = Sts::answering(&[Answer::Keys(60)]);
    let runner = of_a_fork(sts.serve(tagged(Runner::new())));
    runner.input("push", "false").run().exits(0);
    assert!(sts.asked().is_empty());
}
