//! Tokens for Amazon EKS: `fast-ecr-push eks-token`, an exec credential plugin for kubectl, buildx
//! and kube, which replaces `aws eks get-token`.
//!
//! Prints an `ExecCredential`
//! (<https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>). The token is a
//! presigned `GetCallerIdentity`, which the cluster sends to STS. It is valid for 15 minutes
//! (<https://github.com/aws/aws-cli/blob/v2/awscli/customizations/eks/get_token.py>).

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use image::Partition;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use thiserror::Error;

use super::error::SessionError;
use super::refusal::error_chain;
use super::session::Session;
use crate::runner::env::Env;

/// The subcommand that prints a token.
pub(crate) const SUBCOMMAND: &str = "eks-token";

/// The header that ties a token to its cluster.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";

/// Validity of the presigned request at STS. The cluster accepts it for 15 minutes.
const PRESIGNED: Duration = Duration::from_secs(60);

/// Validity of a token for clients: a minute less than for the cluster.
const LIFETIME: SignedDuration = SignedDuration::from_mins(14);

/// The session name of `aws eks get-token --role-arn`, which trust policies may require.
const SESSION: &str = "EKSGetTokenAuth";

/// The cluster and the identity of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenRequest {
    /// The cluster's name; on Outposts its id.
    pub cluster: String,
    pub region: Option<String>,
    pub role: Option<String>,
    pub external_id: Option<String>,
    pub profile: Option<String>,
}

impl TokenRequest {
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            SUBCOMMAND.to_owned(),
            "--cluster".to_owned(),
            self.cluster.clone(),
        ];
        for (flag, value) in [
            ("--region", &self.region),
            ("--role", &self.role),
            ("--external-id", &self.external_id),
            ("--profile", &self.profile),
        ] {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value.clone()]);
            }
        }
        arguments
    }
}

#[derive(Debug, Error)]
pub(crate) enum EksError {
    #[error("the AWS region is unknown")]
    NoRegion,
    #[error("{0}")]
    Credentials(String),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("could not sign the request: {0}")]
    Sign(String),
}

impl EksError {
    /// What to do, where the caller could not know.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Session(error @ SessionError::KubeconfigProfile(_)) => error.hint(),
            _ => None,
        }
    }
}

