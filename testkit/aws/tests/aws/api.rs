//! The API as the real SDK sees it.

use std::fmt::Debug;
use std::time::SystemTime;

use aws_sdk_ecr::Client;
use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ecr::error::ProvideErrorMetadata;
use aws_sdk_ecr::types::ImageIdentifier;
use aws_stand_in::{Account, names};
use serde_json::json;

use crate::wire::{self, variable};

fn client(account: &Account) -> Client {
    let key = names::access_key(account.number());
    with_credentials(Credentials::new(key, "secret", None, None, "test"))
}

pub(crate) fn with_credentials(credentials: Credentials) -> Client {
    let config = aws_sdk_ecr::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(names::REGION))
        .endpoint_url(variable("AWS_ENDPOINT_URL"))
        .credentials_provider(credentials);
    Client::from_conf(config.build())
}

#[tokio::test]
async fn gives_a_new_token_each_time_that_is_good_for_twelve_hours() {
    let account = Account::new();
    let client = client(&account);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = client.get_authorization_token().send().await.unwrap();
        let [data] = answer.authorization_data() else {
            panic!("{answer:?}")
        };
        assert_eq!(
            data.proxy_endpoint(),
            Some(format!("https://{}", account.host()).as_str())
        );
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let hours = (data.expires_at().unwrap().secs() as u64 - now) as f64 / 3600.0;
        assert!((11.9..=12.0).contains(&hours), "{hours}");
        tokens.push(data.authorization_token().unwrap().to_owned());
    }
    assert_ne!(tokens[0], tokens[1]);
    assert!(tokens[0].len() > 2000);
    assert_eq!(account.calls("GetAuthorizationToken").len(), 2);
}

#[tokio::test]
async fn tells_of_images_as_they_were_pushed() {
    let account = Account::new();
    account.repository("team/app").create();
    let push = wire::Client::logged_in(&account);
    assert_eq!(push.image("team/app", "1", b"one").status, 201);
    assert_eq!(push.image("team/app", "latest", b"one").status, 201);
    assert_eq!(push.image("team/app", "latest", b"two").status, 201);
    let client = client(&account);
    let id = |tag: &str| ImageIdentifier::builder().image_tag(tag).build();
    let described = client
        .describe_images()
        .repository_name("team/app")
        .image_ids(id("latest"))
        .send()
        .await
        .unwrap();
    let [detail] = described.image_details() else {
        panic!("{described:?}")
    };
    let manifest = push.get("/v2/team/app/manifests/latest");
    assert_eq!(
        detail.image_digest(),
        Some(wire::digest(&manifest.body).as_str())
    );
    assert_eq!(detail.image_tags(), ["latest"]);
    let found = client
        .batch_get_image()
        .repository_name("team/app")
        .image_ids(id("1"))
        .image_ids(id("none"))
        .send()
        .await
        .unwrap();
    let ([image], [failure]) = (found.images(), found.failures()) else {
        panic!("{found:?}")
    };
    assert!(
        image
            .image_manifest()
            .unwrap()
            .contains("\"schemaVersion\":2")
    );
    assert_eq!(failure.failure_code().unwrap().as_str(), "ImageNotFound");
    let listed = client
        .list_images()
        .repository_name("team/app")
        .send()
        .await
        .unwrap();
    assert_eq!(listed.image_ids().len(), 2);
}

/// The error's name, by which the SDK tells its own types of them.
fn code<T: Debug>(answer: Result<T, impl ProvideErrorMetadata + Debug>) -> String {
    let error = answer.unwrap_err();
    error.code().expect("a name").to_owned()
}

#[tokio::test]
async fn errors_have_the_names_that_the_sdk_knows() {
    let account = Account::new();
    account.repository("team/app").create();
    account.deny("ecr:PutLifecyclePolicy");
    let client = client(&account);
    let unknown = ImageIdentifier::builder().image_tag("none").build();
    let codes = [
        code(
            client
                .describe_repositories()
                .repository_names("none")
                .send()
                .await,
        ),
        code(
            client
                .describe_images()
                .repository_name("none")
                .send()
                .await,
        ),
        code(
            client
                .describe_images()
                .repository_name("team/app")
                .image_ids(unknown)
                .send()
                .await,
        ),
        code(
            client
                .create_repository()
                .repository_name("team/app")
                .send()
                .await,
        ),
        code(
            client
                .put_lifecycle_policy()
                .repository_name("team/app")
                .lifecycle_policy_text("{}")
                .send()
                .await,
        ),
        code(client.describe_pull_through_cache_rules().send().await),
    ];
    assert_eq!(
        codes,
        [
            "RepositoryNotFoundException",
            "RepositoryNotFoundException",
            "ImageNotFoundException",
            "RepositoryAlreadyExistsException",
            "AccessDeniedException",
            "UnknownOperationException",
        ]
    );
}

#[tokio::test]
async fn keys_of_nobody_are_refused() {
    let client = with_credentials(Credentials::new(
        "AKIDEXAMPLE",
        "secret",
        None,
        None,
        "test",
    ));
    let error = client.get_authorization_token().send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnrecognizedClientException"));
}

#[tokio::test]
async fn throttles_as_often_as_it_was_told_and_the_sdk_asks_again() {
    let account = Account::new();
    account.api_fault(
        "DescribeRepositories",
        2,
        400,
        "ThrottlingException",
        "Rate exceeded",
    );
    client(&account)
        .describe_repositories()
        .send()
        .await
        .unwrap();
    let errors: Vec<_> = account
        .calls("DescribeRepositories")
        .into_iter()
        .map(|call| call.error)
        .collect();
    let throttled = Some("ThrottlingException".to_owned());
    assert_eq!(errors, [throttled.clone(), throttled, None]);
}

#[test]
fn a_cluster_has_the_endpoint_that_a_test_gave_it() {
    let account = Account::new();
    let key = names::access_key(account.number());
    let signature =
        format!("AWS4-HMAC-SHA256 Credential={key}/20260101/eu-west-1/eks/aws4_request");
    let describe = || {
        let address = format!("{}/clusters/builders", variable("AWS_ENDPOINT_URL"));
        aws_stand_in::send("GET", &address, &[("Authorization", &signature)], "")
    };
    assert_eq!(describe().0, 404);
    account.command(&aws_stand_in::Command::Cluster {
        name: "builders".to_owned(),
        endpoint: "https://127.0.0.1:6443".to_owned(),
        authority: "UEVN".to_owned(),
    });
    let (status, text) = describe();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &value["cluster"]["endpoint"]),
        (200, &json!("https://127.0.0.1:6443"))
    );
}
