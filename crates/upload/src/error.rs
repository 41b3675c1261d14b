//! What can go wrong, and whether another try may help.

use std::fmt;
use std::io;
use std::time::Duration;

use http::{Method, StatusCode, Uri};
use image::Digest;

use crate::location::LocationError;

/// An upload, a question or a manifest that failed for good.
///
/// Its text says what was attempted, at which request and how often; the reason is its source.
#[derive(Debug, thiserror::Error)]
#[error("could not {attempted}{}{}", at(request.as_deref()), after(*tries))]
pub struct Error {
    attempted: String,
    request: Option<Box<Place>>,
    tries: u32,
    #[source]
    cause: Cause,
}

impl Error {
    pub(crate) fn new(attempted: impl Into<String>, tries: u32, failure: Failure) -> Self {
        Self {
            attempted: attempted.into(),
            request: failure.place,
            tries,
            cause: failure.cause,
        }
    }

    /// Whether the same may succeed later. All tries have been used up, so an error that is passed on and is temporary
    /// says that the registry or the network stayed bad for long.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.cause.is_temporary()
    }

    /// The reason.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The request that failed last.
    #[must_use]
    pub fn request(&self) -> Option<&Place> {
        self.request.as_deref()
    }

    /// How often it was tried.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// What the user can do, where the reason does not say it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let is_upload_at_ecr = self.request.as_ref().is_some_and(|request| {
            request.method == Method::POST
                && matches!(
                    image::Registry::from_host(&request.host),
                    image::Registry::Ecr(_)
                )
        });
        match &self.cause {
            // https://github.com/aws/containers-roadmap/issues/1970
            Cause::Broken(_) if is_upload_at_ecr => Some(
                "Amazon ECR closes the connection like this when the repository does not exist: create it first",
            ),
            Cause::Answer(answer) if answer.text.contains("authorization token has expired") => {
                Some("an ECR token lives for 12 hours: get a new one")
            }
            Cause::Certificate(_) => Some(
                "behind a proxy that opens TLS, or for a private registry, give its authority's certificate",
            ),
            _ => None,
        }
    }
}

fn at(request: Option<&Place>) -> String {
    request.map_or_else(String::new, |place| format!(": {place}"))
}

fn after(tries: u32) -> String {
    if tries > 1 {
        format!(" failed {tries} times")
    } else {
        String::new()
    }
}

/// A request without what may be secret in it: the query of an upload's address is a capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub method: Method,
    /// Host, with a port if one was given.
    pub host: String,
    pub path: String,
}

