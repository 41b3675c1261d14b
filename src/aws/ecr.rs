//! ECR authorization tokens: passwords for the user `AWS`, valid for 12 hours
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::Registry;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::SessionError;
use super::refusal::{Refusal, UNREACHABLE};
use super::secret_text;
use super::session::Session;

/// The user name of every ECR login.
pub(crate) const USER: &str = "AWS";

/// The only region with ECR Public's API
/// (<https://docs.aws.amazon.com/AmazonECR/latest/public/public-registry-auth.html>).
const PUBLIC_REGION: &str = "us-east-1";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    #[serde(with = "secret_text")]
    pub password: SecretString,
    pub expires: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub token: Token,
    /// The account's registry in the requested region.
    pub host: String,
}

#[derive(Debug, Error)]
pub(crate) enum EcrError {
    #[error("could not get an ECR token for {subject}: {refusal}")]
    Refused {
        subject: String,
        refusal: Refusal,
        /// Whether the request went to ECR Public.
        public: bool,
    },
    #[error("could not get an ECR token for {subject}: the answer has no usable token")]
    Answer { subject: String },
    #[error("could not get an ECR token: the AWS region is unknown")]
    NoRegion,
    #[error("could not get an ECR token for {subject}")]
    Session {
        subject: String,
        #[source]
        source: SessionError,
    },
}

impl EcrError {
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Session { source, .. } => return source.hint(),
            Self::NoRegion => "set the input `aws-region`, or AWS_REGION",
            Self::Refused {
                refusal, public, ..
            } => match (refusal.hint(), refusal.code.as_deref()) {
                (Some(hint), _) => hint,
                (_, Some("AccessDeniedException")) if *public => {
                    "the role needs `ecr-public:GetAuthorizationToken` and \
                     `sts:GetServiceBearerToken` on `*`"
                }
                (_, Some("AccessDeniedException")) => {
                    "the role needs `ecr:GetAuthorizationToken` on `*`"
                }
                (_, Some(code))
                    if code.contains("ExpiredToken")
                        || code.contains("UnrecognizedClient")
                        || code.contains("InvalidSignature") =>
                {
                    "the AWS credentials are expired or wrong: set the input `role-to-assume`, or run \
                     aws-actions/configure-aws-credentials right before this step"
                }
                (_, Some(_)) => return None,
                (_, None) => UNREACHABLE,
            },
            Self::Answer { .. } => return None,
        };
        Some(hint.to_owned())
    }

    fn refused(subject: &str, public: bool, refusal: Refusal) -> Self {
        Self::Refused {
            subject: subject.to_owned(),
            refusal,
            public,
        }
    }
}

/// Gets a token for a registry; `None` if it is not Amazon's.
pub(crate) async fn token(
    registry: &Registry,
    session: &Session,
) -> Result<Option<Token>, EcrError> {
    match registry {
        Registry::Ecr(registry) => {
            let subject = format!("`{}`", registry.host);
            let config = session.config_for(registry).await;
            let config = config.map_err(failed(&subject))?;
            Ok(Some(authorize(&config, subject).await?.token))
        }
        Registry::EcrPublic { host } => public(host, session).await.map(Some),
        Registry::Other { .. } => Ok(None),
    }
}

async fn public(host: &str, session: &Session) -> Result<Token, EcrError> {
    let subject = format!("`{host}`");
    let config = session.config(Some(PUBLIC_REGION)).await;
    let config = config.map_err(failed(&subject))?;
    let answer = aws_sdk_ecrpublic::Client::new(&config)
        .get_authorization_token()
        .send()
        .await
        .map_err(|error| EcrError::refused(&subject, true, Refusal::of(&error)))?;
    let data = answer.authorization_data;
    let token = data.and_then(|data| read(data.authorization_token()?, data.expires_at()?.secs()));
    token.ok_or(EcrError::Answer { subject })
}

/// Gets a token for the registry of the credentials' account.
pub(crate) async fn own_registry(
    region: Option<&str>,
    session: &Session,
) -> Result<Authorization, EcrError> {
    let subject = "the account's own registry".to_owned();
    let config = session.config(region).await.map_err(failed(&subject))?;
    if config.region().is_none() {
        return Err(EcrError::NoRegion);
    }
    authorize(&config, subject).await
}

fn failed(subject: &str) -> impl FnOnce(SessionError) -> EcrError {
    let subject = subject.to_owned();
    move |source| EcrError::Session { subject, source }
}

pub(super) async fn authorize(
    config: &aws_config::SdkConfig,
    subject: String,
) -> Result<Authorization, EcrError> {
    let answer = aws_sdk_ecr::Client::new(config)
        .get_authorization_token()
        .send()
        .await
        .map_err(|error| EcrError::refused(&subject, false, Refusal::of(&error)))?;
    let first = answer.authorization_data().first();
    let read = first.and_then(|data| {
        Some(Authorization {
            token: read(data.authorization_token()?, data.expires_at()?.secs())?,
            host: data
                .proxy_endpoint()?
                .trim_start_matches("https://")
                .trim_end_matches('/')
                .to_owned(),
        })
    });
    read.ok_or(EcrError::Answer { subject })
}

/// Decodes a token that expires at a Unix time (seconds).
fn read(encoded: &str, expires: i64) -> Option<Token> {
    Some(Token {
        password: password(encoded)?,
        expires: Timestamp::from_second(expires).unwrap_or(Timestamp::MIN),
    })
}

/// The password in a token: base64 of `AWS:<password>`.
pub(super) fn password(encoded: &str) -> Option<SecretString> {
    let decoded = STANDARD.decode(encoded).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    (user == USER && !password.is_empty()).then(|| SecretString::from(password))
}

impl Token {
    #[cfg(test)]
    pub(crate) fn new(password: &str, expires: Timestamp) -> Self {
        Self {
            password: SecretString::from(password),
            expires,
        }
    }

    pub(crate) fn to_file(&self) -> String {
        // Two plain fields always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn from_file(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

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
