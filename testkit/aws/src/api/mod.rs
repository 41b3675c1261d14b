//! AWS's API. moto does what it does rightly; what it does wrongly or not at all is done here:
//!
//! - ECR tokens: moto's are always the same, and expired in 2015. Ours are those that the registry takes.
//! - Images: moto's digests are made up. Ours are those that were pushed to the registry.
//! - STS: moto takes any web identity token, any duration, any key. Here a token must be one that the issuer gave out,
//!   and a key one of an account or of a role's session. Signatures are not checked.
//! - ECR Public, account settings, EKS's access entries: moto has none. EKS: moto makes up endpoints; a test can set them.
//! - What moto has not: `UnknownOperationException`, where moto has a page in HTML.

mod asked;
pub(crate) mod errors;
mod images;
mod public;
mod sts;
mod tokens;

pub(crate) use tokens::random;

use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use aws_stand_in::{Answer, Call, On, names};
use hyper::body::Bytes;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use serde_json::{Value, json};

use crate::body::{Body, Error, answer, collect, full};
use crate::registry::BLOB_MOUNTING;
use crate::state::{State, milliseconds_since};
use crate::upstream;
use asked::Asked;
use errors::{Protocol, Refusal, denial};

/// More than a manifest, which is the most that anybody sends.
const LIMIT: usize = 8 << 20;

/// How a call ends without an answer.
type Outcome = Result<Response<Body>, Refusal>;

/// Answers a call and writes it down. An error closes the connection.
pub(crate) async fn call(
    state: Arc<State>,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let bytes = collect(body, LIMIT).await?;
    let Some(asked) = Asked::read(&parts, &bytes) else {
        let refusal = Refusal::new(
            404,
            "UnknownOperationException",
            format!("the stand-in knows no such call: {}", parts.uri),
        );
        return Ok(refusal.response(Protocol::Json));
    };
    let caller = caller(&state, &asked);
    let account = caller.clone().unwrap_or_else(|_| names::ACCOUNT.to_owned());
    let fault = state
        .memory()
        .account(&account)
        .fault(&On::Api(asked.operation.clone()), asked.repository());
    tokio::time::sleep(fault.as_ref().map(Answer::delay).unwrap_or_default()).await;
    let outcome = match fault {
        Some(Answer::Error {
            status,
            code,
            message,
        }) => Err(Refusal {
            status,
            code,
            message,
        }),
        Some(Answer::Close) => {
            log(&state, &account, &asked, begun, 0, None);
            return Err(anyhow!("closed by a test's wish"));
        }
        Some(Answer::Hang) => std::future::pending().await,
        Some(Answer::Late(_)) | None => match caller {
            Ok(caller) => serve(&state, &caller, &asked, parts, bytes).await,
            Err(refusal) => Err(refusal),
        },
    };
    let (response, error) = match outcome {
        Ok(response) => (response, None),
        Err(refusal) => (refusal.response(asked.protocol), Some(refusal.code)),
    };
    log(
        &state,
        &account,
        &asked,
        begun,
        response.status().as_u16(),
        error,
    );
    Ok(response)
}

fn log(
    state: &State,
    account: &str,
    asked: &Asked,
    begun: Instant,
    status: u16,
    error: Option<String>,
) {
    state.memory().log_call(Call {
        account: account.to_owned(),
        service: asked.service.to_owned(),
        operation: asked.operation.clone(),
        region: asked
            .signature
            .as_ref()
            .map(|signature| signature.region.clone()),
        status,
        error,
        asked: asked.without_secrets(),
        milliseconds: milliseconds_since(begun),
    });
}

