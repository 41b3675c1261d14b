//! A registry on loopback that takes one image: the configuration that BuildKit made for the user's Dockerfile without its layers.
//!
//! BuildKit pushes as it does to any registry (`util/push` and containerd's `core/remotes/docker/pusher.go`): HEAD of every blob, an
//! upload of each that is not there, then the manifest. The HEAD names the blob's media type first in `Accept`, so a layer that the
//! destinations have, or can mount, is "there" and never moves. Any other layer is small (a `WORKDIR` makes one) or is read here
//! once and passed on.
//!
//! The Engine pushes for its classic store, with other requests (`distribution/push_v2.go` of <https://github.com/moby/moby>): uploads
//! in parts, each blob looked for afterwards, the manifest read back. It compresses layers anew unless it remembers a digest that is
//! here, so those of the base image's own manifest are "there", and others are forgotten.
//!
//! Other steps may share this loopback, may read what passes there, and listen at `::1`: the repository's name is all that keeps them
//! from pushing another configuration. So the connection is encrypted ([`Encryption`]), and BuildKit is told the address in digits.
//!
//! They can also keep the step from answering BuildKit's TLS greeting for ten seconds, or answer it with HTTP in its place. BuildKit then
//! repeats the request without encryption (<https://github.com/moby/buildkit/blob/v0.32.0/util/resolver/resolver.go>). So the push ends
//! as soon as a request names the repository in plain text.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use image::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, watch};
use tokio_rustls::server::TlsStream;
use upload::Blob;

use crate::base_image::Candidate;
use crate::destinations::Destinations;
use crate::encryption::{Encryption, EncryptionError};
use crate::uploads::Uploads;

/// A configuration or manifest may have so many bytes: as much as Amazon ECR takes of a manifest
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>).
const LARGEST_DOCUMENT: usize = 4 * 1024 * 1024;

/// First byte of a TLS record with a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// How long a client may take to greet, and for the head of a request without encryption.
const GREETING: Duration = Duration::from_secs(10);

/// A head without encryption is read so far (bytes). Its first line has the repository's name.
const HEAD: u64 = 4096;

/// How long a connection that could not be accepted waits.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// What BuildKit pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub manifest: Bytes,
    /// Blobs that were sent, by digest: the configuration, and layers that no destination had.
    pub blobs: HashMap<String, Bytes>,
    /// The images that may be the base, where layers are not the manifest's.
    pub bases: Vec<Candidate>,
}

/// What becomes of the configuration's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layers {
    /// The destinations get them.
    Kept,
    /// They are forgotten: the image has others, or none.
    Dropped,
}

/// The configuration did not arrive.
#[derive(Debug, Error)]
pub(crate) enum ReceiveError {
    #[error("could not listen on loopback")]
    Listen(#[source] io::Error),
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error("the configuration did not arrive within {0} s")]
    Late(u64),
}

/// The registry, listening.
pub(crate) struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
    received: watch::Receiver<Option<Received>>,
}

struct Shared {
    repository: String,
    kept: Layers,
    destinations: Arc<Destinations>,
    uploads: Uploads,
    bases: OnceCell<Vec<Candidate>>,
    blobs: Mutex<HashMap<String, Bytes>>,
    /// Digests that BuildKit asked for as layers.
    layers: Mutex<HashSet<String>>,
    /// Why nothing can come of the push.
    problem: Mutex<Option<anyhow::Error>>,
    received: watch::Sender<Option<Received>>,
}

