//! How ECR answers where it answers otherwise than a registry by the book, each with the place where somebody saw it.
//!
//! Not imitated, for want of a record: the least size of a chunk (5 MiB), the redirect of blobs to S3, one request per
//! second for those who pull from ECR Public without credentials.

use aws_stand_in::names;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::body::{Body, answer};

/// Private registries have no token service: they ask for Basic
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>).
fn challenge(host: &str) -> String {
    match host {
        names::PUBLIC => {
            format!("Bearer realm=\"https://{host}/token/\",service=\"{host}\",scope=\"aws\"")
        }
        _ => format!("Basic realm=\"https://{host}/\",service=\"ecr.amazonaws.com\""),
    }
}

/// Body of a 401: <https://github.com/awslabs/aws-sigv4-proxy/issues/237>.
const NOT_AUTHORIZED: &str = "Not Authorized\n";

/// A token of more than 12 hours: <https://github.com/CircleCI-Public/aws-ecr-orb/pull/277>.
const EXPIRED: &str = "Your authorization token has expired. Reauthenticate and try again.";

/// A password that is none, or of another region: <https://github.com/akuity/kargo/issues/3482>.
const INVALID: &str = "Your Authorization Token is invalid.";

/// A chunk that is taken: 201, where the specification has 202. "Will not change."
/// <https://github.com/jdx/mise/pull/11376>
pub(super) const CHUNK: StatusCode = StatusCode::CREATED;

/// A tag that is not there: <https://github.com/aws-ia/taskcat/issues/872>.
const NO_IMAGE: &str = "Requested image not found";

/// The most that a manifest may have (`ImageManifest` in ECR's API model):
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>.
pub(super) const MANIFEST_LIMIT: usize = 4_194_304;

/// The configuration of BuildKit's cache, among the manifests of an index:
/// <https://github.com/moby/buildkit/blob/master/cache/remotecache/v1/spec.go>.
pub(super) const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// An error of the distribution specification's form, as ECR sends all of its own.
pub(super) fn error(status: u16, code: &str, message: &str) -> Response<Body> {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    answer(status, "application/json; charset=utf-8", body.to_string())
}

/// No credentials: clients say "no basic auth credentials" (<https://github.com/Panfactum/stack/issues/103>).
pub(super) fn unauthorized(host: &str) -> Response<Body> {
    let mut response = answer(401, "text/plain; charset=utf-8", NOT_AUTHORIZED);
    if let Ok(value) = HeaderValue::try_from(challenge(host)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

pub(super) fn expired() -> Response<Body> {
    error(403, "DENIED", EXPIRED)
}

pub(super) fn invalid() -> Response<Body> {
    error(403, "DENIED", INVALID)
}

/// IAM does not allow it. The answer to HEAD has no body (<https://github.com/moby/buildkit/issues/4152>); to others:
/// <https://github.com/ministryofjustice/cloud-platform/issues/7245>.
pub(super) fn denied(
    action: &str,
    account: &str,
    region: &str,
    repository: &str,
) -> Response<Body> {
    error(
        403,
        "DENIED",
        &crate::api::errors::denial(action, account, region, Some(repository)),
    )
}

/// No such repository, but to `POST …/blobs/uploads/`, which gets no answer at all: ECR "abruptly ends the request"
/// (<https://github.com/aws/containers-roadmap/issues/1970>). <https://github.com/plexsystems/sinker/issues/55>
pub(super) fn no_repository(name: &str, account: &str) -> Response<Body> {
    let message = format!(
        "The repository with name '{name}' does not exist in the registry with id '{account}'"
    );
    error(404, "NAME_UNKNOWN", &message)
}

pub(super) fn no_image() -> Response<Body> {
    error(404, "MANIFEST_UNKNOWN", NO_IMAGE)
}

/// The tag is taken and may not move: <https://github.com/osscontainertools/kaniko/pull/204>. The last words are new
/// since 2025; before they were those of <https://github.com/moby/buildkit/issues/3776>.
pub(super) fn immutable(tag: &str, repository: &str, old: bool) -> Response<Body> {
    let what = if old { "repository" } else { "tag" };
    let message = format!(
        "The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten because the \
         {what} is immutable."
    );
    error(400, "TAG_INVALID", &message)
}

/// An index with a cache, before August 2023: 400 without words.
/// <https://github.com/aws/containers-roadmap/issues/876>
pub(super) fn index_cache() -> Response<Body> {
    crate::body::empty(400)
}
