//! The action before Amazon's side of the rig: real SDK, real BuildKit, ECR's registry with its manners over TLS.
//!
//! A test takes an account of its own, says what is there and what goes wrong, and asks afterwards what happened:
//! [`aws_stand_in`] has all that can be said.

use aws_stand_in::Account;
use serde_json::json;

use crate::rig::busybox;
use crate::runner::Runner;

/// The digest that ECR's API tells of a tag.
fn digest(account: &Account, repository: &str, tag: &str) -> String {
    let asked = json!({ "repositoryName": repository, "imageIds": [{ "imageTag": tag }] });
    let (status, answer) = account.ecr("DescribeImages", &asked);
    assert_eq!(status, 200, "{answer}");
    let digest = answer["imageDetails"][0]["imageDigest"].as_str();
    digest.expect("a digest").to_owned()
}

#[test]
fn an_image_gets_into_two_accounts_registries_with_tokens_that_no_log_shows() {
    let (mine, others) = (Account::new(), Account::new());
    for account in [&mine, &others] {
        account.repository("team/app").create();
    }
    let runner = Runner::new().with_keys_of(&mine).file(
        "Dockerfile",
        format!("FROM {}\nRUN echo {} > /x\n", busybox(), mine.number()),
    );
    let tags = [&mine, &others].map(|account| format!("{}/team/app:1", account.host()));
    let run = runner
        .step()
        .input("context", ".")
        .input("tags", &tags.join("\n"))
        .run()
        .succeeded();
    for account in [&mine, &others] {
        assert_eq!(digest(account, "team/app", "1"), run.output("digest"));
    }
    let requests = mine.requests();
    let put = requests
        .iter()
        .find(|request| request.path == "/v2/team/app/manifests/1" && request.method == "PUT");
    assert!(
        put.is_some_and(|put| put.status == 201 && put.token.is_some()),
        "{put:?}"
    );
    let password = mine.password();
    for secret in ["secret-key-of-the-test", password.get(..40).unwrap()] {
        let shown = run.log().contains(secret) || run.values.summary.contains(secret);
        assert!(!shown, "{}", run.log());
    }
    assert_eq!(runner.leftovers(), Vec::<std::path::PathBuf>::new());
}