impl Receiver {
    /// Listens on a free port, in the background.
    pub(crate) async fn listen(
        repository: String,
        kept: Layers,
        destinations: Arc<Destinations>,
    ) -> Result<Self, ReceiveError> {
        let encryption = Encryption::new()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address)
            .await
            .map_err(ReceiveError::Listen)?;
        let port = listener.local_addr().map_err(ReceiveError::Listen)?.port();
        let (sender, received) = watch::channel(None);
        let shared = Arc::new(Shared {
            repository,
            kept,
            destinations,
            uploads: Uploads::default(),
            bases: OnceCell::new(),
            blobs: Mutex::default(),
            layers: Mutex::default(),
            problem: Mutex::default(),
            received: sender,
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(&serving);
                        tokio::spawn(serve(stream, encryption.clone(), shared));
                    }
                    // The client went away, or no descriptor is free: others may have opened many connections.
                    Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
                }
            }
        });
        Ok(Self {
            port,
            shared,
            received,
        })
    }

    /// Why nothing can come of the push, if so.
    pub(crate) fn problem(&self) -> Option<anyhow::Error> {
        self.shared.problem().take()
    }

    /// Waits for the manifest, with which BuildKit ends its push.
    ///
    /// # Errors
    /// When it does not arrive in time, or nothing can come of the push.
    pub(crate) async fn wait(&mut self, patience: Duration) -> anyhow::Result<Received> {
        let is_over = |received: &Option<Received>| received.is_some() || self.shared.has_problem();
        let over = self.received.wait_for(is_over);
        let received = match tokio::time::timeout(patience, over).await {
            Ok(Ok(received)) => received.clone(),
            _ => None,
        };
        if let Some(problem) = self.problem() {
            return Err(problem);
        }
        received.ok_or_else(|| ReceiveError::Late(patience.as_secs()).into())
    }
}

