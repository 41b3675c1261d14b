//! The whole way without any key: GitHub's token, a role, ECR's token, a push over TLS; and a token that
//! runs out on the way.

use aws_stand_in::{Account, Command};
use serde_json::json;

use crate::rig::{Action, busybox};

/// A job with `id-token: write` that has a role to assume.
fn action(account: &Account, size: u32) -> Action {
    Action::new(&format!(
        "FROM {}\nRUN head -c {size} /dev/urandom > /x && echo {} >> /x\n",
        busybox(),
        account.number()
    ))
    .in_account(account, &account.oidc_variables())
    .input("role-to-assume", &account.role("ci"))
    .input("tags", &format!("{}/team/app:1", account.host()))
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
    let run = action(&account, 1000)
        .input("create-repository", "true")
        .run()
        .succeeded();
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
    let run = action(&account, 1001).run().succeeded();
    assert_eq!(digest(&account), run.output("digest"));
    assert!(
        run.log().contains("authorization token has expired"),
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

#[test]
fn a_session_that_may_not_come_in_says_so() {
    let account = Account::new();
    account.repository("team/app").create();
    let run = action(&account, 1002)
        .input("audience", "somebody.else")
        .run();
    assert_eq!(run.code, Some(3), "{}", run.log());
    assert!(
        run.log().contains("could not assume the role"),
        "{}",
        run.log()
    );
    assert!(run.log().contains("hint: "), "{}", run.log());
    assert!(account.calls("GetAuthorizationToken").is_empty());
}