/// The account that a call is made for. Where credentials are no good, STS and the rest have a name each for it
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>).
fn caller(state: &State, asked: &Asked) -> Result<String, Refusal> {
    let invalid = || {
        let message = "The security token included in the request is invalid.";
        match asked.service {
            "sts" | "iam" => Refusal::new(403, "InvalidClientTokenId", message),
            _ => Refusal::new(400, "UnrecognizedClientException", message),
        }
    };
    let Some(signature) = &asked.signature else {
        return match asked.operation.as_str() {
            "AssumeRoleWithWebIdentity" => sts::role_account(asked),
            _ => Err(Refusal::new(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            )),
        };
    };
    if let Some(account) = signature.key.strip_prefix("AKIA0000") {
        return Ok(account.to_owned());
    }
    let memory = state.memory();
    let session = memory.sessions.get(&signature.key).ok_or_else(invalid)?;
    if signature.token.as_ref() != Some(&session.token) {
        return Err(invalid());
    }
    if session.expired {
        let message = "The security token included in the request is expired";
        let status = if asked.service == "sts" { 403 } else { 400 };
        let code = if asked.service == "sts" {
            "ExpiredToken"
        } else {
            "ExpiredTokenException"
        };
        return Err(Refusal::new(status, code, message));
    }
    Ok(session.account.clone())
}

async fn serve(
    state: &Arc<State>,
    caller: &str,
    asked: &Asked,
    parts: Parts,
    body: Bytes,
) -> Outcome {
    let action = format!("{}:{}", asked.service, asked.operation);
    if state
        .memory()
        .account(caller)
        .denies(&action, asked.repository())
    {
        return Err(match asked.service {
            "sts" => Refusal::new(
                403,
                "AccessDenied",
                format!("Not authorized to perform {action}"),
            ),
            _ => Refusal::new(
                400,
                "AccessDeniedException",
                denial(&action, caller, asked.region(), asked.repository()),
            ),
        });
    }
    // Whose registry it is about.
    let account = asked.text("registryId").unwrap_or(caller);
    match (asked.service, asked.operation.as_str()) {
        ("ecr", "GetAuthorizationToken") => tokens::private(
            state,
            caller,
            asked,
            &send(state, caller, parts, body).await?,
        ),
        ("ecr", "DescribeImages" | "BatchGetImage" | "ListImages") => {
            images::answer(state, account, asked).await
        }
        // They would change moto's images, which nobody sees.
        ("ecr", "PutImage" | "BatchDeleteImage") => Err(unknown(asked)),
        ("ecr", "GetAccountSetting" | "PutAccountSetting") => setting(state, caller, asked),
        ("ecr", operation) => {
            let answer = send(state, account, parts, body).await?;
            if !["Describe", "Get", "List"]
                .iter()
                .any(|reads| operation.starts_with(reads))
            {
                state.memory().known.forget();
            }
            if operation == "DeleteRepository" && answer.0 == 200 {
                let name = asked.repository().unwrap_or_default().to_owned();
                state
                    .memory()
                    .account(account)
                    .images
                    .remove(&(asked.region().to_owned(), name));
            }
            Ok(reply(asked, answer))
        }
        ("ecr-public", _) => public::answer(state, caller, asked),
        ("sts", _) => sts::answer(state, caller, asked, parts, body).await,
        // What a reader of the documents sets up.
        ("iam", _) | ("eks", "CreateCluster") => {
            Ok(reply(asked, send(state, caller, parts, body).await?))
        }
        ("eks", "CreateAccessEntry") => Ok(access_entry(asked)),
        ("eks", _) => {
            let answer = send(state, caller, parts, body).await?;
            Ok(reply(asked, cluster(state, caller, asked, answer)))
        }
        _ => Err(unknown(asked)),
    }
}

fn unknown(asked: &Asked) -> Refusal {
    Refusal::new(
        400,
        "UnknownOperationException",
        format!("the stand-in has no {}:{}", asked.service, asked.operation),
    )
}

