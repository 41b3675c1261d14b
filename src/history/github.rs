//! GitHub's API, as little of it as we need.
//!
//! In: paths below `/repos/OWNER/NAME`. Out: JSON in types of our own, or a [`HistoryError`] in words. octocrab brings the client: base
//! addresses with a path (GitHub Enterprise Server), authorization, proxies. Statuses and pages are read here, because its errors keep no
//! headers, and rate limits are told by headers (<https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>).

use std::time::Duration;

use jiff::Timestamp;
use octocrab::Octocrab;
use octocrab::params::actions::ArchiveFormat;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::HistoryError;

/// GitHub's limit for a page.
const PAGE: usize = 100;

/// Pages that are read at most.
const MOST_PAGES: usize = 10;

/// What is asked for, and what it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// In the plural, for words.
    pub what: &'static str,
    pub permission: &'static str,
}

/// A client for one repository.
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

/// An answer and whether more pages follow.
struct Answer {
    body: String,
    more: bool,
}

impl GitHub {
    pub(super) fn new(
        api_url: &str,
        token: &SecretString,
        repository: &str,
    ) -> Result<Self, HistoryError> {
        let failed = |source| HistoryError::Client {
            url: api_url.to_owned(),
            source: Box::new(source),
        };
        let client = Octocrab::builder()
            .base_uri(api_url.trim_end_matches('/'))
            .map_err(failed)?
            .personal_token(token.expose_secret().to_owned())
            .set_connect_timeout(Some(Duration::from_secs(5)))
            .set_read_timeout(Some(Duration::from_secs(15)))
            .build_with_reqwest(octocrab::ReqwestClientConfig::Default)
            .map_err(failed)?;
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
        parse(&answer.body, question)
    }

    /// Lists page by page, until `enough` says so of a page. `key` holds the list, where it is not the whole answer.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        key: Option<&str>,
        question: Question,
        mut enough: impl FnMut(Vec<T>) -> bool,
    ) -> Result<(), HistoryError> {
        let joint = if path.contains('?') { '&' } else { '?' };
        for page in 1..=MOST_PAGES {
            let path = format!("{path}{joint}per_page={PAGE}&page={page}");
            let answer = self.answer(Method::Get, &path, None, question).await?;
            let mut value: Value = parse(&answer.body, question)?;
            let list = match key {
                Some(key) => value.get_mut(key).map(Value::take).unwrap_or_default(),
                None => value,
            };
            let items = serde_json::from_value(list).map_err(|source| HistoryError::Odd {
                what: question.what,
                source,
            })?;
            if enough(items) || !answer.more {
                break;
            }
        }
        Ok(())
    }

    /// An artifact's zip file; the caller knows its size.
    pub(super) async fn archive(
        &self,
        id: u64,
        question: Question,
    ) -> Result<Vec<u8>, HistoryError> {
        let (owner, name) = self.repository.split_once('/').unwrap_or_default();
        let actions = self.client.actions();
        let fetched = actions.download_artifact(owner, name, id.into(), ArchiveFormat::Zip);
        let bytes = fetched.await.map_err(|source| HistoryError::Request {
            what: question.what,
            source: Box::new(source),
        })?;
        Ok(bytes.to_vec())
    }

    /// Writes: a new document, or over an old one.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        question: Question,
    ) -> Result<(), HistoryError> {
        self.answer(method, path, Some(body), question)
            .await
            .map(|_| ())
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        question: Question,
    ) -> Result<Answer, HistoryError> {
        let Question { what, permission } = question;
        let request = |source| HistoryError::Request {
            what,
            source: Box::new(source),
        };
        let slash = if path.is_empty() { "" } else { "/" };
        let uri = format!("/repos/{}{slash}{path}", self.repository);
        let sent = match method {
            Method::Get => self.client._get(uri).await,
            Method::Post => self.client._post(uri, body).await,
            Method::Patch => self.client._patch(uri, body).await,
        };
        let response = sent.map_err(request)?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let more = header("link").is_some_and(|link| link.contains("rel=\"next\""));
        let spent = header("x-ratelimit-remaining") == Some("0") || header("retry-after").is_some();
        let again = again(header("retry-after"), header("x-ratelimit-reset"));
        let body = self
            .client
            .body_to_string(response)
            .await
            .map_err(request)?;
        match status {
            200..300 => Ok(Answer { body, more }),
            403 | 429 if spent || body.contains("rate limit") => {
                Err(HistoryError::RateLimit { what, again })
            }
            // A private repository hides what may not be read.
            401 | 403 | 404 => Err(HistoryError::Refused {
                what,
                status,
                permission,
            }),
            _ => Err(HistoryError::Status { what, status }),
        }
    }
}

/// When the limit is lifted: after so many seconds, or at a point in time (seconds since 1970), else in some minutes.
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

fn parse<T: DeserializeOwned>(body: &str, question: Question) -> Result<T, HistoryError> {
    serde_json::from_str(body).map_err(|source| HistoryError::Odd {
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
