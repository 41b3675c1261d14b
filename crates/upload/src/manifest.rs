//! Manifests and tags, last: types keep a tag from pointing at an incomplete image.
//!
//! [`Present`] proves that a repository has a blob; [`Complete`] is a manifest with a proof for each blob that it names;
//! only such manifests are written, first by digest in all repositories, and only when all have it, under tags.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use image::{Digest, is_tag};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::blob::Descriptor;
use crate::body::Outgoing;
use crate::error::{Answer, Cause, Error, Failure, shown};
use crate::host::{Ask, Counted, content_type};
use crate::push::Present;
use crate::repository::{Fetched, MANIFEST_LIMIT, Place};
use crate::retry::Tries;

/// A manifest whose blobs are all in the repository that it is for.
#[derive(Debug, Clone)]
pub struct Complete {
    place: Place,
    media_type: String,
    bytes: Bytes,
    descriptor: Descriptor,
}

/// A manifest that was written: proof for an index that names it.
#[derive(Debug, Clone)]
pub struct Stored {
    place: Place,
    descriptor: Descriptor,
}

impl Stored {
    /// One that was read from the repository.
    pub(crate) fn of_repository(place: Place, manifest: &Fetched) -> Self {
        Self {
            descriptor: Descriptor::of(&manifest.bytes),
            place,
        }
    }

    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }
}

/// What a manifest names.
#[derive(serde::Deserialize)]
struct Named {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
}

#[derive(serde::Deserialize)]
struct Part {
    digest: String,
    size: u64,
    /// Where a layer is to be had instead of the registry.
    #[serde(default)]
    urls: Vec<String>,
}

impl Complete {
    pub(crate) fn new(
        place: Place,
        media_type: &str,
        bytes: Bytes,
        blobs: &[Present],
        manifests: &[Stored],
    ) -> Result<Self, Error> {
        let attempted = format!("write a manifest to `{place}`");
        let fail = |cause: Cause| Error::new(attempted.clone(), 1, cause.into());
        if bytes.len() > MANIFEST_LIMIT {
            return Err(fail(Cause::TooLarge(MANIFEST_LIMIT)));
        }
        content_type(media_type).map_err(fail)?;
        let named: Named = serde_json::from_slice(&bytes)
            .map_err(|error| fail(Cause::Manifest(format!("it is not a manifest: {error}"))))?;
        if let Some(other) = named.media_type.filter(|other| other != media_type) {
            let text = format!("it is a `{}`, and pushed as `{media_type}`", shown(&other));
            return Err(fail(Cause::Manifest(text)));
        }
        let here = |other: &Place| other.to_string() == place.to_string();
        let blobs = blobs.iter().filter(|blob| here(&blob.place));
        let blobs: HashMap<String, u64> = blobs.map(|blob| entry(&blob.descriptor)).collect();
        let stored = manifests.iter().filter(|manifest| here(&manifest.place));
        let stored: HashMap<String, u64> = stored.map(|one| entry(&one.descriptor)).collect();
        let layers = named.config.iter().chain(&named.layers);
        let layers = layers.filter(|layer| layer.urls.is_empty());
        let parts = layers.map(|layer| (layer, &blobs));
        for (part, proofs) in parts.chain(named.manifests.iter().map(|part| (part, &stored))) {
            if proofs.get(&part.digest) != Some(&part.size) {
                return Err(fail(Cause::MissingBlob(shown(&part.digest))));
            }
        }
        Ok(Self {
            descriptor: Descriptor::of(&bytes),
            place,
            media_type: media_type.to_owned(),
            bytes,
        })
    }

    /// A manifest that this repository has: what it names was there when it was written.
    pub(crate) fn of_repository(place: Place, manifest: &Fetched) -> Self {
        Self {
            descriptor: Descriptor::of(&manifest.bytes),
            place,
            media_type: manifest.media_type.clone(),
            bytes: manifest.bytes.clone(),
        }
    }

    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }
}

fn entry(descriptor: &Descriptor) -> (String, u64) {
    (descriptor.digest.to_string(), descriptor.size)
}

/// Manifests were not written as wanted.
#[derive(Debug, thiserror::Error)]
#[error("{source}{}", written(tagged))]
pub struct PublishError {
    /// Names that point at the new image all the same. Where this is empty, no name has moved.
    pub tagged: Vec<String>,
    /// Shown as the error itself.
    pub source: Box<Error>,
}

impl PublishError {
    /// Whether a tag points at the new image all the same.
    #[must_use]
    pub fn has_tagged(&self, tag: &str) -> bool {
        let mut names = self.tagged.iter();
        names.any(|name| name.rsplit_once(':').is_some_and(|(_, own)| own == tag))
    }
}

fn written(tagged: &[String]) -> String {
    if tagged.is_empty() {
        return String::new();
    }
    format!(" (written already: {})", tagged.join(", "))
}

/// Writes manifests by digest, all of them, then all tags, and reads them back.
pub(crate) async fn publish(
    images: Vec<(Complete, Vec<String>)>,
) -> Result<Vec<Stored>, PublishError> {
    let nothing_yet = |source| PublishError {
        tagged: Vec::new(),
        source: Box::new(source),
    };
    for (image, tags) in &images {
        if let Some(wrong) = tags.iter().find(|tag| !is_tag(tag)) {
            let attempted = format!("write a tag to `{}`", image.place);
            let cause = Cause::Manifest(format!("`{}` is not a tag", shown(wrong)));
            return Err(nothing_yet(Error::new(attempted, 1, cause.into())));
        }
    }
    let mut storing = JoinSet::new();
    for (image, tags) in &images {
        let (image, is_read) = (image.clone(), tags.is_empty());
        storing.spawn(async move {
            let digest = image.descriptor.digest.to_string();
            image.write(&digest).await?;
            if is_read {
                image.read_back(&digest).await
            } else {
                Ok(())
            }
        });
    }
    while let Some(stored) = storing.join_next().await {
        stored
            .unwrap_or_else(|_| Err(stopped()))
            .map_err(nothing_yet)?;
    }
    write_tags(images.clone()).await?;
    let stored = images.into_iter().map(|(image, _)| Stored {
        place: image.place,
        descriptor: image.descriptor,
    });
    Ok(stored.collect())
}

