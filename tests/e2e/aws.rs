//! The action before Amazon's side of the rig: real SDK, real BuildKit, ECR's registry with its manners over TLS.
//!
//! A test takes an account of its own, says what is there and what goes wrong, and asks afterwards what happened:
//! [`aws_stand_in`] has all that can be said.

use aws_stand_in::Account;
use serde_json::json;

use crate::rig::{Action, busybox};

/// The digest that ECR's API tells of a tag.
fn digest(account: &Account, repository: &str, tag: &str) -> String {
    let asked = json!({ "repositoryName": repository, "imageIds": [{ "imageTag": tag }] });
    let (status, answer) = account.ecr("DescribeImages", &asked);
    assert_eq!(status, 200, "{answer}");
    let digest = answer["imageDetails"][0]["imageDigest"].as_str();
    digest.expect("a digest").to_owned()
}

#[test]
fn an_image_gets_into_two_accounts_with_tokens_that_no_log_shows() {
    let (mine, others) = (Account::new(), Account::new());
    for account in [&mine, &others] {
        account.repository("team/app").create();
    }
    let number = mine.number();
    let dockerfile = format!("FROM {}\nRUN echo {number} > /x\n", busybox());
    let tags = [&mine, &others].map(|account| format!("{}/team/app:1", account.host()));
    let run = Action::new(&dockerfile)
        .aws(&mine, &mine.variables())
        .input("tags", &tags.join("\n"))
        .run()
        .succeeded();
    for account in [&mine, &others] {
        assert_eq!(digest(account, "team/app", "1"), run.output("digest"));
        let requests = account.requests();
        let put = requests
            .iter()
            .find(|request| request.method == "PUT" && request.path == "/v2/team/app/manifests/1");
        assert_eq!(put.map(|put| put.status), Some(201));
    }
    let shown = format!("{}{}", run.log(), run.values.summary);
    assert!(!shown.contains("secret-key-of-the-test"), "{shown}");
    assert!(!mine.calls("GetAuthorizationToken").is_empty());
}

#[test]
fn a_missing_repository_fails_the_push() {
    let account = Account::new();
    let run = Action::new(&format!(
        "FROM {}\nRUN echo {} > /x\n",
        busybox(),
        account.number()
    ))
    .aws(&account, &account.variables())
    .input("tags", &format!("{}/team/typo:1", account.host()))
    .run();
    assert_ne!(run.code, Some(0), "{}", run.log());
    assert!(
        account
            .requests()
            .iter()
            .all(|request| request.status != 201)
    );
}
