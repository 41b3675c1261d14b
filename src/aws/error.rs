//! Why there are no AWS credentials, and what to do about it.
//!
//! Codes: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>.

use std::error::Error as StdError;

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use thiserror::Error;

use super::oidc::Claims;
use super::refusal::{Refusal, error_chain};

#[derive(Debug, Error)]
pub(crate) enum SessionError {
    #[error("there are no AWS credentials")]
    Nothing {
        on_runner: bool,
        fallback: Option<Fallback>,
    },
    #[error("could not get AWS credentials: {reason}")]
    Chain {
        reason: String,
        fallback: Option<Fallback>,
    },
    #[error("could not get GitHub's OpenID Connect token: {0}")]
    GitHub(Refusal),
    #[error("the AWS profile `{0}` does not exist or has no credentials")]
    Profile(String),
    #[error(
        "the AWS profile `{0}`, which the kubeconfig names, does not exist or has no credentials, and there are no others"
    )]
    KubeconfigProfile(String),
    #[error("could not read the token file `{path}`: {reason}")]
    TokenFile { path: String, reason: String },
    #[error(transparent)]
    Role(Box<RoleError>),
    #[error("could not get the account of the AWS credentials: {0}")]
    Identity(Refusal),
    #[error("the AWS credentials belong to the account {account}, which is not in `allowed-account-ids`: {}", allowed.join(", "))]
    Account {
        account: String,
        allowed: Vec<String>,
    },
    #[error("could not get AWS credentials: the AWS region is unknown")]
    NoRegion,
    #[error("could not read the AWS settings of this run: {0}")]
    Settings(String),
}

/// Why a role is assumed with other credentials than an OpenID Connect token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// The inputs say so.
    Chosen,
    /// The job may not request a token.
    NoToken,
}

/// AWS refused to let a role be assumed.
#[derive(Debug, Error)]
#[error("could not assume the role `{role}`: {refusal}")]
pub(crate) struct RoleError {
    pub role: String,
    pub refusal: Refusal,
    /// The claims of the OpenID Connect token, if it could be parsed.
    pub claims: Option<Claims>,
    /// `None` if the role was assumed with an OpenID Connect token.
    pub fallback: Option<Fallback>,
}