/// Prints a token. The caller shows standard error to the user.
pub(crate) async fn run(request: &TokenRequest, env: &Env) -> ExitCode {
    let now = SystemTime::now();
    let token = make(request, env, now).await;
    let written = match &token {
        Ok(token) => {
            let info = env.get("KUBERNETES_EXEC_INFO");
            writeln!(io::stdout(), "{}", answer(token, info, now))
        }
        Err(error) => {
            let (cluster, chain) = (&request.cluster, error_chain(error));
            let hint = error.hint().map(|hint| format!(" ({hint})"));
            let hint = hint.unwrap_or_default();
            writeln!(
                io::stderr(),
                "fast-ecr-push: could not make a token for the cluster `{cluster}`: {chain}{hint}"
            )
        }
    };
    if token.is_ok() && written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn make(request: &TokenRequest, env: &Env, now: SystemTime) -> Result<String, EksError> {
    let session = Session::of_run(env, None)?.with_profile(request.profile.as_deref());
    let config = session.config(request.region.as_deref()).await?;
    let region = config.region().ok_or(EksError::NoRegion)?;
    let provider = match &request.role {
        None => config.credentials_provider(),
        Some(role) => {
            let mut builder = AssumeRoleProvider::builder(role)
                .session_name(SESSION)
                .configure(&config);
            if let Some(id) = &request.external_id {
                builder = builder.external_id(id);
            }
            Some(SharedCredentialsProvider::new(builder.build().await))
        }
    };
    let provider =
        provider.ok_or_else(|| EksError::Credentials("there are no AWS credentials".to_owned()))?;
    let credentials = provider.provide_credentials().await;
    let credentials = credentials.map_err(|error| EksError::Credentials(error_chain(&error)))?;
    presign(&request.cluster, region.as_ref(), credentials, now)
        .map_err(|error| EksError::Sign(error.to_string()))
}

/// The token: a presigned URL in base64.
fn presign(
    cluster: &str,
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<String, Box<dyn std::error::Error>> {
    let suffix = Partition::of_region(region).dns_suffix;
    let host = format!("sts.{region}.{suffix}");
    let url = format!("https://{host}/?Action=GetCallerIdentity&Version=2011-06-15");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(PRESIGNED);
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let headers = [("host", host.as_str()), (CLUSTER_HEADER, cluster)];
    let request = SignableRequest::new("GET", &url, headers.into_iter(), SignableBody::Bytes(b""))?;
    let (instructions, _) = sign(request, &parameters)?.into_parts();
    let mut presigned = http::Request::builder().uri(url).body(())?;
    instructions.apply_to_request_http1x(&mut presigned);
    let encoded = URL_SAFE_NO_PAD.encode(presigned.uri().to_string());
    Ok(format!("k8s-aws-v1.{encoded}"))
}

/// The answer in the caller's API version.
fn answer(token: &str, info: Option<&str>, now: SystemTime) -> Value {
    let asked: Option<Value> = info.and_then(|text| serde_json::from_str(text).ok());
    let version = asked
        .as_ref()
        .and_then(|info| info["apiVersion"].as_str())
        .filter(|version| *version == "client.authentication.k8s.io/v1")
        .unwrap_or("client.authentication.k8s.io/v1beta1");
    let expires = Timestamp::try_from(now)
        .and_then(|now| now.checked_add(LIFETIME))
        .unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "kind": "ExecCredential",
        "apiVersion": version,
        "spec": {},
        "status": {
            "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "token": token,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T03:04:05Z
    const NOW: Duration = Duration::from_secs(1_767_323_045);

    /// The URL inside of a token that AWS's CLI would make at [`NOW`], with the keys of AWS's own
    /// documentation.
    fn signed(cluster: &str, region: &str, session: Option<&str>) -> String {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session.map(str::to_owned),
            None,
            "test",
        );
        let token = presign(cluster, region, credentials, SystemTime::UNIX_EPOCH + NOW).unwrap();
        let encoded = token.strip_prefix("k8s-aws-v1.").unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn signs_as_awss_own_cli_does() {
        // Signatures by awscli 1.46.3 with its clock held at the same instant.
        for (region, session, signature) in [
            (
                "eu-west-1",
                None,
                "11909007f435e9216c836905a318647b67d64f334a0d4113dcedb8672c54abbb",
            ),
            (
                "us-east-1",
                Some("TESTTOKEN/+="),
                "f24539ad19687883637d48f94f4345ed47237b78641177b63beff17d9f608b76",
            ),
        ] {
            let url = signed("my-cluster", region, session);
            assert!(
                url.contains(&format!("X-Amz-Signature={signature}")),
                "{url}"
            );
            assert!(
                url.contains("X-Amz-SignedHeaders=host%3Bx-k8s-aws-id"),
                "{url}"
            );
            assert!(url.contains("X-Amz-Expires=60"), "{url}");
        }
    }

    #[test]
    fn asks_the_partitions_own_host() {
        let url = signed("c", "cn-north-1", None);
        assert!(
            url.starts_with("https://sts.cn-north-1.amazonaws.com.cn/?Action=GetCallerIdentity"),
            "{url}"
        );
    }

    #[test]
    fn answers_in_the_version_that_was_asked_for() {
        let now = SystemTime::UNIX_EPOCH + NOW;
        let v1 = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential"}"#;
        for (info, version) in [
            (Some(v1), "client.authentication.k8s.io/v1"),
            (None, "client.authentication.k8s.io/v1beta1"),
            (Some("{"), "client.authentication.k8s.io/v1beta1"),
        ] {
            let answer = answer("t", info, now);
            assert_eq!(answer["apiVersion"], version);
            assert_eq!(answer["status"]["token"], "t");
            assert_eq!(
                answer["status"]["expirationTimestamp"],
                "2026-01-02T03:18:05Z"
            );
        }
    }

    #[test]
    fn the_arguments_name_only_what_is_known() {
        let mut request = TokenRequest {
            cluster: "c".into(),
            region: Some("eu-west-1".into()),
            ..TokenRequest::default()
        };
        assert_eq!(
            request.arguments().join(" "),
            "eks-token --cluster c --region eu-west-1"
        );
        request.role = Some("arn:aws:iam::1:role/r".into());
        request.profile = Some("p".into());
        assert!(
            request
                .arguments()
                .join(" ")
                .ends_with("--role arn:aws:iam::1:role/r --profile p")
        );
    }
}
