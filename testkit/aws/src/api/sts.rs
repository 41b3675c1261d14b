//! STS: moto answers, but takes anything. What real STS looks at first is looked at here
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).

use hyper::body::Bytes;
use hyper::http::request::Parts;
use jiff::Timestamp;

use super::asked::Asked;
use super::errors::Refusal;
use super::{Outcome, reply, send};
use crate::state::{Session, State};

/// What a role trusts.
const AUDIENCE: &str = "sts.amazonaws.com";

/// The account of the role that is asked for.
pub(super) fn role_account(asked: &Asked) -> Result<String, Refusal> {
    let arn = asked.text("RoleArn").unwrap_or_default();
    match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "iam", "", account, role]
            if account.len() == 12 && role.starts_with("role/") =>
        {
            Ok((*account).to_owned())
        }
        _ => Err(Refusal::new(
            400,
            "ValidationError",
            format!("{arn} is invalid"),
        )),
    }
}

pub(super) async fn answer(
    state: &State,
    caller: &str,
    asked: &Asked,
    parts: Parts,
    body: Bytes,
) -> Outcome {
    let role = match asked.operation.as_str() {
        "AssumeRoleWithWebIdentity" => {
            check_identity(state, asked.text("WebIdentityToken").unwrap_or_default())?;
            check_duration(asked, false)?;
            Some(role_account(asked)?)
        }
        "AssumeRole" => {
            let chained = asked
                .signature
                .as_ref()
                .is_some_and(|signature| signature.key.starts_with("ASIA"));
            check_duration(asked, chained)?;
            Some(role_account(asked)?)
        }
        _ => None,
    };
    let (status, body) = send(state, role.as_deref().unwrap_or(caller), parts, body).await?;
    if let Some(account) = role
        && status == 200
    {
        let text = String::from_utf8_lossy(&body);
        if let (Some(key), Some(token)) = (
            element(&text, "AccessKeyId"),
            element(&text, "SessionToken"),
        ) {
            let session = Session {
                account,
                token: token.to_owned(),
                expired: false,
            };
            state.memory().sessions.insert(key.to_owned(), session);
        }
    }
    Ok(reply(asked, (status, body)))
}

/// GitHub's issuer must have given it out, for us, and not long ago.
fn check_identity(state: &State, token: &str) -> Result<(), Refusal> {
    let memory = state.memory();
    let Some(identity) = memory.identities.get(token) else {
        let message = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)";
        return Err(Refusal::new(400, "InvalidIdentityToken", message));
    };
    let now = Timestamp::now();
    if now > identity.expires {
        let message = format!(
            "Token expired: current date/time {} must be before the expiration date/time {}",
            now.as_second(),
            identity.expires.as_second()
        );
        return Err(Refusal::new(400, "ExpiredTokenException", message));
    }
    if identity.audience != AUDIENCE {
        return Err(Refusal::new(
            400,
            "InvalidIdentityToken",
            "Incorrect token audience",
        ));
    }
    Ok(())
}

/// 15 minutes to 12 hours; one hour at most for a role that assumes a role.
fn check_duration(asked: &Asked, chained: bool) -> Result<(), Refusal> {
    let Some(text) = asked.text("DurationSeconds") else {
        return Ok(());
    };
    let bound = match text.parse::<u32>() {
        Ok(..900) => "greater than or equal to 900",
        Ok(..=3600) => return Ok(()),
        Ok(_) if chained => {
            let message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
            return Err(Refusal::new(400, "ValidationError", message));
        }
        Ok(..=43200) => return Ok(()),
        _ => "less than or equal to 43200",
    };
    let message = format!(
        "1 validation error detected: Value '{text}' at 'durationSeconds' failed to satisfy constraint: Member must \
         have value {bound}"
    );
    Err(Refusal::new(400, "ValidationError", message))
}

/// What stands in an XML element that has no others inside.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0)
}
