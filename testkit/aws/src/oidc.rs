//! GitHub's OIDC issuer, as a job with `id-token: write` sees it
//! (<https://docs.github.com/en/actions/reference/security/oidc>): `ACTIONS_ID_TOKEN_REQUEST_URL` and `…_TOKEN`.
//!
//! Tokens have the real ones' form, but their signature is noise: STS (api/sts.rs) takes those that it finds in memory.

use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use aws_stand_in::{Answer, Call, On};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::api::random;
use crate::body::{Body, Error, json};
use crate::state::{Identity, State, milliseconds_since};

/// `exp - iat` in GitHub's own example.
const LIFE: SignedDuration = SignedDuration::from_secs(300);

/// The audience of who names none: the address of the repository's owner.
const DEFAULT_AUDIENCE: &str = "https://github.com/octo-org";

/// Answers `GET /oidc/ACCOUNT?…&audience=…`.
pub(crate) async fn answer(
    state: Arc<State>,
    account: &str,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let begun = Instant::now();
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let audience = pairs.find_map(|(name, value)| (name == "audience").then(|| value.into_owned()));
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (scheme, bearer) = header.split_once(' ').unwrap_or_default();
    let fault = state
        .memory()
        .account(account)
        .fault(&On::Api("GetIdToken".to_owned()), None);
    tokio::time::sleep(fault.as_ref().map(Answer::delay).unwrap_or_default()).await;
    let (response, error) = match fault {
        Some(Answer::Error {
            status,
            code,
            message,
        }) => (json(status, &json!({ "message": message })), Some(code)),
        Some(Answer::Close) => return Err(anyhow!("closed by a test's wish")),
        Some(Answer::Hang) => std::future::pending().await,
        Some(Answer::Late(_)) | None
            if !scheme.eq_ignore_ascii_case("bearer")
                || bearer != format!("request-token-of-{account}") =>
        {
            (
                json(401, &json!({ "message": "Bad credentials" })),
                Some("Unauthorized".to_owned()),
            )
        }
        Some(Answer::Late(_)) | None => {
            let token = issue(&state, audience.as_deref().unwrap_or(DEFAULT_AUDIENCE))?;
            (
                json(200, &json!({ "count": token.len(), "value": token })),
                None,
            )
        }
    };
    state.memory().log_call(Call {
        account: account.to_owned(),
        service: "oidc".to_owned(),
        operation: "GetIdToken".to_owned(),
        region: None,
        status: response.status().as_u16(),
        error,
        asked: json!({ "audience": audience }),
        milliseconds: milliseconds_since(begun),
    });
    Ok(response)
}

fn issue(state: &State, audience: &str) -> std::io::Result<String> {
    let now = Timestamp::now();
    let expires = now + LIFE;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let head = json!({ "typ": "JWT", "alg": "RS256", "x5t": "example-thumbprint", "kid": "example-key-id" });
    let claims = json!({
        "iss": "https://token.actions.githubusercontent.com",
        "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
        "aud": audience,
        "iat": now.as_second(), "nbf": now.as_second(), "exp": expires.as_second(),
        "jti": encode(&random(12)?),
        "repository": "octo-org/octo-repo", "repository_owner": "octo-org", "ref": "refs/heads/main",
        "ref_type": "branch", "event_name": "push", "actor": "octocat", "runner_environment": "github-hosted",
    });
    let signature = random(256)?;
    let parts = [
        head.to_string().as_bytes(),
        claims.to_string().as_bytes(),
        &signature,
    ]
    .map(encode);
    let token = parts.join(".");
    let identity = Identity {
        audience: audience.to_owned(),
        expires,
    };
    state.memory().identities.insert(token.clone(), identity);
    Ok(token)
}
