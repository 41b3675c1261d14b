//! ECR authorization tokens, by the AWS SDK's standard chain of credentials.
//!
//! In: a registry, or a region. Out: a token, which is a password for the user `AWS`, good for 12
//! hours (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>).

use std::error::Error as _;
use std::time::Duration;

use aws_config::Region;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ecr::error::{DisplayErrorContext, ProvideErrorMetadata as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::image::EcrRegistry;

/// How long one request may take, AWS credentials included. The SDK by itself waits for ever.
const ATTEMPT: Duration = Duration::from_secs(8);

/// How long to try in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// The user name of every ECR login.
pub(crate) const USER: &str = "AWS";

/// A password for a registry, and until when it is good.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub password: SecretString,
    pub expires: Timestamp,
}

/// A token and the registry that answered for it.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub token: Token,
    /// The account's registry in the region asked.
    pub host: String,
}

/// No ECR token could be had.
#[derive(Debug, Error)]
pub(crate) enum EcrError {
    #[error("could not get an ECR token for {subject}: {reason}")]
    Denied {
        subject: String,
        reason: String,
        code: Option<String>,
    },
    #[error("could not get an ECR token for {subject}: the answer holds no usable token")]
    Answer { subject: String },
    #[error("could not get an ECR token: no AWS region is known")]
    NoRegion,
}

impl EcrError {
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoRegion => "set the input `aws-region`, or AWS_REGION",
            Self::Denied {
                code: Some(code), ..
            } if code == "AccessDeniedException" => {
                "the role needs `ecr:GetAuthorizationToken` on `*`"
            }
            Self::Denied {
                code: Some(code), ..
            } if code.contains("ExpiredToken") || code.contains("UnrecognizedClient") => {
                "the AWS credentials are expired or wrong: run aws-actions/configure-aws-credentials \
                 right before this step"
            }
            Self::Denied { code: None, .. } => {
                "are there AWS credentials? Run aws-actions/configure-aws-credentials before this \
                 step, with `permissions: id-token: write`"
            }
            Self::Denied { .. } | Self::Answer { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Gets a token for a registry.
pub(crate) async fn token(registry: &EcrRegistry) -> Result<Token, EcrError> {
    let subject = format!("`{}`", registry.host);
    let region = Region::new(registry.region.clone());
    Ok(authorize(Some(region), subject).await?.token)
}

/// Gets a token for the registry of the account that the AWS credentials belong to.
pub(crate) async fn own_registry(region: Option<&str>) -> Result<Authorization, EcrError> {
    let region = region.map(|region| Region::new(region.to_owned()));
    authorize(region, "the account's own registry".to_owned()).await
}

/// How long requests to AWS may take.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(PATIENCE)
        .build()
}

async fn authorize(region: Option<Region>, subject: String) -> Result<Authorization, EcrError> {
    let mut loader = aws_config::from_env().timeout_config(timeouts());
    if let Some(region) = region {
        loader = loader.region(region);
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(EcrError::NoRegion);
    }
    let answer = aws_sdk_ecr::Client::new(&config)
        .get_authorization_token()
        .send()
        .await
        .map_err(|error| EcrError::Denied {
            code: error.code().map(str::to_owned),
            reason: reason(&error),
            subject: subject.clone(),
        })?;
    let first = answer.authorization_data().first();
    let (Some(encoded), Some(endpoint)) = (
        first.and_then(|data| data.authorization_token()),
        first.and_then(|data| data.proxy_endpoint()),
    ) else {
        return Err(EcrError::Answer { subject });
    };
    let expires = first
        .and_then(|data| data.expires_at())
        .and_then(|time| Timestamp::from_second(time.secs()).ok())
        .unwrap_or(Timestamp::MIN);
    let password = password(encoded).ok_or(EcrError::Answer { subject })?;
    Ok(Authorization {
        token: Token { password, expires },
        host: endpoint
            .trim_start_matches("https://")
            .trim_end_matches('/')
            .to_owned(),
    })
}

/// The service's own words where there are any, else the whole chain of causes.
fn reason<E>(error: &aws_sdk_ecr::error::SdkError<E>) -> String
where
    E: aws_sdk_ecr::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => error.source().map_or_else(
            || error.to_string(),
            |source| DisplayErrorContext(source).to_string(),
        ),
    }
}

/// The password in a token: base64 of `AWS:<password>`.
fn password(encoded: &str) -> Option<SecretString> {
    let decoded = STANDARD.decode(encoded).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    (user == USER && !password.is_empty()).then(|| SecretString::from(password))
}

/// How a token is kept in a file for the helper.
#[derive(Serialize, Deserialize)]
struct TokenFile {
    password: String,
    expires: Timestamp,
}

impl Token {
    #[cfg(test)]
    pub(crate) fn new(password: &str, expires: Timestamp) -> Self {
        Self {
            password: SecretString::from(password),
            expires,
        }
    }

    /// The token as the helper reads it from its file. Holds the secret.
    pub(super) fn to_file(&self) -> String {
        let file = TokenFile {
            password: self.password.expose_secret().to_owned(),
            expires: self.expires,
        };
        // Two plain fields always serialize.
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// Reads what [`Self::to_file`] wrote.
    pub(super) fn from_file(text: &str) -> Option<Self> {
        let file: TokenFile = serde_json::from_str(text).ok()?;
        Some(Self {
            password: SecretString::from(file.password),
            expires: file.expires,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_password_of_a_token_and_nothing_else() {
        let read =
            |encoded: &str| password(encoded).map(|secret| secret.expose_secret().to_owned());
        // base64 of `AWS:secret:with:colons`, `other:x`, `AWS:`
        assert_eq!(
            read("QVdTOnNlY3JldDp3aXRoOmNvbG9ucw==").as_deref(),
            Some("secret:with:colons")
        );
        assert_eq!(read("b3RoZXI6eA=="), None);
        assert_eq!(read("QVdTOg=="), None);
        assert_eq!(read("%%%"), None);
    }

    #[test]
    fn a_token_does_not_show_its_password() {
        let token = Token::new("hidden", Timestamp::UNIX_EPOCH);
        assert!(!format!("{token:?}").contains("hidden"));
        let read = Token::from_file(&token.to_file()).unwrap();
        assert_eq!(read.password.expose_secret(), "hidden");
        assert_eq!(read.expires, Timestamp::UNIX_EPOCH);
    }
}
