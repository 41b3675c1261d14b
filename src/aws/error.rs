//! Why there are no AWS credentials, in words, and what to do about it.
//!
//! Codes: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>.

use std::error::Error as StdError;

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;

use super::github::Claims;

/// No AWS credentials could be had.
#[derive(Debug, Error)]
pub(crate) enum SessionError {
    #[error("there are no AWS credentials")]
    Nothing {
        on_runner: bool,
        /// What these credentials were to assume a role for, if they were.
        role: Option<Instead>,
    },
    #[error("could not get AWS credentials: {reason}")]
    Chain {
        reason: String,
        role: Option<Instead>,
    },
    #[error("could not get GitHub's token for OpenID Connect: {}", refusal.reason)]
    GitHub { refusal: Refusal },
    #[error("could not read the token file `{path}`: {reason}")]
    TokenFile { path: String, reason: String },
    #[error(transparent)]
    Role(Box<RoleError>),
    #[error("could not ask AWS whose credentials these are: {}", .0.reason)]
    Identity(Refusal),
    #[error("the AWS credentials belong to the account {account}, which `allowed-account-ids` does not hold: {}", allowed.join(", "))]
    Account {
        account: String,
        allowed: Vec<String>,
    },
    #[error("could not get AWS credentials: no AWS region is known")]
    NoRegion,
    #[error("could not read the AWS settings of this run: {0}")]
    Settings(String),
}

/// Why a role is assumed with other credentials than a token for OpenID Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The inputs want it so.
    Chosen,
    /// The job gets no token, which would have been taken.
    NoToken,
}

/// AWS did not let a role be assumed.
#[derive(Debug, Error)]
#[error("could not assume the role `{role}`: {}", refusal.reason)]
pub(crate) struct RoleError {
    pub role: String,
    pub refusal: Refusal,
    /// What the token for OpenID Connect said, where it could be read.
    pub claims: Option<Claims>,
    /// What it was assumed with; none for such a token.
    pub instead: Option<Instead>,
}

/// One request that was refused or did not get through.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub reason: String,
    /// The service's name for the error, or an HTTP status.
    pub code: Option<String>,
    /// Whether the same request may succeed a moment later.
    pub passes: bool,
}

impl Refusal {
    /// What an operation of the SDK ended with.
    pub(super) fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let code = error.code().map(str::to_owned);
        let reason = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => words(error),
        };
        Self {
            passes: passes(error),
            code,
            reason,
        }
    }

    fn is(&self, codes: &[&str]) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| codes.contains(&code))
    }

    fn says(&self, text: &str) -> bool {
        self.reason.contains(text)
    }
}

/// Whether trying again can help: the line was cut, or the service has too much to do. What it
/// refuses for a reason of its own, it will refuse again.
fn passes<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    /// A token that expired on the way is replaced by a new one.
    const CODES: &[&str] = &[
        "ExpiredTokenException",
        "IDPCommunicationError",
        "InternalFailure",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ];
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let known = error.code().is_some_and(|code| CODES.contains(&code));
            known || status >= 500 || status == 429
        }
        _ => false,
    }
}

