//! ECR Public: a token service, and everybody may read.

use aws_stand_in::{Account, names};
use serde_json::{Value, json};

use crate::wire::Client;

/// Calls ECR Public's API with the account's static key.
fn call(account: &Account, region: &str, operation: &str, body: &Value) -> (u16, Value) {
    let key = names::access_key(account.number());
    let target = format!("SpencerFrontendService.{operation}");
    let signature =
        format!("AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/ecr-public/aws4_request");
    let headers = [
        ("X-Amz-Target", target.as_str()),
        ("Authorization", signature.as_str()),
    ];
    let endpoint = crate::wire::variable("AWS_ENDPOINT_URL");
    let (status, text) = aws_stand_in::send("POST", &endpoint, &headers, &body.to_string());
    (status, serde_json::from_str(&text).unwrap())
}

#[test]
fn everybody_reads_with_an_anonymous_token_and_owners_write_with_theirs() {
    let account = Account::new();
    assert_eq!(
        call(
            &account,
            "us-east-1",
            "CreateRepository",
            &json!({ "repositoryName": "app" })
        )
        .0,
        200
    );
    let (_, answer) = call(&account, "us-east-1", "GetAuthorizationToken", &json!({}));
    let token = answer["authorizationData"]["authorizationToken"]
        .as_str()
        .unwrap();
    let client = |authorization: Option<String>| Client::with(names::PUBLIC, authorization);
    let challenge = client(None).get("/v2/");
    let expected =
        "Bearer realm=\"https://public.ecr.aws/token/\",service=\"public.ecr.aws\",scope=\"aws\"";
    assert_eq!(
        (challenge.status, challenge.header("www-authenticate")),
        (401, Some(expected))
    );
    let bearer = |authorization: Option<String>| {
        let answer = client(authorization).get("/token/?service=public.ecr.aws&scope=aws");
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        client(Some(format!("Bearer {}", value["token"].as_str().unwrap())))
    };
    let (anonymous, owner) = (bearer(None), bearer(Some(format!("Basic {token}"))));
    let name = format!("{}/app", names::alias(account.number()));
    assert_eq!(owner.image(&name, "1", b"layer").status, 201);
    assert_eq!(
        anonymous.get(&format!("/v2/{name}/manifests/1")).status,
        200
    );
    let upload = format!("/v2/{name}/blobs/uploads/");
    assert_eq!(anonymous.send("POST", &upload, &[], b"").status, 403);
    // Basic is for the token service only.
    assert_eq!(
        client(Some(format!("Basic {token}"))).get("/v2/").error().0,
        "DENIED"
    );
    assert!(
        owner
            .try_send(
                "POST",
                &format!("/v2/{}/none/blobs/uploads/", names::alias(account.number())),
                &[],
                b""
            )
            .is_none()
    );
}

#[test]
fn has_an_api_in_us_east_1_only() {
    let account = Account::new();
    assert_eq!(
        call(&account, "eu-west-1", "GetAuthorizationToken", &json!({})).0,
        400
    );
    let (status, answer) = call(
        &account,
        "us-east-1",
        "DescribeRepositories",
        &json!({ "repositoryNames": ["none"] }),
    );
    assert_eq!(
        (status, answer["__type"].as_str()),
        (400, Some("RepositoryNotFoundException"))
    );
}
