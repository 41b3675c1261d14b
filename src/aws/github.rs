//! GitHub's token for OpenID Connect: what proves to AWS which workflow this is.
//!
//! In: the runner's address and token, an audience. Out: a JWT, good for some five minutes, so that it
//! is asked for right before it is used
//! (<https://docs.github.com/actions/reference/security/oidc#methods-for-requesting-the-oidc-token>).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::error::{Refusal, words};

/// How long one request may take. GitHub answers within a second.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read (bytes); STS takes tokens of 20,000 characters.
const LONGEST: usize = 64 * 1024;

#[derive(Deserialize)]
struct Answer {
    value: String,
}

/// What a token says of itself; AWS compares it with the role's trust policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Claims {
    /// Repository, and branch, tag, environment or event.
    pub sub: String,
    pub aud: String,
}

/// Asks the runner's service for a token.
///
/// # Errors
/// With whether trying again can help.
pub(super) async fn token(
    address: &str,
    bearer: &SecretString,
    audience: &str,
) -> Result<SecretString, Refusal> {
    let url = url(address, audience)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let failed = |error: &dyn std::error::Error| Refusal {
        reason: format!("could not ask {host} for GitHub's token: {}", words(error)),
        code: None,
        passes: true,
    };
    let authorization = format!("bearer {}", bearer.expose_secret());
    let mut header = HeaderValue::from_str(&authorization).map_err(|_| Refusal {
        reason: "ACTIONS_ID_TOKEN_REQUEST_TOKEN is no token".to_owned(),
        code: None,
        passes: false,
    })?;
    header.set_sensitive(true);
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| failed(&error))?;
    let mut answer = client
        .get(url)
        .header(AUTHORIZATION, header)
        .header(ACCEPT, "application/json; api-version=2.0")
        .send()
        .await
        .map_err(|error| failed(&error.without_url()))?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(Refusal {
            reason: format!("{host} gives no token, it answers {status}"),
            code: Some(status.as_str().to_owned()),
            passes: status.is_server_error()
                || matches!(
                    status,
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                ),
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| failed(&error.without_url()))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            break;
        }
    }
    match serde_json::from_slice::<Answer>(&body) {
        Ok(answer) if !answer.value.is_empty() && body.len() <= LONGEST => {
            Ok(SecretString::from(answer.value))
        }
        // What was sent instead may hold the token: it is not repeated.
        _ => Err(Refusal {
            reason: format!("{host} answers something else than a token"),
            code: None,
            passes: false,
        }),
    }
}

/// The runner's address has a query already; the audience is added to it.
fn url(address: &str, audience: &str) -> Result<Url, Refusal> {
    let mut url = Url::parse(address).map_err(|error| Refusal {
        reason: format!("ACTIONS_ID_TOKEN_REQUEST_URL is no address: {error}"),
        code: None,
        passes: false,
    })?;
    url.query_pairs_mut().append_pair("audience", audience);
    Ok(url)
}

/// The claims of a token, for words; whether they are true is AWS's business.
pub(super) fn claims(token: &SecretString) -> Option<Claims> {
    let payload = token.expose_secret().split('.').nth(1)?;
    let decoded = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Claims = serde_json::from_slice(&decoded).ok()?;
    let plain = |text: &str| text.len() <= 512 && !text.contains(char::is_control);
    (plain(&claims.sub) && plain(&claims.aud)).then_some(claims)
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
        assert!(!url("no address", "x").unwrap_err().passes);
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
