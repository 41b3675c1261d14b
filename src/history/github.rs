//! The calls to GitHub's API.
//!
//! In: paths below `/repos/OWNER/NAME`. Out: typed JSON, or a [`HistoryError`]. octocrab is the client: base addresses with a path (GitHub
//! Enterprise Server), authorization, proxies. Statuses and pages are read here, because its errors drop the headers, and only headers tell
//! a rate limit (<https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>).

use std::error::Error;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Uri};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use octocrab::service::middleware::auth_header::AuthHeaderLayer;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::reqwest_connector::ReqwestConnector;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::HistoryError;
use crate::runner::USER_AGENT;

/// GitHub's limit for a page.
const PAGE: usize = 100;

const MOST_PAGES: usize = 10;

/// Limit for an answer (bytes). A page of 100 runs, which quote their repository, has 2 MB.
pub(super) const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// What is asked for, in the plural, and the permission it needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub what: &'static str,
    pub permission: &'static str,
}

#[derive(Debug)]
pub(super) struct GitHub {
    client: Octocrab,
    repository: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Patch,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Vec<u8>,
    /// Whether another page follows.
    more: bool,
}

impl GitHub {
    pub(super) fn new(
        api_url: &str,
        token: &SecretString,
        repository: &str,
    ) -> Result<Self, HistoryError> {
        let failed = |source: Box<dyn Error + Send + Sync>| HistoryError::Client {
            url: api_url.to_owned(),
            source,
        };
        let uri = api_url.trim_end_matches('/').parse::<Uri>();
        let uri = uri.map_err(|error| failed(error.into()))?;
        let authorization = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
        let mut authorization = authorization.map_err(|error| failed(error.into()))?;
        authorization.set_sensitive(true);
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| failed(error.into()))?;
        // octocrab's own stack adds a second `User-Agent`.
        let client = OctocrabBuilder::new_empty()
            .with_service(ReqwestConnector::new(client))
            .with_layer(&BaseUriLayer::new(uri.clone()))
            .with_layer(&AuthHeaderLayer::new(Some(authorization), uri.clone(), uri))
            .with_auth(AuthState::None)
            .build();
        let client = client.unwrap_or_else(|never| match never {});
        Ok(Self {
            client,
            repository: repository.to_owned(),
        })
    }

    /// One document; an empty path is the repository itself.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        question: Question,
    ) -> Result<T, HistoryError> {
        let answer = self.answer(Method::Get, path, None, question).await?;
        answer.document(question)
    }

    /// Reads a list page by page until `enough` returns true. `key` is the list's field, if the answer is not the list itself.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        key: Option<&str>,
        question: Question,
        mut enough: impl FnMut(Vec<T>) -> bool,
    ) -> Result<(), HistoryError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        for page in 1..=MOST_PAGES {
            let path = format!("{path}{separator}per_page={PAGE}&page={page}");
            let answer = self.answer(Method::Get, &path, None, question).await?;
            if enough(answer.list(key, question)?) || !answer.more {
                break;
            }
        }
        Ok(())
    }

    /// An artifact's zip file, which is in a store that GitHub redirects to.
    pub(super) async fn archive(
        &self,
        id: u64,
        question: Question,
    ) -> Result<Vec<u8>, HistoryError> {
        let path = format!("actions/artifacts/{id}/zip");
        let answer = self.answer(Method::Get, &path, None, question).await?;
        Ok(answer.body)
    }

    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        question: Question,
    ) -> Result<(), HistoryError> {
        let answer = self.answer(method, path, Some(body), question);
        answer.await.map(|_| ())
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        question: Question,
    ) -> Result<Answer, HistoryError> {
        let slash = if path.is_empty() { "" } else { "/" };
        let uri = format!("/repos/{}{slash}{path}", self.repository);
        let sent = match method {
            Method::Get => self.client._get(uri).await,
            Method::Post => self.client._post(uri, body).await,
            Method::Patch => self.client._patch(uri, body).await,
        };
        let response = sent.map_err(|error| failed(error, question))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await;
        let body = body.map_err(|error| cut_short(error, question))?;
        Answer::read(status, &headers, body.to_bytes().into(), question)
    }
}

impl Answer {
    /// The answer, or what GitHub says instead.
    pub(super) fn read(
        status: u16,
        headers: &HeaderMap,
        body: Vec<u8>,
        question: Question,
    ) -> Result<Self, HistoryError> {
        let Question { what, permission } = question;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (retry_after, left) = (header("retry-after"), header("x-ratelimit-remaining"));
        let says_limit = || String::from_utf8_lossy(&body).contains("rate limit");
        let limited = || retry_after.is_some() || left == Some("0") || says_limit();
        match status {
            200..300 => Ok(Self {
                more: header("link").is_some_and(|link| link.contains("rel=\"next\"")),
                body,
            }),
            403 | 429 if limited() => Err(HistoryError::RateLimit {
                what,
                again: again(retry_after, header("x-ratelimit-reset")),
            }),
            // 404: a private repository hides what may not be read.
            401 | 403 | 404 => Err(HistoryError::Refused {
                what,
                status,
                permission,
            }),
            _ => Err(HistoryError::Status { what, status }),
        }
    }

    pub(super) fn document<T: DeserializeOwned>(
        &self,
        question: Question,
    ) -> Result<T, HistoryError> {
        parsed(serde_json::from_slice(&self.body), question)
    }

    /// `key` is the list's field, if the answer is not the list itself.
    pub(super) fn list<T: DeserializeOwned>(
        &self,
        key: Option<&str>,
        question: Question,
    ) -> Result<Vec<T>, HistoryError> {
        let mut value: Value = self.document(question)?;
        let list = match key {
            Some(key) => value.get_mut(key).map(Value::take).unwrap_or_default(),
            None => value,
        };
        parsed(serde_json::from_value(list), question)
    }
}

/// When the limit ends: after some seconds, or at a time (seconds since 1970).
fn again(retry_after: Option<&str>, reset: Option<&str>) -> String {
    if let Some(seconds) = retry_after.and_then(|text| text.parse::<u32>().ok()) {
        return format!("in {seconds} s");
    }
    let reset = reset.and_then(|text| Timestamp::from_second(text.parse().ok()?).ok());
    reset.map_or_else(
        || "in some minutes".to_owned(),
        |reset| format!("at {reset}"),
    )
}

fn failed(source: octocrab::Error, question: Question) -> HistoryError {
    HistoryError::Request {
        what: question.what,
        source: Box::new(source),
    }
}

/// A body that is too long, or that the connection did not bring.
fn cut_short(error: Box<dyn Error + Send + Sync>, question: Question) -> HistoryError {
    let what = question.what;
    match error.downcast::<octocrab::Error>() {
        Ok(source) => HistoryError::Request { what, source },
        // `Limited` adds only its own.
        Err(_) => HistoryError::TooLong { what },
    }
}

fn parsed<T>(value: serde_json::Result<T>, question: Question) -> Result<T, HistoryError> {
    value.map_err(|source| HistoryError::Unreadable {
        what: question.what,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_tells_when_it_is_lifted() {
        let cases = [
            (Some("60"), Some("1723219534"), "in 60 s"),
            (None, Some("1723219534"), "at 2024-08-09T16:05:34Z"),
            (Some("soon"), None, "in some minutes"),
            (None, Some("99999999999999999"), "in some minutes"),
            (None, None, "in some minutes"),
        ];
        for (after, reset, expected) in cases {
            assert_eq!(again(after, reset), expected);
        }
    }
}