impl Place {
    pub(crate) fn of(method: &Method, address: &Uri) -> Self {
        Self {
            method: method.clone(),
            host: address
                .authority()
                .map_or_else(String::new, |authority| authority.as_str().to_owned()),
            path: address.path().to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{} {}{}`", self.method, self.host, self.path)
    }
}

/// One try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) place: Option<Box<Place>>,
    pub(crate) cause: Cause,
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { place: None, cause }
    }
}

/// Anything below hyper.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The registry answered with a status that is none of the expected.
    #[error("the registry answered {0}")]
    Answer(Answer),
    #[error("no connection")]
    NoConnection(#[source] BoxError),
    #[error("no connection within {} s", .0.as_secs_f32())]
    ConnectionTimeout(Duration),
    #[error("the certificate of the registry or proxy is not trusted")]
    Certificate(#[source] BoxError),
    #[error("the connection broke")]
    Broken(#[source] BoxError),
    #[error("nothing came or went for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("the connection takes only {bytes_per_second} bytes/s, expected at least {floor}")]
    Slow { bytes_per_second: u64, floor: u64 },
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("the registry redirects to `{0}`, where the request must not go")]
    Redirect(String),
    #[error("the answer is not as the specification has it: {0}")]
    Malformed(String),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    #[error("the registry asks for credentials: {0}")]
    Unauthorized(String),
    #[error("the token had expired")]
    TokenExpired,
    #[error("the token service at `{host}` gives no token")]
    TokenService {
        host: String,
        #[source]
        cause: Box<Cause>,
    },
    #[error("the registry has `{actual}`, expected `{expected}`")]
    OtherDigest { expected: Digest, actual: String },
    #[error("the tag names `{0}` after it was written: another push has moved it")]
    TagMoved(String),
    #[error("the content could not be read")]
    Source(#[source] io::Error),
    /// The content comes from a registry, which failed in a way that may pass.
    #[error("the content could not be read this time")]
    SourceUnavailable(#[source] io::Error),
    #[error("the content is no longer in memory and cannot be made again")]
    Forgotten,
    #[error("another try needs content that is no longer in memory and cannot be made again")]
    NotReplayable(#[source] Box<Cause>),
    #[error("the registry does not have the blob, and there is no content to upload")]
    NotThere,
    #[error("the manifest names `{0}`, which was not pushed to this repository")]
    MissingBlob(String),
    #[error("{0}")]
    Manifest(String),
    #[error("the upload was stopped")]
    Stopped,
}

impl Cause {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.is_temporary(),
            Self::NoConnection(_)
            | Self::ConnectionTimeout(_)
            | Self::Broken(_)
            | Self::Silent(_)
            | Self::Slow { .. }
            | Self::Malformed(_)
            | Self::SourceUnavailable(_) => true,
            Self::TokenService { cause, .. } => cause.is_temporary(),
            Self::TokenExpired => true,
            // Bytes got lost on their way.
            Self::OtherDigest { .. } => true,
            Self::Certificate(_)
            | Self::Location(_)
            | Self::Redirect(_)
            | Self::TooLarge(_)
            | Self::Unauthorized(_)
            | Self::TagMoved(_)
            | Self::Source(_)
            | Self::Forgotten
            | Self::NotReplayable(_)
            | Self::NotThere
            | Self::MissingBlob(_)
            | Self::Manifest(_)
            | Self::Stopped => false,
        }
    }

    /// Whether the registry says that there are too many requests.
    pub(crate) fn is_throttling(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer.is_throttling())
    }

    /// The wait that the registry asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(answer) => answer.retry_after,
            Self::TokenService { cause, .. } => cause.retry_after(),
            _ => None,
        }
    }
}

/// An answer that says that something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    /// Codes of the specification, `BLOB_UNKNOWN`:
    /// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>.
    pub codes: Vec<String>,
    /// What the body says, at most [`SHOWN`] bytes, without control characters.
    pub text: String,
    pub retry_after: Option<Duration>,
}

/// How much of an answer's body is kept, in bytes.
pub const SHOWN: usize = 1024;

impl Answer {
    pub(crate) fn new(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Self {
        #[derive(serde::Deserialize)]
        struct Body {
            errors: Vec<Item>,
        }
        #[derive(serde::Deserialize)]
        struct Item {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let (codes, text) = match serde_json::from_slice::<Body>(body) {
            Ok(Body { errors }) if !errors.is_empty() => {
                let lines = errors
                    .iter()
                    .map(|Item { code, message }| format!("{code}: {message}"));
                let text = lines.collect::<Vec<_>>().join("; ");
                let codes = errors.into_iter().map(|item| item.code).take(16);
                (codes.collect(), text)
            }
            _ => (Vec::new(), String::from_utf8_lossy(body).into_owned()),
        };
        Self {
            status,
            codes,
            text: shown(&text),
            retry_after,
        }
    }

    /// Whether one of the errors has this code.
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|given| given == code)
    }

    fn is_throttling(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.has("TOOMANYREQUESTS")
    }

    fn is_temporary(&self) -> bool {
        // An upload that the registry has lost, or whose bytes it has not all: another upload may succeed. 404 and 416
        // come from registries in such cases: https://github.com/GoogleContainerTools/jib/issues/4301,
        // https://github.com/aws/containers-roadmap/issues/2831.
        let lost = self.status == StatusCode::RANGE_NOT_SATISFIABLE
            || [
                "BLOB_UPLOAD_UNKNOWN",
                "BLOB_UPLOAD_INVALID",
                "DIGEST_INVALID",
            ]
            .iter()
            .any(|code| self.has(code));
        self.is_throttling()
            || lost
            || matches!(self.status.as_u16(), 408 | 425 | 500 | 502 | 503 | 504)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

/// An error and its reasons in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    shown(&text)
}

/// A text from outside for a line of a log.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    shown.truncate(shown.floor_char_boundary(SHOWN));
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_its_codes_and_not_all_of_its_body() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m","detail":1},{"code":"UNKNOWN"}]}"#;
        let answer = Answer::new(StatusCode::FORBIDDEN, body, None);
        assert_eq!(
            answer.to_string(),
            "403 Forbidden: DENIED: no [31m; UNKNOWN:"
        );
        assert!(answer.has("DENIED") && !answer.has("denied"));
        let long = Answer::new(StatusCode::BAD_GATEWAY, "é".repeat(5000).as_bytes(), None);
        assert_eq!(long.text.len(), SHOWN);
        let empty = Answer::new(StatusCode::NOT_FOUND, b"", None);
        assert_eq!(empty.to_string(), "404 Not Found");
    }

    #[test]
    fn tells_temporary_answers_from_others() {
        let answer = |status: u16, code: &str| {
            let body = format!("{{\"errors\":[{{\"code\":\"{code}\"}}]}}");
            Answer::new(StatusCode::from_u16(status).unwrap(), body.as_bytes(), None)
        };
        for (status, code, temporary) in [
            (500, "", true),
            (503, "", true),
            (429, "", true),
            (400, "TOOMANYREQUESTS", true),
            (404, "BLOB_UPLOAD_UNKNOWN", true),
            (400, "DIGEST_INVALID", true),
            (416, "", true),
            (400, "MANIFEST_INVALID", false),
            (401, "UNAUTHORIZED", false),
            (403, "DENIED", false),
            (404, "NAME_UNKNOWN", false),
            (501, "", false),
        ] {
            assert_eq!(
                answer(status, code).is_temporary(),
                temporary,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn an_error_says_what_where_and_how_often() {
        let failure = Failure {
            place: Some(Box::new(Place::of(
                &Method::PATCH,
                &"https://r:1/v2/a/u?state=secret".parse().unwrap(),
            ))),
            cause: Cause::Silent(Duration::from_secs(30)),
        };
        let error = Error::new("upload blob `x`", 3, failure);
        assert_eq!(
            error.to_string(),
            "could not upload blob `x`: `PATCH r:1/v2/a/u` failed 3 times"
        );
        assert!(error.is_temporary());
    }
}
