//! A request to AWS or GitHub that failed: why, and whether a retry can help.

use std::error::Error;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

/// What to do when AWS does not answer.
pub(crate) const UNREACHABLE: &str = "check that this machine can reach AWS in that region. Behind a \
     proxy, set HTTPS_PROXY";

/// A failed request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    pub reason: String,
    /// The service's error code, or an HTTP status; `None` without an answer.
    pub code: Option<String>,
    /// Whether the same request may succeed a moment later.
    pub is_transient: bool,
}

impl Refusal {
    /// A request that a retry does not help.
    pub(super) fn fatal(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            code: None,
            is_transient: false,
        }
    }

    pub(crate) fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let reason = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => error_chain(error),
        };
        Self {
            is_transient: is_transient(error),
            code,
            reason,
        }
    }

    pub(super) fn has_code(&self, codes: &[&str]) -> bool {
        let code = self.code.as_deref();
        code.is_some_and(|code| codes.contains(&code))
    }

    /// What helps whatever was asked for; `None` if that depends on it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        const CLOCK: &[&str] = &[
            "RequestExpired",
            "RequestInTheFuture",
            "RequestTimeTooSkewed",
        ];
        /// A signature may be wrong for other reasons. Messages about its time begin like this.
        const TIMES: [&str; 2] = [": Signature expired: ", ": Signature not yet current: "];
        if self.has_code(CLOCK) || TIMES.iter().any(|words| self.says(words)) {
            Some(
                "this machine's clock is wrong: AWS refuses requests whose time differs from its own by more than five \
                 minutes. Synchronize the clock",
            )
        } else if !self.is_transient {
            None
        } else if self.code.is_none() {
            Some(UNREACHABLE)
        } else if !self.has_code(&["ExpiredTokenException"]) {
            Some("AWS is overloaded or limits the account's requests: run the job again")
        } else {
            None
        }
    }

    pub(super) fn says(&self, text: &str) -> bool {
        self.reason.contains(text)
    }
}

/// Whether a retry can help: the connection failed, or the service is overloaded.
fn is_transient<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    /// An expired token is replaced by a new one.
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
    /// STS could not fetch the issuer's keys. Other messages of this code are final.
    const NO_KEYS: &str = "Couldn't retrieve verification key from your identity provider";
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let is_transient = match (error.code(), error.message()) {
                (Some("InvalidIdentityToken"), Some(message)) => message.starts_with(NO_KEYS),
                (code, _) => code.is_some_and(|code| CODES.contains(&code)),
            };
            is_transient || status >= 500 || status == 429
        }
        _ => false,
    }
}

/// An error and its causes, on one line and without repetitions.
pub(crate) fn error_chain(error: &dyn Error) -> String {
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
