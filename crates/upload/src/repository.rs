//! A repository of a registry: what its requests have in common.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use image::Digest;

use crate::blob::Descriptor;
use crate::error::{Cause, Error, Failure};
use crate::host::{Host, Reply};
use crate::retry::Tries;

/// Where blobs and manifests are pushed to.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) host: Arc<Host>,
    pub(crate) repository: Arc<str>,
    /// What tokens are asked for: some registries give strangers none that may push.
    pub(crate) rights: &'static str,
}

pub(crate) const PUSH: &str = "pull,push";
pub(crate) const PULL: &str = "pull";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host.name, self.repository)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A manifest as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub media_type: String,
    pub bytes: Bytes,
    pub digest: Digest,
}

/// The most that a manifest may have, in bytes: of Amazon ECR 4 MiB
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>), as the specification has it.
pub const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

/// Types of manifests that we read.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

impl Place {
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository)
    }

    pub(crate) fn scope(&self) -> String {
        format!("repository:{}:{}", self.repository, self.rights)
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        rest: &str,
        accept: Option<&str>,
    ) -> Result<Reply, Failure> {
        let (path, scope) = (self.path(rest), self.scope());
        self.host.ask(method, &path, &scope, accept).await
    }

    /// Whether a blob is there. One of another size is not the blob.
    pub(crate) async fn has(&self, blob: &Descriptor) -> Result<bool, Failure> {
        let found = self.find(&blob.digest).await?;
        Ok(found.is_some_and(|size| size.is_none_or(|size| size == blob.size)))
    }

    /// A blob's size, if the repository has it and says so.
    pub(crate) async fn find(&self, digest: &Digest) -> Result<Option<Option<u64>>, Failure> {
        // A semaphore that is never closed.
        let _turn = self.host.questions.acquire().await;
        let path = format!("blobs/{digest}");
        let reply = self.ask(Method::HEAD, &path, None).await?;
        if reply.status.is_success() {
            let length = reply.header("content-length");
            let length = length.and_then(|length| length.parse::<u64>().ok());
            return Ok(Some(length));
        }
        if reply.status.as_u16() == 404 {
            return Ok(None);
        }
        Err(reply.refusal().await)
    }

    /// A manifest, `None` where there is none.
    pub(crate) async fn manifest_once(
        &self,
        reference: &str,
        accept: &str,
    ) -> Result<Option<Fetched>, Failure> {
        let reply = self
            .ask(Method::GET, &format!("manifests/{reference}"), Some(accept))
            .await?;
        if reply.status.as_u16() == 404 {
            return match reply.refusal().await {
                Failure {
                    cause: Cause::Answer(answer),
                    ..
                } if !answer.has("NAME_UNKNOWN") => Ok(None),
                failure => Err(failure),
            };
        }
        if !reply.status.is_success() {
            return Err(reply.refusal().await);
        }
        let media_type = reply.header("content-type").unwrap_or_default().to_owned();
        let place = reply.place.clone();
        let bytes = reply.bytes(MANIFEST_LIMIT).await?;
        let digest = Descriptor::of(&bytes).digest;
        if let Ok(expected) = reference.parse::<Digest>()
            && expected.to_string().starts_with("sha256:")
            && expected != digest
        {
            return Err(Failure {
                place: Some(Box::new(place)),
                cause: Cause::OtherDigest {
                    expected,
                    actual: digest.to_string(),
                },
            });
        }
        Ok(Some(Fetched {
            media_type,
            bytes,
            digest,
        }))
    }

    pub(crate) async fn manifest(&self, reference: &str) -> Result<Option<Fetched>, Error> {
        let attempted = format!("read manifest `{reference}` of `{self}`");
        let mut tries = Tries::new(attempted, &self.host.timing);
        loop {
            match self.manifest_once(reference, ACCEPT).await {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => tries.again(&self.host, failure).await?,
            }
        }
    }

    /// What a tag names.
    pub(crate) async fn digest(&self, tag: &str) -> Result<Option<Digest>, Error> {
        let attempted = format!("read manifest `{tag}` of `{self}`");
        let mut tries = Tries::new(attempted, &self.host.timing);
        loop {
            match self.digest_once(tag).await {
                Ok(digest) => return Ok(digest),
                Err(failure) => tries.again(&self.host, failure).await?,
            }
        }
    }

    async fn digest_once(&self, tag: &str) -> Result<Option<Digest>, Failure> {
        let path = format!("manifests/{tag}");
        let reply = self.ask(Method::HEAD, &path, Some(ACCEPT)).await?;
        if reply.status.as_u16() == 404 {
            return Ok(None);
        }
        let digest = reply.header("docker-content-digest");
        if reply.status.is_success()
            && let Some(digest) = digest.and_then(|digest| digest.parse().ok())
        {
            return Ok(Some(digest));
        }
        // A refusal of HEAD has no words, and not every registry has the header.
        let reply = self.ask(Method::GET, &path, Some(ACCEPT)).await?;
        if !reply.status.is_success() {
            return Err(reply.refusal().await);
        }
        let bytes = reply.bytes(MANIFEST_LIMIT).await?;
        Ok(Some(Descriptor::of(&bytes).digest))
    }

    /// A blob that is small, checked, `None` where it is not there.
    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let attempted = format!("read blob `{digest}` of `{self}`");
        let mut tries = Tries::new(attempted, &self.host.timing);
        loop {
            match self.blob_once(digest).await {
                Ok(blob) => return Ok(blob),
                Err(failure) => tries.again(&self.host, failure).await?,
            }
        }
    }

    async fn blob_once(&self, digest: &Digest) -> Result<Option<Bytes>, Failure> {
        let path = format!("blobs/{digest}");
        let reply = self.ask(Method::GET, &path, None).await?;
        if reply.status.as_u16() == 404 {
            return Ok(None);
        }
        if !reply.status.is_success() {
            return Err(reply.refusal().await);
        }
        let place = reply.place.clone();
        let bytes = reply.bytes(MANIFEST_LIMIT).await?;
        let actual = Descriptor::of(&bytes).digest;
        if actual == *digest {
            return Ok(Some(bytes));
        }
        Err(Failure {
            place: Some(Box::new(place)),
            cause: Cause::OtherDigest {
                expected: digest.clone(),
                actual: actual.to_string(),
            },
        })
    }
}
