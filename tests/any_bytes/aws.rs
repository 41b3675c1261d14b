//! What AWS and GitHub's issuer of tokens answer.

use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::StalledStreamProtectionConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use readers::Target;
use secrecy::{ExposeSecret as _, SecretString};

use super::{ecr, oidc, role};
use crate::any_bytes::{part, parts, seed};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "aws-answer",
        read: answer,
        seeds: || {
            vec![
                seed(&[
                    "200",
                    "",
                    r#"{"authorizationData":[{"authorizationToken":"QVdTOnBhc3N3b3Jk","expiresAt":1.7e9,"proxyEndpoint":"https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"}]}"#,
                ]),
                seed(&[
                    "400",
                    "AccessDeniedException",
                    r#"{"__type":"AccessDeniedException","message":"no"}"#,
                ]),
                seed(&[
                    "200",
                    "",
                    "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>a</Arn>\
                     <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
                ]),
                seed(&[
                    "403",
                    "",
                    "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>m</Message></Error></ErrorResponse>",
                ]),
            ]
        },
    },
    Target {
        name: "aws-tokens",
        read: tokens,
        seeds: || {
            vec![
                b"a.eyJzdWIiOiJyZXBvOm8vYSIsImF1ZCI6InN0cyJ9.b".to_vec(),
                br#"{"password":"p","expires":"2026-11-23T12:00:00Z"}"#.to_vec(),
                b"QVdTOnBhc3N3b3Jk".to_vec(),
            ]
        },
    },
];

/// Answers every request with the same.
#[derive(Debug, Clone)]
struct Answers(Arc<Mutex<(u16, String, String)>>);

impl HttpClient for Answers {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Answers {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let (status, kind, body) = self.0.lock().unwrap().clone();
        let status = status.try_into().unwrap();
        let mut response = HttpResponse::new(status, body.into());
        if !kind.is_empty() {
            response.headers_mut().insert("x-amzn-errortype", kind);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// A configuration with which all that is asked has one answer: a status, the header with an error's type, a body.
pub(crate) fn answering(bytes: &[u8]) -> SdkConfig {
    let parts = parts(bytes);
    let status = part(&parts, 0).parse().unwrap_or(200);
    let status = if (200..600).contains(&status) {
        status
    } else {
        200
    };
    let kind = part(&parts, 1);
    let kind: String = kind.chars().filter(char::is_ascii_graphic).collect();
    let answers = Answers(Arc::new(Mutex::new((
        status,
        kind,
        part(&parts, 2).to_owned(),
    ))));
    let keys = Credentials::new("AKID", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .http_client(answers)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// Of the question for a token, and for the account.
fn answer(bytes: &[u8]) {
    let config = answering(bytes);
    wait(async {
        match ecr::authorize(&config, "a".to_owned()).await {
            Ok(found) => assert!(!found.token.password.expose_secret().is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Err(error) = role::account(&config).await {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// GitHub's token, ECR's, and the file of one.
fn tokens(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(claims) = oidc::claims(&SecretString::from(&*text)) {
        assert!(!claims.sub.contains(char::is_control) && claims.sub.len() <= 512);
    }
    if let Some(token) = ecr::Token::from_file(&text) {
        let again = ecr::Token::from_file(&token.to_file()).unwrap();
        assert_eq!(
            again.password.expose_secret(),
            token.password.expose_secret()
        );
        assert_eq!(again.expires, token.expires);
    }
    let _ = ecr::password(&text);
}