/// moto's answer to the call as it came, made for an account.
async fn send(
    state: &State,
    account: &str,
    parts: Parts,
    body: Bytes,
) -> Result<(u16, Bytes), Refusal> {
    let broken = |error: &dyn std::fmt::Display| {
        Refusal::new(500, "InternalFailure", format!("moto: {error}"))
    };
    let mut request = Request::builder().method(parts.method).uri(parts.uri);
    for (name, value) in parts
        .headers
        .iter()
        .filter(|(name, _)| *name != "connection")
    {
        request = request.header(name, value);
    }
    let request = request
        .header("X-Moto-Account-Id", account)
        .body(full(body))
        .map_err(|error| broken(&error))?;
    let response = upstream::send(&state.moto, request)
        .await
        .map_err(|error| broken(&error))?;
    let status = response.status().as_u16();
    let body = collect(response.into_body(), LIMIT)
        .await
        .map_err(|error| broken(&error))?;
    // Of what it has not, moto has a page in HTML.
    if status == 500 {
        return Err(Refusal::new(
            400,
            "UnknownOperationException",
            "moto has no such operation, or failed at it",
        ));
    }
    Ok((status, body))
}

fn reply(asked: &Asked, (status, body): (u16, Bytes)) -> Response<Body> {
    let error: Option<String> = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|value| value["__type"].as_str().map(str::to_owned));
    match (asked.protocol, status) {
        (Protocol::Json, _) => {
            let mut response = answer(status, "application/x-amz-json-1.1", body);
            if let Some(error) = error.and_then(|error| error.try_into().ok()) {
                response.headers_mut().insert("x-amzn-errortype", error);
            }
            response
        }
        (Protocol::Query, _) => answer(status, "text/xml", body),
        (Protocol::Rest, 200) => answer(status, "application/json", body),
        // moto names errors in a header, which is lost on the way.
        (Protocol::Rest, _) => {
            let message = serde_json::from_slice::<Value>(&body).unwrap_or_default()["message"]
                .as_str()
                .map(str::to_owned);
            Refusal::new(
                status,
                "ResourceNotFoundException",
                message.unwrap_or_default(),
            )
            .response(Protocol::Rest)
        }
    }
}

/// The endpoint that a test has set, also for a cluster that moto has not.
fn cluster(
    state: &State,
    account: &str,
    asked: &Asked,
    (status, body): (u16, Bytes),
) -> (u16, Bytes) {
    let name = asked.text("name").unwrap_or_default();
    let mut memory = state.memory();
    let Some((endpoint, authority)) = memory.account(account).clusters.get(name) else {
        return (status, body);
    };
    let mut value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status != 200 {
        value = json!({ "cluster": { "name": name, "status": "ACTIVE", "resourcesVpcConfig": { "endpointPublicAccess": true } } });
    }
    value["cluster"]["endpoint"] = json!(endpoint);
    value["cluster"]["certificateAuthority"] = json!({ "data": authority });
    (200, value.to_string().into())
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutAccountSetting.html>
fn setting(state: &State, account: &str, asked: &Asked) -> Outcome {
    let name = asked.text("name").unwrap_or_default();
    let mut memory = state.memory();
    let settings = &mut memory.account(account).settings;
    if let Some(value) = asked.text("value") {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let default = if name == BLOB_MOUNTING {
        "DISABLED"
    } else {
        "BASIC"
    };
    let value = settings.get(name).map_or(default, String::as_str);
    Ok(json_reply(&json!({ "name": name, "value": value })))
}

/// The entry as it was wished for; nobody asks for it again.
/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessEntry.html>
fn access_entry(asked: &Asked) -> Response<Body> {
    let entry = json!({
        "clusterName": asked.text("name"),
        "principalArn": asked.text("principalArn"),
        "kubernetesGroups": asked.value["kubernetesGroups"],
        "type": asked.text("type").unwrap_or("STANDARD"),
        "username": asked.text("principalArn"),
    });
    let body = json!({ "accessEntry": entry }).to_string();
    answer(200, "application/json", body)
}

fn json_reply(value: &Value) -> Response<Body> {
    answer(200, "application/x-amz-json-1.1", value.to_string())
}
