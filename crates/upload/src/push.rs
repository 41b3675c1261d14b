//! How a blob gets into a repository.
//!
//! 1. Digest known: HEAD; a mount from another repository; POST, and one PUT with `Content-Length`.
//! 2. Digest not known yet: POST, and one PATCH whose body is chunked and as long as the producer takes, then an empty
//!    PUT with the digest. As soon as the producer has ended, HEAD asks whether the registry has the blob; if so, the
//!    rest is not sent.
//!
//! The content goes in one request, not in many PATCHes of 5 to 10 MiB: Amazon ECR answers such chunks with 201 and with
//! a `Range` that stays at the first (<https://github.com/aws/containers-roadmap/issues/2831>), refuses small ones, and
//! takes parts only one after the other, so chunks gain nothing and a stream waits after each. One streaming PATCH is
//! what go-containerregistry sends, and with it crane and kaniko, to ECR as well
//! (<https://github.com/google/go-containerregistry/blob/main/pkg/v1/remote/write.go>).
//!
//! A try that fails starts over with HEAD: of a PUT whose answer was lost nobody knows whether the registry has the blob
//! (<https://github.com/GoogleContainerTools/jib/issues/4301>).

use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Uri};
use image::Digest;

use crate::blob::{Blob, Content, Descriptor, read_again};
use crate::body::{Meter, Outgoing};
use crate::error::{Cause, Error, Failure};
use crate::host::{Ask, Counted, Reply};
use crate::location::with_parameter;
use crate::progress::{Event, How};
use crate::repository::Place;
use crate::retry::Tries;
use crate::spool::Reader;

/// Bytes that are worth a question whether they must be sent.
const WORTH_ASKING: u64 = 4 * 1024 * 1024;

const OCTETS: (HeaderName, HeaderValue) = (
    CONTENT_TYPE,
    HeaderValue::from_static("application/octet-stream"),
);

/// Proof that a repository has a blob: no other way leads to one, and no manifest is written without.
#[derive(Debug, Clone)]
pub struct Present {
    pub(crate) place: Place,
    pub(crate) descriptor: Descriptor,
    pub(crate) how: How,
}

impl Present {
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    #[must_use]
    pub fn how(&self) -> How {
        self.how
    }
}

/// One blob on its way into one repository.
pub(crate) struct Push {
    place: Place,
    blob: Blob,
    /// This upload's place in content that is being written.
    reader: Option<Reader>,
}

impl Push {
    pub(crate) fn new(place: Place, blob: Blob) -> Self {
        // At once: from now on, the content is kept for this upload.
        let reader = match &blob.content {
            Content::Spool(spool) => Some(spool.subscribe()),
            Content::None(_) | Content::Chunks(..) => None,
        };
        Self {
            place,
            blob,
            reader,
        }
    }

