//! Logins at Amazon ECR, with the real SDK, and the credential helper's protocol.

use jiff::{SignedDuration, Timestamp};

use crate::ecr::{Answer, Ecr, HOST};
use crate::runner::Runner;

const PASSWORD: &str = "ecr-canary-password-0123456789";

/// A runner that asks as buildx does: the host on standard input.
fn helper(host: &str) -> Runner {
    Runner::bare()
        .called("docker-credential-fast-ecr-push")
        .arguments(&["get"])
        .stdin(host)
}

/// A token as a run leaves it for its helper.
fn kept(runner: Runner, password: &str, minutes: i64) -> Runner {
    let expires = Timestamp::now() + SignedDuration::from_mins(minutes);
    let file = serde_json::json!({"password": password, "expires": expires.to_string()});
    let runner = runner.file(&format!("tokens/token-{HOST}.json"), &file.to_string());
    let tokens = runner.path("tokens");
    runner.variable("FAST_ECR_PUSH_TOKENS", tokens)
}

fn answer(log: &str) -> (String, String, String) {
    let answer: serde_json::Value = serde_json::from_str(log).expect(log);
    let field = |name: &str| answer[name].as_str().unwrap().to_owned();
    (field("ServerURL"), field("Username"), field("Secret"))
}

#[test]
fn a_run_asks_for_its_token_once_and_buildx_gets_it_from_the_helper() {
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, 720)]);
    let cases = [
        ("", format!("{HOST}/team/app:1,{HOST}/team/app:2")),
        ("team/app", "1".to_owned()),
    ];
    for (count, (repository, tags)) in cases.iter().enumerate() {
        let running = ecr
            .serve(Runner::new())
            .input("repository", repository)
            .input("tags", tags)
            .buildx("login", HOST)
            .start();
        let path = running.runner.path("buildx/login.answer");
        let mut said = String::new();
        let ran = running.finish_and(|| said = std::fs::read_to_string(&path).unwrap());
        let ran = ran.exits(0);
        assert_eq!(
            answer(&said),
            (HOST.to_owned(), "AWS".to_owned(), PASSWORD.to_owned())
        );
        let operation = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        assert_eq!(ecr.requests(), vec![operation; count + 1]);
        assert!(
            ran.calls[1].contains(&format!(" --tag {HOST}/team/app:1 ")),
            "{}",
            ran.calls[1]
        );
        assert_eq!(ran.outputs["registry"], HOST);
    }
}

#[test]
fn a_registry_without_login_needs_no_aws() {
    let ecr = Ecr::answering(&[Answer::Error("AccessDeniedException", "no")]);
    ecr.serve(Runner::new()).run().exits(0);
    assert!(ecr.requests().is_empty());
}

#[test]
fn the_helper_answers_under_its_name_and_as_a_subcommand() {
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, 720)]);
    for server in [
        HOST.to_owned(),
        format!("https://{HOST}"),
        format!("{HOST}\n"),
    ] {
        let by_name = ecr.serve(helper(&server)).run().exits(0);
        let subcommand = ecr
            .serve(Runner::bare())
            .arguments(&["docker-credential", "get"])
            .stdin(&server)
            .run()
            .exits(0);
        for ran in [by_name, subcommand] {
            let expected = (
                server.trim().to_owned(),
                "AWS".to_owned(),
                PASSWORD.to_owned(),
            );
            assert_eq!(answer(&ran.log), expected);
            assert_eq!(ran.stderr, "");
        }
    }
}

#[test]
fn a_host_that_is_not_ecrs_gets_dockers_sentence() {
    for host in ["ghcr.io", "https://index.docker.io/v1/", ""] {
        let ran = helper(host).run().exits(1);
        assert_eq!(
            ran.log, "credentials not found in native keychain\n",
            "{host}"
        );
    }
}

#[test]
fn the_other_verbs_of_the_protocol_change_nothing() {
    for verb in ["store", "erase"] {
        let ran = helper(HOST).arguments(&[verb]).run().exits(0);
        assert_eq!(ran.log.trim(), "", "{verb}");
    }
    assert_eq!(helper("").arguments(&["list"]).run().exits(0).log, "{}\n");
    helper("").arguments(&["version", "x"]).run().exits(1);
    helper("").arguments(&[]).run().exits(1);
}

#[test]
fn a_kept_token_is_used_while_it_is_good_and_fetched_anew_when_it_ends() {
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, 720)]);
    let good = ecr.serve(kept(helper(HOST), "kept", 60)).run().exits(0);
    assert_eq!(answer(&good.log).2, "kept");
    assert!(ecr.requests().is_empty());
    let ending = ecr.serve(kept(helper(HOST), "kept", 5)).run().exits(0);
    assert_eq!(answer(&ending.log).2, PASSWORD);
    assert_eq!(ecr.requests().len(), 1);
}

#[test]
fn tokens_that_are_always_expired_do_not_make_it_ask_in_a_loop() {
    let ecr = Ecr::answering(&[Answer::Token(PASSWORD, -5)]);
    let ran = ecr.serve(kept(helper(HOST), "kept", -5)).run().exits(0);
    assert_eq!(answer(&ran.log).2, PASSWORD);
    assert_eq!(ecr.requests().len(), 1);
    // A whole run: once for itself, once when the helper finds the token expired.
    let ran = ecr
        .serve(Runner::new())
        .input("tags", &format!("{HOST}/team/app:1"))
        .buildx("login", HOST)
        .run();
    ran.exits(0);
    assert_eq!(ecr.requests().len(), 3);
}

#[test]
fn a_refused_token_is_an_answer_that_docker_shows() {
    let ecr = Ecr::answering(&[Answer::Error("AccessDeniedException", "not authorized")]);
    let ran = ecr.serve(helper(HOST)).run().exits(1);
    assert_eq!(
        ran.log,
        format!(
            "could not get an ECR token for `{HOST}`: AccessDeniedException: not authorized (the role needs \
             `ecr:GetAuthorizationToken` on `*`)\n"
        )
    );
}