async fn serve(stream: TcpStream, encryption: Encryption, shared: Arc<Shared>) {
    let greeting = tokio::time::timeout(GREETING, greet(stream, &encryption, &shared));
    let Ok(Some(stream)) = greeting.await else {
        return;
    };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // What BuildKit makes of a broken connection is in its log.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The connection, encrypted; none if the client does not do that.
async fn greet(
    mut stream: TcpStream,
    encryption: &Encryption,
    shared: &Shared,
) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    if first == [TLS_HANDSHAKE] {
        return encryption.accept(stream).await;
    }
    let mut head = Vec::new();
    let mut lines = BufReader::new(&mut stream).take(HEAD);
    lines.read_until(b'\n', &mut head).await.ok()?;
    if String::from_utf8_lossy(&head).contains(&shared.repository) {
        shared.end_with(anyhow!(
            "BuildKit was made to name the configuration's repository without encryption, so that others may have pushed to it"
        ));
    }
    None
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        if path == "/v2/" || path == "/v2" {
            return plain(StatusCode::OK);
        }
        let prefix = format!("/v2/{}/", self.repository);
        let Some(rest) = path.strip_prefix(&prefix) else {
            return plain(StatusCode::NOT_FOUND);
        };
        let (base, rest) = base_digest(rest);
        if let Some(base) = base
            && let Err(error) = self.find_base(base).await
        {
            return self.fail(error);
        }
        let folder = path.strip_suffix(rest).unwrap_or(&prefix);
        match (request.method().clone(), rest.split_once('/')) {
            (Method::POST, Some(("blobs", "uploads/"))) => {
                let number = self.uploads.begin();
                accepted(folder, number, 0)
            }
            (Method::PATCH, Some(("blobs", rest))) if self.kept == Layers::Dropped => {
                let Some(number) = upload_number(rest) else {
                    return plain(StatusCode::NOT_FOUND);
                };
                let body = request.into_body();
                match self.uploads.append(number, body, LARGEST_DOCUMENT).await {
                    Some(size) => accepted(folder, number, size),
                    None => plain(StatusCode::NOT_FOUND),
                }
            }
            (Method::PUT, Some(("blobs", rest))) if rest.starts_with("uploads/") => {
                let expected = request.uri().query().and_then(digest_parameter);
                let Some(expected) = expected.and_then(|digest| digest.parse().ok()) else {
                    return plain(StatusCode::BAD_REQUEST);
                };
                match self.kept {
                    Layers::Kept => self.take_blob(request, expected).await,
                    Layers::Dropped => self.forget_blob(request, rest, &expected).await,
                }
            }
            (Method::HEAD, Some(("blobs", digest))) => match self.kept {
                Layers::Kept => self.head(request.headers(), digest).await,
                Layers::Dropped => self.head_forgotten(digest),
            },
            (Method::PUT, Some(("manifests", _))) => self.take_manifest(request).await,
            (Method::GET | Method::HEAD, Some(("manifests", _))) => self.manifest(),
            _ => plain(StatusCode::NOT_FOUND),
        }
    }

    /// Reads the base image's manifest, once.
    async fn find_base(&self, digest: Digest) -> anyhow::Result<()> {
        let read = self.bases.get_or_try_init(|| async {
            let destinations = Arc::clone(&self.destinations);
            let read = tokio::task::spawn_blocking(move || destinations.read_base(&digest));
            read.await?
        });
        read.await.map(|_| ())
    }

    /// A layer, or a part of the configuration, that is not needed as it is.
    async fn forget_blob(
        &self,
        request: Request<Incoming>,
        rest: &str,
        expected: &Digest,
    ) -> Response<Full<Bytes>> {
        let Some(number) = upload_number(rest) else {
            return plain(StatusCode::NOT_FOUND);
        };
        let body = request.into_body();
        let appended = self.uploads.append(number, body, LARGEST_DOCUMENT).await;
        let arrived = appended.and_then(|_| self.uploads.finish(number, expected));
        let Some(arrived) = arrived else {
            return plain(StatusCode::BAD_REQUEST);
        };
        if let Some(document) = arrived.document {
            let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
            blobs.insert(arrived.digest.to_string(), document);
        }
        named(StatusCode::CREATED, &arrived.digest)
    }

    fn head_forgotten(&self, digest: &str) -> Response<Full<Bytes>> {
        let bases = self.bases.get().into_iter().flatten();
        let mut layers = bases.flat_map(|base| &base.layers);
        let of_base = layers.find(|layer| layer.digest.as_str() == digest);
        let size = of_base.map(|layer| layer.size);
        match (size.or_else(|| self.uploads.size(digest)), digest.parse()) {
            (Some(size), Ok(digest)) => {
                let mut response = named(StatusCode::OK, &digest);
                response.headers_mut().insert(CONTENT_LENGTH, size.into());
                response
            }
            _ => plain(StatusCode::NOT_FOUND),
        }
    }

    /// The manifest as it was pushed: buildx asks for its digest.
    fn manifest(&self) -> Response<Full<Bytes>> {
        let received = self.received.borrow().clone();
        let Some(received) = received else {
            return plain(StatusCode::NOT_FOUND);
        };
        let digest = Digest::sha256(Sha256::digest(&received.manifest).into());
        let mut response = named(StatusCode::OK, &digest);
        if let Some(media_type) = media_type(&received.manifest) {
            response.headers_mut().insert(CONTENT_TYPE, media_type);
        }
        *response.body_mut() = Full::new(received.manifest);
        response
    }

    /// A layer of the base image can't be had.
    fn fail(&self, error: anyhow::Error) -> Response<Full<Bytes>> {
        self.end_with(error.context("could not copy a layer of the base image"));
        plain(StatusCode::BAD_GATEWAY)
    }

    /// Keeps the first reason for which nothing can come of the push, and wakes who waits.
    fn end_with(&self, problem: anyhow::Error) {
        self.problem().get_or_insert(problem);
        self.received.send_modify(|_| ());
    }

    fn has_problem(&self) -> bool {
        self.problem().is_some()
    }

    fn problem(&self) -> MutexGuard<'_, Option<anyhow::Error>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn head(&self, headers: &HeaderMap, digest: &str) -> Response<Full<Bytes>> {
        let accept = headers.get(ACCEPT);
        let media_type = accept
            .and_then(|accept| accept.to_str().ok())
            .unwrap_or_default();
        let is_layer = media_type.contains("layer") || media_type.contains("rootfs");
        if is_layer {
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.insert(digest.to_owned());
        }
        match digest.parse::<Digest>() {
            Ok(digest) if is_layer && self.obtain(digest.clone()).await => {
                let mut response = named(StatusCode::OK, &digest);
                // hyper counts the empty body of a HEAD otherwise; BuildKit wants any number.
                response.headers_mut().insert(CONTENT_LENGTH, 0.into());
                response
            }
            _ => plain(StatusCode::NOT_FOUND),
        }
    }

    /// Asks the destinations, which block, on a thread of its own.
    async fn obtain(&self, digest: Digest) -> bool {
        let destinations = Arc::clone(&self.destinations);
        let asked = tokio::task::spawn_blocking(move || destinations.obtain(&digest));
        asked.await.unwrap_or(false)
    }

    async fn take_blob(
        &self,
        request: Request<Incoming>,
        expected: Digest,
    ) -> Response<Full<Bytes>> {
        if self.is_layer(&expected) {
            return self.pass_layer_on(request, &expected).await;
        }
        let Some(content) = document(request).await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let digest = Digest::sha256(Sha256::digest(&content).into());
        if expected != digest {
            return plain(StatusCode::BAD_REQUEST);
        }
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.insert(digest.to_string(), content);
        named(StatusCode::CREATED, &digest)
    }

    /// Whether BuildKit has asked for a blob as a layer.
    fn is_layer(&self, digest: &Digest) -> bool {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.contains(digest.as_str())
    }

    /// Sends a layer on while it arrives. It is answered for when all destinations have it.
    async fn pass_layer_on(
        &self,
        request: Request<Incoming>,
        digest: &Digest,
    ) -> Response<Full<Bytes>> {
        let (mut writer, blob) = Blob::written(self.destinations.memory());
        let pending = self.destinations.push(&blob);
        let (chunks, mut arriving) = tokio::sync::mpsc::channel::<Bytes>(4);
        let destinations = Arc::clone(&self.destinations);
        let expected = digest.clone();
        let sent = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = arriving.blocking_recv() {
                writer.write_all(&chunk)?;
            }
            let descriptor = writer.finish()?;
            if descriptor.digest != expected {
                anyhow::bail!("BuildKit sent other bytes than layer {expected}");
            }
            destinations.finish(pending)
        });
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(chunk) = frame.into_data()
                && chunks.send(chunk).await.is_err()
            {
                break;
            }
        }
        drop(chunks);
        match sent.await {
            Ok(Ok(_)) => named(StatusCode::CREATED, digest),
            Ok(Err(error)) => self.fail(error),
            Err(_) => plain(StatusCode::BAD_GATEWAY),
        }
    }

    async fn take_manifest(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(manifest) = document(request).await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let digest = Digest::sha256(Sha256::digest(&manifest).into());
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let blobs = blobs.clone();
        let bases = self.bases.get().cloned().unwrap_or_default();
        self.received.send_replace(Some(Received {
            manifest,
            blobs,
            bases,
        }));
        // The Engine's own BuildKit wants the digest repeated.
        named(StatusCode::CREATED, &digest)
    }
}