/// Whether there is no instance of Amazon's that could give credentials. The SDK takes only a
/// metadata service that can't be reached for none; but GitHub's own machines have another cloud's at
/// the same address, which refuses Amazon's requests (400), and some let no container use theirs (403).
fn is_no_instance(error: &CredentialsError) -> bool {
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

/// Why a job with `role-to-assume` has no token to assume it with.
const NO_TOKEN: &str = "the job needs `permissions: id-token: write` for `role-to-assume`, so that \
     GitHub gives it a token for OpenID Connect";

impl SessionError {
    /// What the standard chain or a profile ended with.
    pub(super) fn of_chain(
        error: &CredentialsError,
        on_runner: bool,
        role: Option<Instead>,
    ) -> Self {
        let is_nothing = matches!(error, CredentialsError::CredentialsNotLoaded(_));
        if is_nothing || is_no_instance(error) {
            tracing::debug!("no AWS credentials: {}", words(error));
            return Self::Nothing { on_runner, role };
        }
        Self::Chain {
            reason: words(error),
            role,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Nothing {
                role: Some(Instead::NoToken),
                ..
            } => {
                return Some(format!(
                    "{NO_TOKEN}; or give `aws-access-key-id` and `aws-secret-access-key`"
                ));
            }
            Self::Chain {
                role: Some(Instead::NoToken),
                ..
            } => {
                return Some(format!(
                    "{NO_TOKEN}; without it, credentials were looked for that could assume the role"
                ));
            }
            Self::Nothing {
                on_runner: true,
                role: Some(Instead::Chosen),
            } => {
                "`role-to-assume` is to be assumed with other credentials here: run \
                 aws-actions/configure-aws-credentials before this step, or leave `role-chaining` and \
                 `aws-profile` away"
            }
            Self::Nothing {
                on_runner: true,
                role: None,
            } => {
                "give the input `role-to-assume`, with `permissions: id-token: write`, or run \
                 aws-actions/configure-aws-credentials before this step"
            }
            Self::Nothing { .. } => {
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            Self::Chain { .. } => {
                "the AWS SDK found credentials that it could not use: what it says names them"
            }
            Self::GitHub { refusal } if refusal.is(&["401", "403"]) => {
                "does the job have `permissions: id-token: write`?"
            }
            Self::GitHub { .. } => "see https://www.githubstatus.com, and run the job again",
            Self::TokenFile { .. } => {
                "`web-identity-token-file` has to name a file that this step can read"
            }
            Self::NoRegion => "set the input `aws-region`, or AWS_REGION",
            Self::Account { .. } => {
                "is it the right role, and are these the right `allowed-account-ids`?"
            }
            Self::Role(error) => return error.hint(),
            Self::Identity(_) | Self::Settings(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl RoleError {
    /// What to do; first of all, to have the job get a token where it would have had to.
    fn hint(&self) -> Option<String> {
        let hint = self.hint_on_refusal();
        match (self.instead, hint) {
            (Some(Instead::NoToken), Some(hint)) => Some(format!(
                "{NO_TOKEN}; and for the credentials that are there instead: {hint}"
            )),
            (Some(Instead::NoToken), None) => Some(NO_TOKEN.to_owned()),
            (_, hint) => hint,
        }
    }

    fn hint_on_refusal(&self) -> Option<String> {
        let Self {
            role,
            refusal,
            claims,
            instead,
        } = self;
        let by_token = instead.is_none();
        let said = claims.as_ref().map_or_else(String::new, |claims| {
            format!(
                "; this run's `sub` is `{}`, its `aud` `{}`",
                claims.sub, claims.aud
            )
        });
        let hint = if refusal.says("DurationSeconds") || refusal.says("MaxSessionDuration") {
            "`role-duration-seconds` is more than the role's maximum session duration".to_owned()
        } else if refusal.says("No OpenIDConnect provider found") {
            let account = role.split(':').nth(4).unwrap_or_default();
            format!(
                "the account {account} needs an IAM identity provider for \
             https://token.actions.githubusercontent.com"
            )
        } else if refusal.says("Incorrect token audience") {
            format!("the IAM identity provider's audiences have to hold the input `audience`{said}")
        } else if refusal.is(&["AccessDenied", "AccessDeniedException"]) && by_token {
            format!(
                "is the role's name right, and does its trust policy allow sts:AssumeRoleWithWebIdentity \
             to this workflow? Its conditions on `token.actions.githubusercontent.com:sub` and `:aud` \
             have to match{said}"
            )
        } else if refusal.is(&["AccessDenied", "AccessDeniedException"]) {
            "is the role's name right, may the credentials call sts:AssumeRole on it, and does its trust \
         policy allow them to (with `role-external-id`, where it asks for one)?"
            .to_owned()
        } else if refusal.is(&["RegionDisabledException"]) {
            "activate STS in this region, or set another `aws-region`".to_owned()
        } else if refusal.is(&["IDPCommunicationError"]) {
            "AWS could not reach the token's issuer: run the job again".to_owned()
        } else if refusal.is(&[
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
        ]) && !by_token
        {
            "the credentials that assume the role are expired or wrong".to_owned()
        } else if by_token
            && refusal.is(&[
                "InvalidIdentityToken",
                "IDPRejectedClaim",
                "ExpiredTokenException",
            ])
        {
            format!("AWS does not take the token{said}")
        } else {
            return None;
        };
        Some(hint)
    }
}

/// An error with its causes, on one line; what a cause repeats is said once.
pub(crate) fn words(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
                passes: false,
            },
            claims: by_token.then(|| Claims {
                sub: "repo:octo/app:ref:refs/heads/main".to_owned(),
                aud: "sts.amazonaws.com".to_owned(),
            }),
            instead: (!by_token).then_some(Instead::Chosen),
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
                "may the credentials call sts:AssumeRole",
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
                "have to hold the input `audience`",
            ),
            (
                "IDPRejectedClaim",
                "no",
                true,
                "AWS does not take the token",
            ),
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
        assert_eq!(hint("SomethingNew", "no", true), None);
    }
}
