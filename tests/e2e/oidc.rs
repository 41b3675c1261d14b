//! The whole way without any key: GitHub's token, a role, ECR's token, a push over TLS; and a token that
//! runs out on the way.

use std::path::PathBuf;

use aws_stand_in::{Account, Command};
use serde_json::json;

use crate::abandoned::wait_for;
use crate::rig::busybox;
use crate::runner::{Ended, Runner};

/// Runs a step that has a role to assume, in a job with `id-token: write`.
fn run(account: &Account, size: u32, inputs: &[(&str, &str)]) -> Ended {
    let dockerfile = format!(
        "FROM {}\nRUN head -c {size} /dev/urandom > /x && echo {} >> /x\n",
        busybox(),
        account.number()
    );
    let runner = Runner::new()
        .with_tokens_for(account)
        .file("Dockerfile", dockerfile);
    let step = runner
        .step()
        .input("context", ".")
        .input("role-to-assume", &account.role("ci"))
        .input("tags", &format!("{}/team/app:1", account.host()));
    let step = inputs
        .iter()
        .fold(step, |step, (name, value)| step.input(name, value));
    let ended = step.run();
    assert_eq!(runner.leftovers(), Vec::<PathBuf>::new());
    ended
}

fn digest(account: &Account) -> String {
    let asked = json!({ "repositoryName": "team/app", "imageIds": [{ "imageTag": "1" }] });
    let (status, answer) = account.ecr("DescribeImages", &asked);
    assert_eq!(status, 200, "{answer}");
    let digest = answer["imageDetails"][0]["imageDigest"].as_str();
    digest.expect("a digest").to_owned()
}

#[test]
fn a_role_creates_the_repository_and_pushes_over_tls() {
    let account = Account::new();
    let run = run(&account, 1000, &[("create-repository", "true")]).succeeded();
    assert_eq!(digest(&account), run.output("digest"));
    for (operation, times) in [
        ("GetIdToken", 1),
        ("AssumeRoleWithWebIdentity", 1),
        ("GetAuthorizationToken", 1),
        ("CreateRepository", 1),
    ] {
        assert_eq!(account.calls(operation).len(), times, "{operation}");
    }
    assert!(
        run.log().contains(":assumed-role/ci/GitHubActions, until "),
        "{}",
        run.log()
    );
    for line in &run.log.raw {
        assert!(!line.contains("eyJ"), "a token: {line}");
    }
}

#[test]
fn a_token_that_runs_out_on_the_way_is_replaced_and_the_push_succeeds_with_the_second() {
    let account = Account::new();
    account.repository("team/app").create();
    account.command(&Command::NextTokenGoodFor { requests: 5 });
    let run = run(&account, 1001, &[]).succeeded();
    assert_eq!(digest(&account), run.output("digest"));
    // Asked with HEAD, the registry has no room for words.
    let refused = ["authorization token has expired", "403 Forbidden"];
    assert!(
        refused.iter().any(|words| run.log().contains(words)),
        "{}",
        run.log()
    );
    assert!(
        run.log().contains("the push is tried again"),
        "{}",
        run.log()
    );
    // The helper asked for the second, with the session that the run has had all the time.
    assert_eq!(account.calls("GetAuthorizationToken").len(), 2);
    assert_eq!(account.calls("AssumeRoleWithWebIdentity").len(), 1);
    let put = account
        .requests()
        .into_iter()
        .find(|request| request.method == "PUT" && request.path == "/v2/team/app/manifests/1");
    assert_eq!(put.map(|put| (put.status, put.token)), Some((201, Some(2))));
}

/// As when somebody deletes the role, or its keys.
#[test]
fn credentials_that_are_revoked_during_the_build_end_it_with_the_cause() {
    let account = Account::new();
    account.repository("team/app").create();
    account.command(&Command::NextTokenGoodFor { requests: 5 });
    std::thread::scope(|scope| {
        let run = scope.spawn(|| run(&account, 1002, &[]));
        let asked = || !account.calls("GetAuthorizationToken").is_empty();
        wait_for("token", || asked().then_some(()));
        account.api_fault(
            "GetAuthorizationToken",
            1000,
            400,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        );
        let run = run.join().unwrap();
        assert_eq!(run.code, Some(1), "{}", run.log());
        let errors = run.annotations("error");
        assert_eq!(errors.len(), 1, "{}", run.log());
        let message = &errors[0].message;
        // The words of our helper, which buildx passes on.
        for words in [
            "UnrecognizedClientException: The security token included in the request is invalid",
            "the AWS credentials are expired or wrong: set the input `role-to-assume`",
        ] {
            assert!(message.contains(words), "{message}");
        }
    });
    let asked = json!({ "repositoryName": "team/app", "imageIds": [{ "imageTag": "1" }] });
    let (status, answer) = account.ecr("DescribeImages", &asked);
    assert_eq!(status, 400, "{answer}");
}
