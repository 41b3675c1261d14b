//! The control endpoint's messages, as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an account is to do from now on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Command {
    /// A repository, as somebody else's `CreateRepository` made it.
    CreateRepository {
        /// A region, or `public` for ECR Public.
        region: String,
        /// The name, of ECR Public without the alias.
        name: String,
        /// `MUTABLE`, `IMMUTABLE`, `IMMUTABLE_WITH_EXCLUSION` or `MUTABLE_WITH_EXCLUSION`.
        mutability: String,
        /// Wildcards of tags that are the exception.
        exclusions: Vec<String>,
    },
    /// IAM denies an action, as `ecr:PutImage`, on registry and API alike; in one repository, or in all.
    Deny {
        /// Service and operation.
        action: String,
        /// None means all.
        repository: Option<String>,
    },
    /// Something that goes wrong a few times.
    Fault(Fault),
    /// The next ECR token expires after so many requests.
    NextTokenGoodFor {
        /// Requests that it is good for.
        requests: u32,
    },
    /// All ECR tokens so far have expired.
    ExpireTokens,
    /// All sessions of roles so far have expired.
    ExpireSessions,
    /// Index cache manifests are refused, as ECR did until 2023.
    RefuseIndexCache,
    /// Refusals of taken tags speak of the repository, as they did until 2025, not of the tag.
    OldImmutableWording,
    /// The endpoint of a cluster, which moto makes up.
    Cluster {
        /// The cluster's name.
        name: String,
        /// Its API, as `https://host:port`.
        endpoint: String,
        /// Its certificate authority, PEM in base64.
        authority: String,
    },
}

/// Something that goes wrong, at the requests that match.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fault {
    /// Which requests.
    pub on: On,
    /// Only in this repository.
    pub repository: Option<String>,
    /// So many of them are answered well before.
    pub skip: u32,
    /// How often it goes wrong.
    pub times: u32,
    /// What happens instead.
    pub answer: Answer,
}

/// Requests to registry or API.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum On {
    /// A request to the registry, by method (as `PUT`) and by what it is about.
    Registry(String, Resource),
    /// An operation of the API, as `DescribeImages`; `GetIdToken` is GitHub's OIDC issuer.
    Api(String),
}

/// What a request to the registry is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Resource {
    /// `/v2/`.
    Base,
    /// `/v2/NAME/manifests/REFERENCE`.
    Manifest,
    /// `/v2/NAME/blobs/DIGEST`.
    Blob,
    /// `/v2/NAME/blobs/uploads/` and what is below.
    Upload,
    /// The rest: lists of tags, referrers.
    Other,
}

/// What happens instead of an answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Answer {
    /// An error. Without a code, the body is empty.
    Error {
        /// HTTP status.
        status: u16,
        /// As `ThrottlingException` or `TOOMANYREQUESTS`.
        code: String,
        /// In words.
        message: String,
    },
    /// The connection is closed without an answer.
    Close,
    /// Nothing: the connection stays open.
    Hang,
    /// What else would be answered, so many milliseconds later.
    Late(u64),
}

impl Answer {
    /// How long to wait before anything else is done.
    #[must_use]
    pub fn delay(&self) -> Duration {
        match self {
            Self::Late(milliseconds) => Duration::from_millis(*milliseconds),
            Self::Error { .. } | Self::Close | Self::Hang => Duration::ZERO,
        }
    }
}

/// What happened in an account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Record {
    /// Requests to its registries, in the order of their ends.
    pub requests: Vec<Request>,
    /// Calls of the API and of the OIDC issuer.
    pub calls: Vec<Call>,
}

/// A request to a registry that ended. The same as a line of `requests.jsonl`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Request {
    /// Whose registry.
    pub account: String,
    /// Host name as the client has it.
    pub host: String,
    /// As `PUT`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// None where the path has none.
    pub repository: Option<String>,
    /// HTTP status; 0 where the connection was closed without an answer.
    pub status: u16,
    /// Bytes of the body that came.
    pub request_bytes: u64,
    /// Bytes of the body that went.
    pub response_bytes: u64,
    /// Which of the account's tokens, counted from 1; none where it came without a good one.
    pub token: Option<u32>,
    /// The end, in milliseconds since 1970.
    pub ended: i64,
    /// From head to end, in milliseconds.
    pub milliseconds: u64,
}

/// A call of the API. The same as a line of `calls.jsonl`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Call {
    /// Whose.
    pub account: String,
    /// As `ecr`, `ecr-public`, `sts`, `iam`, `eks`, `oidc`.
    pub service: String,
    /// As `DescribeImages`.
    pub operation: String,
    /// Of the signature.
    pub region: Option<String>,
    /// HTTP status; 0 where the connection was closed.
    pub status: u16,
    /// As `RepositoryNotFoundException`.
    pub error: Option<String>,
    /// What was asked: a JSON body as it came, a form as an object; without tokens.
    pub asked: serde_json::Value,
    /// From head to end, in milliseconds.
    pub milliseconds: u64,
}