/// Writes tags of manifests that are there, all at a time, and reads them back.
pub(crate) async fn write_tags(images: Vec<(Complete, Vec<String>)>) -> Result<(), PublishError> {
    let mut tagging = JoinSet::new();
    for (image, tags) in &images {
        for tag in tags {
            let (image, tag) = (image.clone(), tag.clone());
            tagging.spawn(async move {
                image.write(&tag).await?;
                image.read_back(&tag).await?;
                Ok(format!("{}:{tag}", image.place))
            });
        }
    }
    let (mut tagged, mut first) = (Vec::new(), None);
    while let Some(result) = tagging.join_next().await {
        match result.unwrap_or_else(|_| Err(stopped())) {
            Ok(name) => tagged.push(name),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    match first {
        None => Ok(()),
        Some(error) => {
            tagged.sort();
            let source = Box::new(error);
            Err(PublishError { tagged, source })
        }
    }
}

fn stopped() -> Error {
    Error::new("write a manifest", 1, Cause::Stopped.into())
}

/// Between questions whether the registry has found its blobs.
const LAG_WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Reads before another manifest under a tag is believed.
const READS: u32 = 5;

impl Complete {
    /// Writes the manifest under a tag or its digest.
    async fn write(&self, reference: &str) -> Result<(), Error> {
        let host = &self.place.host;
        let attempted = format!("write manifest `{reference}` to `{}`", self.place);
        let mut tries = Tries::new(attempted, &host.timing);
        let begun = Instant::now();
        let (mut lag_wait, longest) = LAG_WAITS;
        loop {
            let failure = match self.write_once(reference).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            match &failure.cause {
                Cause::Answer(answer)
                    if is_lag(answer) && begun.elapsed() < host.timing.blob_lag =>
                {
                    tokio::time::sleep(lag_wait).await;
                    lag_wait = (lag_wait * 2).min(longest);
                }
                // Written before, by this push or another: no offence where it is the same.
                Cause::Answer(answer) if is_taken(answer) && self.is_there(reference).await => {
                    return Ok(());
                }
                _ => tries.again(host, failure).await?,
            }
        }
    }

    async fn write_once(&self, reference: &str) -> Result<(), Failure> {
        let host = &self.place.host;
        host.count(Counted::Manifest).await;
        let scope = self.place.scope();
        let ask = Ask {
            method: Method::PUT,
            address: host.address(&self.place.path(&format!("manifests/{reference}")))?,
            scope: &scope,
            headers: vec![content_type(&self.media_type)?],
            body: Outgoing::whole(self.bytes.clone()),
        };
        let reply = host.send(ask).await?;
        if !matches!(reply.status.as_u16(), 200..=202) {
            return Err(reply.refusal().await);
        }
        if let Some(actual) = reply.header("docker-content-digest")
            && actual != self.descriptor.digest.as_str()
        {
            return Err(reply.fail(Cause::OtherDigest {
                expected: self.digest(),
                actual: shown(actual),
            }));
        }
        reply.drain().await;
        Ok(())
    }

    async fn is_there(&self, reference: &str) -> bool {
        let there = self.place.manifest_once(reference, &self.media_type).await;
        there.is_ok_and(|there| there.is_some_and(|there| there.bytes == self.bytes))
    }

    /// Compares what a reference names with what was written, byte by byte.
    async fn read_back(&self, reference: &str) -> Result<(), Error> {
        let host = &self.place.host;
        let attempted = format!("read back `{reference}` of `{}`", self.place);
        let mut tries = Tries::new(attempted, &host.timing);
        let (mut wait, longest) = LAG_WAITS;
        let mut reads = 0;
        loop {
            let there = match self.place.manifest_once(reference, &self.media_type).await {
                Ok(there) => there,
                Err(failure) => {
                    tries.again(host, failure).await?;
                    continue;
                }
            };
            let found = match there {
                Some(there) if there.bytes == self.bytes => return Ok(()),
                Some(there) => there.digest.to_string(),
                None => "nothing".to_owned(),
            };
            reads += 1;
            if reads >= READS {
                return Err(tries.replaced(Cause::TagMoved(found)));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    fn digest(&self) -> Digest {
        self.descriptor.digest.clone()
    }
}

/// Whether a registry does not see yet what it has confirmed.
fn is_lag(answer: &Answer) -> bool {
    // ECR's native codes for the same: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html.
    const CODES: [&str; 6] = [
        "MANIFEST_BLOB_UNKNOWN",
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_UNKNOWN",
        "MANIFEST_UNKNOWN",
        "LayersNotFoundException",
        "ReferencedImagesNotFoundException",
    ];
    CODES.iter().any(|code| answer.has(code))
}

/// Whether a tag must not move: <https://github.com/osscontainertools/kaniko/pull/204>.
fn is_taken(answer: &Answer) -> bool {
    answer.has("TAG_INVALID") || answer.has("ImageAlreadyExistsException")
}