/// Whether there is no EC2 metadata service. The SDK expects an unreachable address; but GitHub's own machines have
/// another cloud's service there, which answers 400, and some hosts refuse containers with 403.
fn is_not_ec2(error: &CredentialsError) -> bool {
    let first: Option<&(dyn StdError + 'static)> = error.source();
    std::iter::successors(first, |&error| error.source())
        .filter_map(|error| error.downcast_ref::<ImdsError>())
        .any(|error| match error {
            ImdsError::FailedToLoadToken(_) => true,
            ImdsError::ErrorResponse(answer) => {
                (400..500).contains(&answer.response().status().as_u16())
            }
            _ => false,
        })
}

const NO_TOKEN: &str = "`role-to-assume` needs GitHub's OpenID Connect token: give the job `permissions: id-token: write`";

impl SessionError {
    /// An error of the standard chain or of a profile.
    pub(super) fn of_chain(
        error: &CredentialsError,
        on_runner: bool,
        fallback: Option<Fallback>,
    ) -> Self {
        let reason = error_chain(error);
        if matches!(error, CredentialsError::CredentialsNotLoaded(_)) || is_not_ec2(error) {
            tracing::debug!("no AWS credentials: {reason}");
            return Self::Nothing {
                on_runner,
                fallback,
            };
        }
        Self::Chain { reason, fallback }
    }

    /// Whether a retry with a new token can help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::GitHub(refusal) => refusal.is_transient,
            // Other credentials stay expired.
            Self::Role(error) => {
                let is_expired = error.refusal.has_code(&["ExpiredTokenException"]);
                error.refusal.is_transient && (error.fallback.is_none() || !is_expired)
            }
            _ => false,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Nothing {
                on_runner,
                fallback,
            } => match (fallback, on_runner) {
                (Some(Fallback::NoToken), _) => {
                    return Some(format!(
                        "{NO_TOKEN}; or set `aws-access-key-id` and `aws-secret-access-key`"
                    ));
                }
                (_, false) => "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                (Some(Fallback::Chosen), true) => {
                    "run aws-actions/configure-aws-credentials before this step, so that its credentials can \
                     assume `role-to-assume`; or remove `role-chaining` and `aws-profile`"
                }
                (None, true) => {
                    "set the input `role-to-assume`, with `permissions: id-token: write`, or run \
                     aws-actions/configure-aws-credentials before this step"
                }
            },
            Self::Chain {
                fallback: Some(Fallback::NoToken),
                ..
            } => {
                return Some(format!(
                    "{NO_TOKEN}; without it, other credentials must assume the role"
                ));
            }
            Self::Chain { .. } => "the AWS SDK found credentials, but could not use them",
            Self::GitHub(refusal) if refusal.has_code(&["401", "403"]) => {
                "give the job `permissions: id-token: write`"
            }
            Self::GitHub(_) => "check https://www.githubstatus.com and run the job again",
            Self::Profile(_) => {
                "correct `aws-profile`. The files are AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, or \
                 those in `~/.aws`; this step's home is not the runner's"
            }
            Self::KubeconfigProfile(_) => {
                "remove the profile from the kubeconfig's `exec` entry and give the step other credentials, such as \
                 `role-to-assume`; or write the profile to the file that AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE names"
            }
            Self::TokenFile { .. } => {
                "set `web-identity-token-file` to a regular file that this step can read"
            }
            Self::NoRegion => "set the input `aws-region`, or AWS_REGION",
            Self::Account { .. } => "use another role, or correct `allowed-account-ids`",
            Self::Role(error) => return error.hint(),
            Self::Identity(refusal) => refusal.hint()?,
            Self::Settings(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl RoleError {
    /// What to do. A job that may not request a token should be allowed to, first of all.
    fn hint(&self) -> Option<String> {
        let hint = self.refusal_hint();
        if self.fallback != Some(Fallback::NoToken) {
            return hint;
        }
        Some(match hint {
            Some(hint) => format!("{NO_TOKEN}; or fix the credentials used instead: {hint}"),
            None => NO_TOKEN.to_owned(),
        })
    }

    fn refusal_hint(&self) -> Option<String> {
        let refusal = &self.refusal;
        let by_token = self.fallback.is_none();
        let claims = self.claims.as_ref().map_or_else(String::new, |claims| {
            let Claims { sub, aud } = claims;
            format!("; this run's `sub` is `{sub}`, its `aud` `{aud}`")
        });
        let is_denied = refusal.has_code(&["AccessDenied", "AccessDeniedException"]);
        let no_keys = "Couldn't retrieve verification key";
        let expired = [
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
        ];
        let rejected = [
            "InvalidIdentityToken",
            "IDPRejectedClaim",
            "ExpiredTokenException",
        ];
        let hint = if refusal.says("DurationSeconds") || refusal.says("MaxSessionDuration") {
            "`role-duration-seconds` is more than the role's maximum session duration".to_owned()
        } else if refusal.says("No OpenIDConnect provider found") {
            let account = self.role.split(':').nth(4).unwrap_or_default();
            format!(
                "the account {account} needs an IAM identity provider for \
                 https://token.actions.githubusercontent.com"
            )
        } else if refusal.says("Incorrect token audience") {
            format!(
                "add the input `audience` to the audiences of the IAM identity provider{claims}"
            )
        } else if is_denied && by_token {
            format!(
                "check the role's name and its trust policy: it must allow sts:AssumeRoleWithWebIdentity, and its \
                 conditions on `token.actions.githubusercontent.com:sub` and `:aud` must match{claims}"
            )
        } else if is_denied {
            "check the role's name. The credentials must be allowed to call sts:AssumeRole on it, and its trust \
             policy must allow them (with `role-external-id`, if it requires one)"
                .to_owned()
        } else if refusal.has_code(&["RegionDisabledException"]) {
            "activate STS in this region, or set another `aws-region`".to_owned()
        } else if refusal.has_code(&["IDPCommunicationError"]) || refusal.says(no_keys) {
            "AWS could not reach the token's issuer: run the job again".to_owned()
        } else if refusal.has_code(&expired) && !by_token {
            "the credentials that assume the role are expired or wrong".to_owned()
        } else if refusal.has_code(&rejected) && by_token {
            format!("AWS rejected the token{claims}")
        } else {
            refusal.hint()?.to_owned()
        };
        Some(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(code: &str, message: &str, by_token: bool) -> Option<String> {
        let error = SessionError::Role(Box::new(RoleError {
            role: "arn:aws:iam::123456789012:role/deploy".to_owned(),
            refusal: Refusal {
                reason: format!("{code}: {message}"),
                code: Some(code.to_owned()),
                is_transient: false,
            },
            claims: by_token.then(|| Claims {
                sub: "repo:octo/app:ref:refs/heads/main".to_owned(),
                aud: "sts.amazonaws.com".to_owned(),
            }),
            fallback: (!by_token).then_some(Fallback::Chosen),
        }));
        error.hint()
    }

    #[test]
    fn each_refusal_of_a_role_has_its_remedy() {
        let sub = "`sub` is `repo:octo/app:ref:refs/heads/main`, its `aud` `sts.amazonaws.com`";
        for (code, message, by_token, expected) in [
            (
                "AccessDenied",
                "Not authorized to perform sts:AssumeRoleWithWebIdentity",
                true,
                sub,
            ),
            (
                "AccessDenied",
                "User: x is not authorized to perform: sts:AssumeRole",
                false,
                "must be allowed to call sts:AssumeRole on it",
            ),
            (
                "InvalidIdentityToken",
                "No OpenIDConnect provider found in your account for https://x",
                true,
                "the account 123456789012 needs an IAM identity provider",
            ),
            (
                "InvalidIdentityToken",
                "Incorrect token audience",
                true,
                "add the input `audience` to the audiences",
            ),
            ("IDPRejectedClaim", "no", true, "AWS rejected the token"),
            (
                "IDPCommunicationError",
                "no",
                true,
                "could not reach the token's issuer",
            ),
            (
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
                true,
                "`role-duration-seconds`",
            ),
            ("RegionDisabledException", "no", true, "activate STS"),
            (
                "ExpiredToken",
                "The security token included in the request is expired",
                false,
                "expired or wrong",
            ),
        ] {
            let hint = hint(code, message, by_token).unwrap();
            assert!(hint.contains(expected), "{code}: {hint}");
        }
        let expired = "Signature expired: 20261130T141613Z is now earlier than 20261130T150113Z";
        for (code, message) in [("SignatureDoesNotMatch", expired), ("RequestExpired", "no")] {
            let hint = hint(code, message, false).unwrap();
            assert!(
                hint.contains("this machine's clock is wrong"),
                "{code}: {hint}"
            );
        }
        let other = "The request signature we calculated does not match the signature you provided";
        assert_eq!(hint("SignatureDoesNotMatch", other, false), None);
        assert_eq!(hint("SomethingNew", "no", true), None);
    }
}