async fn document(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), LARGEST_DOCUMENT);
    Some(body.collect().await.ok()?.to_bytes())
}

/// The digest of a base image, of which a path has the hexadecimal digits, and the rest of the path.
fn base_digest(path: &str) -> (Option<Digest>, &str) {
    let split = path.split_once('/');
    let named = split.and_then(|(hex, rest)| Some((format!("sha256:{hex}").parse().ok()?, rest)));
    named.map_or((None, path), |(digest, rest)| (Some(digest), rest))
}

/// The number in `uploads/1`.
fn upload_number(path: &str) -> Option<u64> {
    path.strip_prefix("uploads/")?.parse().ok()
}

/// A manifest's own media type, as a header.
fn media_type(manifest: &[u8]) -> Option<HeaderValue> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    manifest.get("mediaType")?.as_str()?.parse().ok()
}

/// The answer to an upload that goes on; it has so many bytes by now.
fn accepted(folder: &str, number: u64, size: u64) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::ACCEPTED);
    let range = format!("0-{}", size.saturating_sub(1));
    let location = format!("{folder}blobs/uploads/{number}");
    let headers = [(LOCATION, location), (RANGE, range)];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
        .headers_mut()
        .insert("docker-upload-uuid", number.into());
    response
}

/// `digest=sha256%3A…` of a query.
fn digest_parameter(query: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == "digest")?;
    Some(value.replace("%3A", ":").replace("%3a", ":"))
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn named(status: StatusCode, digest: &Digest) -> Response<Full<Bytes>> {
    let mut response = plain(status);
    if let Ok(digest) = digest.as_str().parse() {
        response
            .headers_mut()
            .insert("docker-content-digest", digest);
    }
    response
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts itself with a limit"
)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::net::TcpStream;
    use std::process::Command;

    use protocol::{Job, Secrets};
    use serde_json::json;

    use super::*;
    use crate::room::Room;

    fn destinations() -> Arc<Destinations> {
        let job = json!({
            "version": protocol::VERSION, "nonce": "a", "destinations": [],
            "compression": { "method": "zstd", "level": 1 }, "base": { "kind": "scratch" },
            "platform": null, "kept": 0, "times": "keep", "previous": [], "removed": [], "annotations": [],
            "answer_within": null, "threads": null,
        });
        let job: Job = serde_json::from_value(job).unwrap();
        let made = Destinations::new(
            &job.destinations,
            &job.base,
            None,
            Room::of(None),
            &Secrets::default(),
        );
        Arc::new(made.unwrap())
    }

    /// The limit of descriptors is that of a whole process, so the test has one of its own.
    #[test]
    fn connections_are_accepted_again_after_descriptors_ran_out() {
        let own = std::env::current_exe().unwrap();
        let test = "receiver::tests::runs_out_of_descriptors";
        let script = format!("ulimit -n 60 && exec \"$0\" --exact {test} --ignored");
        let ended = Command::new("sh").arg("-c").arg(script).arg(own).output();
        let ended = ended.unwrap();
        let printed = String::from_utf8_lossy(&ended.stdout);
        assert!(printed.contains("1 passed"), "{printed}");
    }

    #[test]
    #[ignore = "needs a limit of its own: the test above starts it"]
    fn runs_out_of_descriptors() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listening = Receiver::listen("a".to_owned(), Layers::Kept, destinations());
        let receiver = runtime.block_on(listening).unwrap();
        let address = ("127.0.0.1", receiver.port);
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        // The client has the last descriptor, and the receiver none.
        files.pop();
        let waiting = TcpStream::connect(address).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        drop((files, waiting));
        // Without encryption there is no answer, but an end.
        ask(receiver.port, "b");
    }

    /// Asks for a manifest without encryption, and waits for the end.
    fn ask(port: u16, repository: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).unwrap();
        write!(
            stream,
            "GET /v2/{repository}/manifests/latest HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        // What is not read of the question resets the connection.
        let ended = stream
            .read_to_end(&mut answer)
            .map_err(|error| error.kind());
        assert!(
            matches!(ended, Ok(0) | Err(io::ErrorKind::ConnectionReset)),
            "{ended:?}"
        );
        assert_eq!(answer, b"");
    }

    /// BuildKit falls back to HTTP where that is spoken, and any step with the builder's network may read what passes on its loopback.
    #[test]
    fn nobody_is_answered_without_encryption_and_who_names_the_repository_ends_the_push() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let repository = "fast-ecr-push/0123";
        let listening = Receiver::listen(repository.to_owned(), Layers::Kept, destinations());
        let receiver = runtime.block_on(listening).unwrap();
        ask(receiver.port, "fast-ecr-push/0124");
        assert!(receiver.problem().is_none());
        ask(receiver.port, repository);
        let problem = receiver.problem().expect("the name is known").to_string();
        assert!(problem.contains("without encryption"), "{problem}");
    }
}