    pub(crate) async fn run(mut self) -> Result<Present, Error> {
        if let Some(reader) = &self.reader {
            reader.spool().worth_beginning().await;
        }
        let name = self.blob.descriptor();
        let name = name.map_or_else(
            || "a blob".to_owned(),
            |descriptor| format!("blob `{}`", descriptor.digest),
        );
        let attempted = format!("push {name} to `{}`", self.place);
        let mut tries = Tries::new(attempted, &self.place.host.timing);
        let begun = Instant::now();
        loop {
            match self.attempt().await {
                Ok(present) => {
                    self.place.host.observer.tell(Event::Blob {
                        repository: self.place.to_string(),
                        digest: present.descriptor.digest.clone(),
                        size: present.descriptor.size,
                        how: present.how,
                        took: begun.elapsed(),
                    });
                    return Ok(present);
                }
                Err(failure) => {
                    let failure = self.after(failure).await;
                    let error = tries.again(&self.place.host, failure).await;
                    error?;
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Present, Failure> {
        let known = self.blob.descriptor();
        let mut session = None;
        if let Some(descriptor) = &known {
            if self.place.has(descriptor).await? {
                return Ok(self.present(descriptor.clone(), How::Reused));
            }
            for from in std::mem::take(&mut self.blob.mounts) {
                match self.mount(descriptor, &from).await {
                    Ok(Mount::Done) => {
                        return Ok(self.present(descriptor.clone(), How::Mounted));
                    }
                    Ok(Mount::Session(address)) => session = Some(address),
                    // A repository that is not there, or not ours to read: the blob is uploaded.
                    Err(_) => {}
                }
            }
        }
        if matches!(self.blob.content, Content::None(_)) && self.blob.repeat.is_none() {
            return Err(Cause::NotThere.into());
        }
        let _stream = self.place.host.gate.enter().await;
        // The producer may have ended in the meantime.
        match (known, self.blob.descriptor()) {
            (Some(descriptor), _) => self.put(descriptor, session).await,
            (None, Some(descriptor)) => {
                if self.place.has(&descriptor).await? {
                    return Ok(self.present(descriptor, How::Reused));
                }
                self.put(descriptor, None).await
            }
            (None, None) => self.stream().await,
        }
    }

    fn present(&self, descriptor: Descriptor, how: How) -> Present {
        Present {
            place: self.place.clone(),
            descriptor,
            how,
        }
    }

    /// One PUT. A session of a refused mount saves the POST.
    async fn put(
        &mut self,
        descriptor: Descriptor,
        session: Option<Uri>,
    ) -> Result<Present, Failure> {
        let meter = self.place.host.meter();
        let result = self.put_once(&descriptor, session, &meter).await;
        if result.is_err() {
            self.place.host.wasted(&meter);
        }
        result?;
        Ok(self.present(descriptor, How::Uploaded))
    }

    async fn put_once(
        &self,
        descriptor: &Descriptor,
        session: Option<Uri>,
        meter: &Meter,
    ) -> Result<(), Failure> {
        let session = match session {
            Some(session) => session,
            None => self.begin().await?,
        };
        let body = self.content(descriptor, meter)?;
        self.complete(session, descriptor, body).await
    }

    /// One PATCH while the content is made, and an empty PUT.
    async fn stream(&mut self) -> Result<Present, Failure> {
        let meter = self.place.host.meter();
        let result = {
            let streaming = self.stream_once(&meter);
            let known = self.known_at_the_end(&meter);
            tokio::select! {
                result = streaming => result.map(|descriptor| (descriptor, How::Uploaded)),
                descriptor = known => Ok((descriptor, How::Reused)),
            }
        };
        if !matches!(result, Ok((_, How::Uploaded))) {
            self.place.host.wasted(&meter);
        }
        let (descriptor, how) = result?;
        Ok(self.present(descriptor, how))
    }

    async fn stream_once(&self, meter: &Meter) -> Result<Descriptor, Failure> {
        let reader = self.reader.as_ref().ok_or(Cause::Stopped)?;
        let session = self.begin().await?;
        let Some(pass) = reader.pass() else {
            return Err(Cause::Forgotten.into());
        };
        let reply = self
            .send(
                Method::PATCH,
                session.clone(),
                Outgoing::spool(pass, None, meter.clone()),
            )
            .await?;
        // 202 by the specification, 201 by Amazon ECR (https://github.com/jdx/mise/pull/11376), 204 by others.
        if !matches!(reply.status.as_u16(), 201 | 202 | 204) {
            return Err(reply.refusal().await);
        }
        let session = if reply.headers.contains_key(http::header::LOCATION) {
            reply.location()?
        } else {
            session
        };
        reply.drain().await;
        // Its end was sent.
        let descriptor = reader.spool().descriptor().ok_or(Cause::Stopped)?;
        self.complete(session, &descriptor, Outgoing::empty())
            .await?;
        Ok(descriptor)
    }

    /// Ends when the producer has ended and the registry has the blob already.
    async fn known_at_the_end(&self, meter: &Meter) -> Descriptor {
        if let Some(reader) = &self.reader
            && let Ok(descriptor) = reader.spool().ended().await
        {
            let sent = meter.attempt.load(Ordering::Relaxed);
            if descriptor.size.saturating_sub(sent) >= WORTH_ASKING
                && self.place.has(&descriptor).await.is_ok_and(|has| has)
            {
                return descriptor;
            }
        }
        std::future::pending().await
    }

    /// Opens an upload.
    async fn begin(&self) -> Result<Uri, Failure> {
        self.place.host.count(Counted::Begin).await;
        let address = self
            .place
            .host
            .address(&self.place.path("blobs/uploads/"))?;
        let reply = self.send(Method::POST, address, Outgoing::empty()).await?;
        if reply.status.as_u16() != 202 {
            return Err(reply.refusal().await);
        }
        let session = reply.location()?;
        reply.drain().await;
        Ok(session)
    }

    /// Ends an upload.
    async fn complete(
        &self,
        session: Uri,
        descriptor: &Descriptor,
        body: Outgoing,
    ) -> Result<(), Failure> {
        self.place.host.count(Counted::Complete).await;
        let digest = descriptor.digest.as_str();
        let address = with_parameter(&session, "digest", digest).map_err(Cause::from)?;
        let reply = self.send(Method::PUT, address, body).await?;
        if !matches!(reply.status.as_u16(), 200 | 201 | 204) {
            return Err(reply.refusal().await);
        }
        if let Some(actual) = reply.header("docker-content-digest")
            && actual != digest
        {
            return Err(reply.fail(Cause::OtherDigest {
                expected: descriptor.digest.clone(),
                actual: crate::error::shown(actual),
            }));
        }
        reply.drain().await;
        Ok(())
    }

    async fn send(&self, method: Method, address: Uri, body: Outgoing) -> Result<Reply, Failure> {
        let headers = if method == Method::POST {
            Vec::new()
        } else {
            vec![OCTETS]
        };
        let scope = self.place.scope();
        let ask = Ask {
            method,
            address,
            scope: &scope,
            headers,
            body,
        };
        self.place.host.send(ask).await
    }

    async fn mount(&self, descriptor: &Descriptor, from: &str) -> Result<Mount, Failure> {
        mount(&self.place, &descriptor.digest, from).await
    }

    /// The whole content, from memory or made again.
    fn content(&self, descriptor: &Descriptor, meter: &Meter) -> Result<Outgoing, Cause> {
        let length = Some(descriptor.size);
        let body = match (&self.blob.content, &self.reader) {
            (Content::Chunks(_, chunks), _) => {
                return Ok(Outgoing::chunks(chunks.clone(), meter.clone()));
            }
            (_, Some(reader)) => reader
                .pass()
                .map(|pass| Outgoing::spool(pass, length, meter.clone())),
            _ => None,
        };
        match (body, &self.blob.repeat) {
            (Some(body), _) => Ok(body),
            (None, Some(repeat)) => {
                let receiver = read_again(repeat, descriptor.clone());
                Ok(Outgoing::channel(receiver, length, meter.clone()))
            }
            (None, None) => Err(Cause::Forgotten),
        }
    }

    /// After a failure, content that was forgotten must be made again: that takes its digest, so its producer comes to
    /// the end first.
    async fn after(&self, failure: Failure) -> Failure {
        let Some(reader) = &self.reader else {
            return failure;
        };
        if !failure.cause.is_temporary() || reader.can_pass() {
            return failure;
        }
        if self.blob.repeat.is_none() {
            return Failure {
                place: failure.place,
                cause: Cause::NotReplayable(Box::new(failure.cause)),
            };
        }
        reader.skip();
        match reader.spool().ended().await {
            Ok(_) => failure,
            Err(error) => Cause::Source(error).into(),
        }
    }
}

/// Looks for a blob whose size is not known, and mounts it if it can.
pub(crate) async fn obtain(
    place: Place,
    digest: Digest,
    mount_from: Vec<String>,
) -> Result<Option<Present>, Error> {
    let mut tries = Tries::new(
        format!("look for blob `{digest}` in `{place}`"),
        &place.host.timing,
    );
    loop {
        match obtain_once(&place, &digest, &mount_from).await {
            Ok(found) => {
                return Ok(found.map(|(size, how)| Present {
                    descriptor: Descriptor { digest, size },
                    place,
                    how,
                }));
            }
            Err(failure) => tries.again(&place.host, failure).await?,
        }
    }
}

async fn obtain_once(
    place: &Place,
    digest: &Digest,
    mount_from: &[String],
) -> Result<Option<(u64, How)>, Failure> {
    if let Some(Some(size)) = place.find(digest).await? {
        return Ok(Some((size, How::Reused)));
    }
    for from in mount_from {
        // A repository that is not there, or not ours to read, has no blob for us.
        if matches!(mount(place, digest, from).await, Ok(Mount::Done))
            && let Some(Some(size)) = place.find(digest).await?
        {
            return Ok(Some((size, How::Mounted)));
        }
    }
    Ok(None)
}

async fn mount(place: &Place, digest: &Digest, from: &str) -> Result<Mount, Failure> {
    let host = &place.host;
    let _turn = host.questions.acquire().await;
    host.count(Counted::Begin).await;
    let path = format!("blobs/uploads/?mount={digest}&from={from}");
    let scope = format!("{} repository:{from}:pull", place.scope());
    let ask = Ask {
        method: Method::POST,
        address: host.address(&place.path(&path))?,
        scope: &scope,
        headers: Vec::new(),
        body: Outgoing::empty(),
    };
    let reply = host.send(ask).await?;
    match reply.status.as_u16() {
        201 => {
            reply.drain().await;
            Ok(Mount::Done)
        }
        202 => {
            let session = reply.location()?;
            reply.drain().await;
            Ok(Mount::Session(session))
        }
        _ => Err(reply.refusal().await),
    }
}

enum Mount {
    Done,
    Session(Uri),
}
