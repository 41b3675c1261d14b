//! GitHub's issuer and STS, who trust each other and nobody else.

use aws_sdk_ecr::config::Credentials;
use aws_sdk_ecr::error::ProvideErrorMetadata as _;
use aws_stand_in::{Account, Command};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::api::with_credentials;

/// A token for an audience, as a job asks for it.
fn token(account: &Account, audience: &str) -> String {
    let variables = account.oidc_variables();
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(found, _)| *found == name)
            .unwrap()
            .1
            .clone()
    };
    let url = format!(
        "{}&audience={audience}",
        variable("ACTIONS_ID_TOKEN_REQUEST_URL")
    );
    let bearer = format!("bearer {}", variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN"));
    let (status, text) = aws_stand_in::send("GET", &url, &[("Authorization", &bearer)], "");
    assert_eq!(status, 200, "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    value["value"].as_str().unwrap().to_owned()
}

/// Calls STS without a signature.
fn assume(account: &Account, token: &str, seconds: u32) -> (u16, String) {
    let role = account.role("ci");
    let body = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&RoleSessionName=GitHubActions&DurationSeconds={seconds}&WebIdentityToken={token}"
    );
    aws_stand_in::send(
        "POST",
        &crate::wire::variable("AWS_ENDPOINT_URL"),
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &body,
    )
}

fn element(text: &str, name: &str) -> String {
    let (_, rest) = text
        .split_once(&format!("<{name}>"))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_of_the_issuer_gives_a_role_whose_account_the_api_answers_for() {
    let account = Account::new();
    let (status, text) = assume(&account, &token(&account, "sts.amazonaws.com"), 3600);
    assert_eq!(status, 200, "{text}");
    assert!(
        element(&text, "Arn").ends_with(":assumed-role/ci/GitHubActions"),
        "{text}"
    );
    let credentials = |session: Option<String>| {
        let secret = element(&text, "SecretAccessKey");
        with_credentials(Credentials::new(
            element(&text, "AccessKeyId"),
            secret,
            session,
            None,
            "test",
        ))
    };
    let client = credentials(Some(element(&text, "SessionToken")));
    let made = client
        .create_repository()
        .repository_name("team/app")
        .send()
        .await
        .unwrap();
    assert_eq!(
        made.repository().unwrap().registry_id(),
        Some(account.number())
    );
    let error = credentials(None)
        .describe_repositories()
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("UnrecognizedClientException"));
    account.command(&Command::ExpireSessions);
    let error = client.describe_repositories().send().await.unwrap_err();
    assert_eq!(error.code(), Some("ExpiredTokenException"));
}

#[test]
fn tokens_are_for_an_audience_and_for_five_minutes() {
    let account = Account::new();
    let token = token(&account, "sts.amazonaws.com");
    let claims = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], "sts.amazonaws.com");
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        300
    );
    assert_eq!(
        account.calls("GetIdToken")[0].asked["audience"],
        "sts.amazonaws.com"
    );
}

#[test]
fn the_issuer_knows_its_job_by_the_request_token() {
    let account = Account::new();
    let url = format!(
        "{}/oidc/{}?api-version=2.0",
        crate::wire::variable("RIG_AWS"),
        account.number()
    );
    for headers in [&[][..], &[("Authorization", "bearer guess")]] {
        assert_eq!(aws_stand_in::send("GET", &url, headers, "").0, 401);
    }
}

#[test]
fn sts_refuses_what_moto_would_take() {
    let account = Account::new();
    let good = token(&account, "sts.amazonaws.com");
    for (token, seconds, code) in [
        ("not.a.token".to_owned(), 3600, "InvalidIdentityToken"),
        (
            token(&account, "somebody.else"),
            3600,
            "InvalidIdentityToken",
        ),
        (good.clone(), 60, "ValidationError"),
        (good.clone(), 99_999, "ValidationError"),
    ] {
        let (status, text) = assume(&account, &token, seconds);
        assert_eq!((status, element(&text, "Code").as_str()), (400, code));
    }
    account.api_fault(
        "AssumeRoleWithWebIdentity",
        1,
        400,
        "IDPCommunicationError",
        "no answer from the provider",
    );
    assert_eq!(
        element(&assume(&account, &good, 900).1, "Code"),
        "IDPCommunicationError"
    );
    assert_eq!(assume(&account, &good, 900).0, 200);
    account.deny("sts:AssumeRoleWithWebIdentity");
    assert_eq!(
        element(&assume(&account, &good, 900).1, "Code"),
        "AccessDenied"
    );
    assert!(
        !serde_json::to_string(&account.record())
            .unwrap()
            .contains(&good)
    );
}

/// Calls STS with a key.
fn signed(key: &str, session: Option<&str>, body: &str) -> (u16, String) {
    let signature =
        format!("AWS4-HMAC-SHA256 Credential={key}/20260101/eu-west-1/sts/aws4_request");
    let mut headers = vec![
        ("Authorization", signature.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    headers.extend(session.map(|token| ("X-Amz-Security-Token", token)));
    aws_stand_in::send(
        "POST",
        &crate::wire::variable("AWS_ENDPOINT_URL"),
        &headers,
        body,
    )
}

#[test]
fn a_role_assumes_a_role_of_another_account_for_an_hour_at_most() {
    let (mine, others) = (Account::new(), Account::new());
    let whoami = "Action=GetCallerIdentity&Version=2011-06-15";
    let key = aws_stand_in::names::access_key(mine.number());
    let (_, text) = signed(&key, None, whoami);
    assert_eq!(element(&text, "Account"), mine.number());
    let (_, first) = assume(&mine, &token(&mine, "sts.amazonaws.com"), 7200);
    let (key, session) = (
        element(&first, "AccessKeyId"),
        element(&first, "SessionToken"),
    );
    let ask = |seconds: u32| {
        let role = others.role("deploy");
        let body = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=x&DurationSeconds={seconds}"
        );
        signed(&key, Some(&session), &body)
    };
    assert_eq!(element(&ask(7200).1, "Code"), "ValidationError");
    let (status, second) = ask(3600);
    assert_eq!(status, 200, "{second}");
    let (key, session) = (
        element(&second, "AccessKeyId"),
        element(&second, "SessionToken"),
    );
    let (_, text) = signed(&key, Some(&session), whoami);
    assert_eq!(element(&text, "Account"), others.number());
    assert!(
        element(&text, "Arn").contains("assumed-role/deploy/x"),
        "{text}"
    );
}
