//! What a call asks for, whatever its protocol.

use hyper::body::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use serde_json::{Map, Value, json};

use super::errors::Protocol;

/// A call.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub protocol: Protocol,
    /// As in the API's name for IAM.
    pub service: &'static str,
    pub operation: String,
    /// Of the signature. What STS is asked without credentials has none.
    pub signature: Option<Signature>,
    /// Parameters.
    pub value: Value,
}

/// What a signature tells of the one who signed; nobody checks it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Signature {
    pub key: String,
    pub region: String,
    pub service: String,
    /// Of a role's session.
    pub token: Option<String>,
}

impl Asked {
    /// None for what is no call that we know the form of.
    pub(super) fn read(parts: &Parts, body: &Bytes) -> Option<Self> {
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let signature = header(AUTHORIZATION.as_str()).and_then(|text| {
            // KEY/DATE/REGION/SERVICE/aws4_request
            let scope = text.split("Credential=").nth(1)?.split(',').next()?;
            let mut words = scope.split('/');
            Some(Signature {
                key: words.next()?.to_owned(),
                region: words.nth(1)?.to_owned(),
                service: words.next()?.to_owned(),
                token: header("x-amz-security-token").map(str::to_owned),
            })
        });
        let (protocol, service, operation, value) = if let Some(target) = header("x-amz-target") {
            let (api, operation) = target.split_once('.')?;
            let service = match api {
                "AmazonEC2ContainerRegistry_V20150921" => "ecr",
                "SpencerFrontendService" => "ecr-public",
                _ => return None,
            };
            (
                Protocol::Json,
                service,
                operation.to_owned(),
                serde_json::from_slice(body).ok()?,
            )
        } else if let Some(path) = parts.uri.path().strip_prefix("/clusters") {
            let mut words = path.split('/').skip(1);
            let mut value: Value = serde_json::from_slice(body).unwrap_or_else(|_| json!({}));
            if let Some(name) = words.next() {
                value["name"] = name.into();
            }
            let operation = match (parts.method.as_str(), words.next()) {
                ("GET", None) => "DescribeCluster",
                ("POST", None) => "CreateCluster",
                ("POST", Some("access-entries")) => "CreateAccessEntry",
                _ => return None,
            };
            (Protocol::Rest, "eks", operation.to_owned(), value)
        } else {
            let form: Map<String, Value> = form_urlencoded::parse(body)
                .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
                .collect();
            let operation = form.get("Action")?.as_str()?.to_owned();
            let of_iam = signature
                .as_ref()
                .is_some_and(|signature| signature.service == "iam");
            let service = if of_iam { "iam" } else { "sts" };
            (Protocol::Query, service, operation, Value::Object(form))
        };
        Some(Self {
            protocol,
            service,
            operation,
            signature,
            value,
        })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value[name].as_str()
    }

    /// The repository that it is about.
    pub(super) fn repository(&self) -> Option<&str> {
        self.text("repositoryName")
            .or_else(|| self.value["repositoryNames"][0].as_str())
    }

    pub(super) fn region(&self) -> &str {
        self.signature
            .as_ref()
            .map_or("", |signature| &signature.region)
    }

    /// The parameters without secrets.
    pub(super) fn without_secrets(&self) -> Value {
        let mut value = self.value.clone();
        if let Some(object) = value.as_object_mut() {
            object.remove("WebIdentityToken");
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_three_protocols() {
        let signed = |service: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIA0000123456789012/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host"
            )
        };
        for (method, path, target, body, expected) in [
            (
                "POST",
                "/",
                Some("AmazonEC2ContainerRegistry_V20150921.DescribeImages"),
                r#"{"repositoryName":"a"}"#,
                ("ecr", "DescribeImages"),
            ),
            (
                "POST",
                "/",
                Some("SpencerFrontendService.GetAuthorizationToken"),
                "{}",
                ("ecr-public", "GetAuthorizationToken"),
            ),
            (
                "POST",
                "/",
                None,
                "Action=GetCallerIdentity&Version=2011-06-15",
                ("sts", "GetCallerIdentity"),
            ),
            (
                "POST",
                "/",
                None,
                "Action=CreateRole&Version=2010-05-08",
                ("iam", "CreateRole"),
            ),
            (
                "GET",
                "/clusters/builders",
                None,
                "",
                ("eks", "DescribeCluster"),
            ),
            ("POST", "/clusters", None, "{}", ("eks", "CreateCluster")),
            (
                "POST",
                "/clusters/builders/access-entries",
                None,
                "{}",
                ("eks", "CreateAccessEntry"),
            ),
        ] {
            let mut request = hyper::Request::builder()
                .method(method)
                .uri(path)
                .header("Authorization", signed(expected.0));
            if let Some(target) = target {
                request = request.header("X-Amz-Target", target);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            let asked = Asked::read(&parts, &Bytes::from_static(body.as_bytes())).expect("a call");
            assert_eq!((asked.service, asked.operation.as_str()), expected);
            assert_eq!(asked.region(), "eu-west-1");
        }
    }
}
