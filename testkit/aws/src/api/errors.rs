//! AWS's errors in the forms of its protocols, and what IAM says when it denies.
//!
//! Forms: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>,
//! `aws-query-protocol`, `aws-restjson1-protocol` beside it.

use hyper::Response;
use hyper::header::HeaderValue;
use serde_json::json;

use crate::body::{Body, answer};

/// How a service speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// ECR.
    Json,
    /// STS.
    Query,
    /// EKS.
    Rest,
}

/// An error that is not sent yet.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn response(&self, protocol: Protocol) -> Response<Body> {
        let Self {
            status,
            code,
            message,
        } = self;
        match protocol {
            Protocol::Json => {
                let body = json!({ "__type": code, "message": message });
                answer(*status, "application/x-amz-json-1.1", body.to_string())
            }
            Protocol::Query => {
                let fault = if *status < 500 { "Sender" } else { "Receiver" };
                let message = message.replace('&', "&amp;").replace('<', "&lt;");
                answer(
                    *status,
                    "text/xml",
                    format!(
                        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>{fault}</Type>\
                         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>stand-in</RequestId></ErrorResponse>"
                    ),
                )
            }
            Protocol::Rest => {
                let mut response = answer(
                    *status,
                    "application/json",
                    json!({ "message": message }).to_string(),
                );
                if let Ok(code) = HeaderValue::try_from(code) {
                    response.headers_mut().insert("x-amzn-errortype", code);
                }
                response
            }
        }
    }
}

/// Who asked, what for, and that no policy allows it:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>.
pub(crate) fn denial(
    action: &str,
    account: &str,
    region: &str,
    repository: Option<&str>,
) -> String {
    let resource = match repository {
        Some(name) => format!("arn:aws:ecr:{region}:{account}:repository/{name}"),
        None => "*".to_owned(),
    };
    format!(
        "User: arn:aws:sts::{account}:assumed-role/ci/GitHubActions is not authorized to perform: {action} on resource: \
         {resource} because no identity-based policy allows the {action} action"
    )
}
