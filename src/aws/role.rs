//! A role's session, by AWS STS: with a token for OpenID Connect, or with other credentials.
//!
//! In: a [`Role`]. Out: its temporary keys. What may pass is tried again for some twenty seconds, each
//! time with a new token; what is refused for a reason is not.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_sts::Client;
use aws_sdk_sts::types::{AssumedRoleUser, Credentials};
use backon::{ExponentialBuilder, Retryable as _};
use image::Partition;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::{Refusal, RoleError, SessionError};
use super::settings::{Keys, Proof, Role};
use super::{Mask, github};

/// Waits of 0.3 to 0.6 s, then twice that each time: seven requests within about 20 s.
const FIRST_WAIT: Duration = Duration::from_millis(300);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const REPETITIONS: usize = 6;

/// A session of a role.
#[derive(Debug, Clone)]
pub(super) struct Assumed {
    pub keys: Keys,
    pub expires: Timestamp,
    /// `arn:aws:sts::123456789012:assumed-role/deploy/GitHubActions`.
    pub arn: String,
}

/// Assumes the role; `config` holds the credentials to do it with, where it is done with some.
pub(super) async fn assume(
    role: &Role,
    config: &SdkConfig,
    mask: &Mask,
) -> Result<Assumed, SessionError> {
    let name = match role.name.strip_prefix("arn:") {
        Some(_) => role.name.clone(),
        None => {
            let (_, account) = caller(config).await?;
            let region = config.region().map_or("", |region| region.as_ref());
            let partition = Partition::of_region(region).name();
            format!("arn:{partition}:iam::{account}:role/{}", role.name)
        }
    };
    let client = Client::from_conf(
        aws_sdk_sts::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .build(),
    );
    let waits = ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_max_times(REPETITIONS)
        .with_jitter();
    (|| once(role, &name, &client, mask))
        .retry(waits)
        .when(passes)
        .notify(|error, wait| {
            let seconds = wait.as_secs_f64();
            tracing::info!("{error}: trying again in {seconds:.1} s");
        })
        .await
}

async fn once(
    role: &Role,
    arn: &str,
    client: &Client,
    mask: &Mask,
) -> Result<Assumed, SessionError> {
    let token = match &role.proof {
        Proof::Credentials(_) => None,
        Proof::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| SessionError::TokenFile {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
            Some(SecretString::from(text.trim()))
        }
        Proof::GitHub {
            url,
            token,
            audience,
        } => {
            let token = github::token(url, token, audience).await;
            Some(token.map_err(|refusal| SessionError::GitHub { refusal })?)
        }
    };
    let answer = match &token {
        Some(token) => {
            mask(token.expose_secret());
            let request = client
                .assume_role_with_web_identity()
                .role_arn(arn)
                .role_session_name(&role.session_name)
                .duration_seconds(role.seconds)
                .web_identity_token(token.expose_secret());
            let answer = request.send().await.map_err(|error| Refusal::of(&error));
            answer.map(|answer| (answer.credentials, answer.assumed_role_user))
        }
        None => {
            let request = client
                .assume_role()
                .role_arn(arn)
                .role_session_name(&role.session_name)
                .duration_seconds(role.seconds)
                .set_external_id(role.external_id.clone());
            let answer = request.send().await.map_err(|error| Refusal::of(&error));
            answer.map(|answer| (answer.credentials, answer.assumed_role_user))
        }
    };
    let refused = |refusal| {
        SessionError::Role(Box::new(RoleError {
            role: arn.to_owned(),
            refusal,
            claims: token.as_ref().and_then(github::claims),
            instead: role.instead(),
        }))
    };
    let (credentials, user) = answer.map_err(refused)?;
    assumed(credentials, user).ok_or_else(|| {
        refused(Refusal {
            reason: "the answer holds no usable credentials".to_owned(),
            code: None,
            passes: false,
        })
    })
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

fn passes(error: &SessionError) -> bool {
    match error {
        SessionError::GitHub { refusal } => refusal.passes,
        // Other credentials that are expired stay so.
        SessionError::Role(error) => {
            let expired = error.refusal.code.as_deref() == Some("ExpiredTokenException");
            error.refusal.passes && (error.instead.is_none() || !expired)
        }
        _ => false,
    }
}

/// Whose credentials these are: ARN and account.
pub(super) async fn caller(config: &SdkConfig) -> Result<(String, String), SessionError> {
    let answer = Client::new(config).get_caller_identity().send().await;
    let answer = answer.map_err(|error| SessionError::Identity(Refusal::of(&error)))?;
    Ok((
        answer.arn.unwrap_or_default(),
        answer.account.unwrap_or_default(),
    ))
}
