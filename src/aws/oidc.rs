//! GitHub's OpenID Connect token, which proves to AWS which workflow this is.
//!
//! It lasts about five minutes, so it is requested right before use
//! (<https://docs.github.com/actions/reference/security/oidc#methods-for-requesting-the-oidc-token>).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::refusal::{Refusal, error_chain};
use crate::runner::USER_AGENT;

/// Time limit of a request; GitHub answers within a second.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest accepted answer (bytes). STS accepts tokens of 20,000 characters.
const MAX_LENGTH: usize = 64 * 1024;

#[derive(Deserialize)]
struct Answer {
    value: String,
}

/// The claims that AWS compares with the role's trust policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Claims {
    /// Repository, and branch, tag, environment or event.
    pub sub: String,
    pub aud: String,
}

pub(super) async fn token(
    address: &str,
    bearer: &SecretString,
    audience: &str,
) -> Result<SecretString, Refusal> {
    let url = url(address, audience)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let failed = |error: reqwest::Error| Refusal {
        reason: format!(
            "could not reach {host}: {}",
            error_chain(&error.without_url())
        ),
        code: None,
        is_transient: true,
    };
    let mut header = HeaderValue::from_str(&format!("bearer {}", bearer.expose_secret()))
        .map_err(|_| Refusal::fatal("ACTIONS_ID_TOKEN_REQUEST_TOKEN is not a token"))?;
    header.set_sensitive(true);
    let client = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(TIMEOUT)
        .build();
    let mut answer = client
        .map_err(failed)?
        .get(url)
        .header(AUTHORIZATION, header)
        .header(ACCEPT, "application/json; api-version=2.0")
        .send()
        .await
        .map_err(failed)?;
    let status = answer.status();
    if status != StatusCode::OK {
        let transient = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
        return Err(Refusal {
            reason: format!("{host} answered {status}"),
            code: Some(status.as_str().to_owned()),
            is_transient: status.is_server_error() || transient.contains(&status),
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_LENGTH {
            break;
        }
    }
    match serde_json::from_slice::<Answer>(&body) {
        Ok(answer) if !answer.value.is_empty() && body.len() <= MAX_LENGTH => {
            Ok(SecretString::from(answer.value))
        }
        // The answer is not quoted: it may contain the token.
        _ => Err(Refusal::fatal(format!("{host} answered without a token"))),
    }
}

fn url(address: &str, audience: &str) -> Result<Url, Refusal> {
    let mut url = Url::parse(address).map_err(|error| {
        Refusal::fatal(format!(
            "ACTIONS_ID_TOKEN_REQUEST_URL is not a URL: {error}"
        ))
    })?;
    url.query_pairs_mut().append_pair("audience", audience);
    Ok(url)
}

/// The claims of a token, for messages. AWS verifies them.
pub(super) fn claims(token: &SecretString) -> Option<Claims> {
    let payload = token.expose_secret().split('.').nth(1)?;
    let decoded = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Claims = serde_json::from_slice(&decoded).ok()?;
    let is_plain = |text: &str| text.len() <= 512 && !text.contains(char::is_control);
    (is_plain(&claims.sub) && is_plain(&claims.aud)).then_some(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_is_added_to_the_query_and_encoded() {
        for (address, audience, expected) in [
            (
                "https://oidc.test/token?api-version=2.0",
                "sts.amazonaws.com",
                "https://oidc.test/token?api-version=2.0&audience=sts.amazonaws.com",
            ),
            (
                "https://oidc.test/token",
                "https://x/y&z=1 2",
                "https://oidc.test/token?audience=https%3A%2F%2Fx%2Fy%26z%3D1+2",
            ),
        ] {
            assert_eq!(url(address, audience).unwrap().as_str(), expected);
        }
        assert!(!url("no address", "x").unwrap_err().is_transient);
    }

    #[test]
    fn a_tokens_claims_are_read_where_it_has_some() {
        let token = |payload: &str| {
            SecretString::from(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)))
        };
        let expected = Claims {
            sub: "repo:octo/app:ref:refs/heads/main".to_owned(),
            aud: "sts.amazonaws.com".to_owned(),
        };
        let payload =
            r#"{"sub":"repo:octo/app:ref:refs/heads/main","aud":"sts.amazonaws.com","exp":1}"#;
        assert_eq!(claims(&token(payload)), Some(expected));
        for odd in ["{}", "[", r#"{"sub":"a\n::error::b","aud":"c"}"#] {
            assert_eq!(claims(&token(odd)), None, "{odd}");
        }
        assert_eq!(claims(&SecretString::from("abc")), None);
    }
}
