//! Assumes a role by AWS STS, with an OpenID Connect token or with other credentials.
//!
//! Transient failures are retried for about 20 s, each time with a new token.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_sts::Client;
use aws_sdk_sts::types::{AssumedRoleUser, Credentials};
use backon::{ExponentialBuilder, Retryable as _};
use image::Partition;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::error::{RoleError, SessionError};
use super::oidc;
use super::refusal::Refusal;
use super::settings::{AssumeWith, Keys, Role};

/// Delays of 0.3 to 0.6 s, doubled each time: seven requests within about 20 s.
const FIRST_DELAY: Duration = Duration::from_millis(300);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
const RETRIES: usize = 6;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Assumed {
    pub keys: Keys,
    pub expires: Timestamp,
    /// `arn:aws:sts::123456789012:assumed-role/deploy/GitHubActions`.
    pub arn: String,
}

/// Assumes the role. `config` has the credentials to do it with, if any are needed.
pub(super) async fn assume(
    role: &Role,
    config: &SdkConfig,
    mask: &(dyn Fn(&str) + Send + Sync),
) -> Result<Assumed, SessionError> {
    let arn = if role.name.starts_with("arn:") {
        role.name.clone()
    } else {
        let account = account(config).await?;
        let region = config.region().map_or("", |region| region.as_ref());
        let partition = Partition::of_region(region).name;
        format!("arn:{partition}:iam::{account}:role/{}", role.name)
    };
    let client = Client::from_conf(
        aws_sdk_sts::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .build(),
    );
    let delays = ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .with_max_times(RETRIES)
        .with_jitter();
    (|| request(role, &arn, &client, mask))
        .retry(delays)
        .when(SessionError::is_transient)
        .notify(|error, delay| {
            let seconds = delay.as_secs_f64();
            tracing::info!("{error}: trying again in {seconds:.1} s");
        })
        .await
}

async fn request(
    role: &Role,
    arn: &str,
    client: &Client,
    mask: &(dyn Fn(&str) + Send + Sync),
) -> Result<Assumed, SessionError> {
    let token = match &role.with {
        AssumeWith::Credentials(_) => None,
        AssumeWith::TokenFile(path) => {
            let text = read_token_file(path).map_err(|error| SessionError::TokenFile {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
            Some(SecretString::from(text.trim()))
        }
        AssumeWith::GitHub {
            url,
            token,
            audience,
        } => {
            let token = oidc::token(url, token, audience).await;
            Some(token.map_err(SessionError::GitHub)?)
        }
    };
    let answer = match &token {
        Some(token) => {
            mask(token.expose_secret());
            client
                .assume_role_with_web_identity()
                .role_arn(arn)
                .role_session_name(&role.session_name)
                .duration_seconds(role.seconds)
                .web_identity_token(token.expose_secret())
                .send()
                .await
                .map(|answer| (answer.credentials, answer.assumed_role_user))
                .map_err(|error| Refusal::of(&error))
        }
        None => client
            .assume_role()
            .role_arn(arn)
            .role_session_name(&role.session_name)
            .duration_seconds(role.seconds)
            .set_external_id(role.external_id.clone())
            .send()
            .await
            .map(|answer| (answer.credentials, answer.assumed_role_user))
            .map_err(|error| Refusal::of(&error)),
    };
    let incomplete = || Refusal::fatal("the answer has no usable credentials");
    answer
        .and_then(|(credentials, user)| assumed(credentials, user).ok_or_else(incomplete))
        .map_err(|refusal| {
            SessionError::Role(Box::new(RoleError {
                role: arn.to_owned(),
                refusal,
                claims: token.as_ref().and_then(oidc::claims),
                fallback: role.fallback(),
            }))
        })
}

/// Reads a token, but not through a symbolic link, like configure-aws-credentials: a build could point one at another
/// file.
fn read_token_file(path: &Path) -> io::Result<String> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    fs::read_to_string(path)
}

fn assumed(credentials: Option<Credentials>, user: Option<AssumedRoleUser>) -> Option<Assumed> {
    let credentials = credentials?;
    Some(Assumed {
        expires: Timestamp::from_second(credentials.expiration.secs()).ok()?,
        arn: user?.arn,
        keys: Keys {
            id: credentials.access_key_id.into(),
            secret: credentials.secret_access_key.into(),
            token: credentials.session_token.into(),
        },
    })
}

pub(super) async fn account(config: &SdkConfig) -> Result<String, SessionError> {
    let answer = Client::new(config).get_caller_identity().send().await;
    let answer = answer.map_err(|error| SessionError::Identity(Refusal::of(&error)))?;
    Ok(answer.account.unwrap_or_default())
}
