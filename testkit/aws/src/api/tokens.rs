//! ECR tokens.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::asked::Asked;
use super::errors::Refusal;
use super::{Outcome, json_reply, reply};
use crate::repositories::PUBLIC;
use crate::state::State;

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
const LIFE: SignedDuration = SignedDuration::from_hours(12);

/// As long as a real one's, so that what has no room for it is found.
const RANDOM_BYTES: usize = 1500;

/// moto's answer, which knows the registries, with tokens that are good.
pub(super) fn private(
    state: &State,
    account: &str,
    asked: &Asked,
    answer: &(u16, Bytes),
) -> Outcome {
    let mut value: Value = serde_json::from_slice(&answer.1).unwrap_or_default();
    let Some(all) = value["authorizationData"].as_array_mut() else {
        return Ok(reply(asked, answer.clone()));
    };
    for data in all {
        let (token, expires) = issue(state, account, asked.region())?;
        data["authorizationToken"] = json!(token);
        data["expiresAt"] = json!(expires);
    }
    Ok(json_reply(&value))
}

/// <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_GetAuthorizationToken.html>
pub(super) fn public(state: &State, account: &str) -> Outcome {
    let (token, expires) = issue(state, account, PUBLIC)?;
    Ok(json_reply(
        &json!({ "authorizationData": { "authorizationToken": token, "expiresAt": expires } }),
    ))
}

/// A token that the registries of a region take from now on, and when it expires, in seconds since 1970. A real one is
/// base64 of a JSON object with these members, too.
fn issue(state: &State, account: &str, region: &str) -> Result<(String, i64), Refusal> {
    let random = random(RANDOM_BYTES)
        .map_err(|error| Refusal::new(500, "ServerException", error.to_string()))?;
    let expires = (Timestamp::now() + LIFE).as_second();
    let inside = json!({ "payload": STANDARD.encode(random), "version": "2", "type": "DATA_KEY", "expiration": expires });
    let password = STANDARD.encode(inside.to_string());
    let token = STANDARD.encode(format!("AWS:{password}"));
    state.memory().issue(password, account, region);
    Ok((token, expires))
}

/// Bytes that nobody can guess.
pub(crate) fn random(count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
