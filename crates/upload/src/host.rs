//! One registry: its connections, credentials, quotas and streams; and how a request to it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, LOCATION, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use image::Registry as Kind;
use tokio::sync::{Mutex, Semaphore};

use crate::body::{ContentError, Guard, Meter, Outgoing};
use crate::bucket::{Bucket, Quotas};
use crate::connection::Connector;
use crate::credentials::{Credentials, Known, REFUSED, Step, token_address};
use crate::error::{Answer, BoxError, Cause, Error, Failure, Place};
use crate::gate::{Change, Gate};
use crate::location::{self, LocationError};
use crate::progress::{Event, Observer, Progress};
use crate::reach::Reach;
use crate::retry_after;
use crate::settings::{RegistrySettings, Timing};
use crate::watched::GivenUp;

/// Of an error's body, in bytes.
const ERROR_LIMIT: usize = 64 * 1024;
/// Of a token service's answer, in bytes.
const TOKEN_LIMIT: usize = 64 * 1024;
/// Requests without content at a time: questions about blobs, mounts. They are short, and not counted as streams.
const QUESTIONS: usize = 16;
/// Redirects of one question.
const REDIRECTS: usize = 5;
/// Idle connections are closed by load balancers after 60 s; we are first.
const IDLE: Duration = Duration::from_secs(45);

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("fast-ecr-push/", env!("CARGO_PKG_VERSION")));

/// A registry.
pub(crate) struct Host {
    pub(crate) name: String,
    scheme: Scheme,
    authority: Authority,
    client: Client<Connector, Outgoing>,
    connector: Connector,
    credentials: Credentials,
    known: Mutex<Known>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) questions: Semaphore,
    buckets: Option<Buckets>,
    pub(crate) timing: Timing,
    pub(crate) observer: Observer,
    sent: Arc<AtomicU64>,
    wasted: AtomicU64,
    pub(crate) reach: Reach,
}

struct Buckets {
    begin: Bucket,
    complete: Bucket,
    manifest: Bucket,
}

/// Requests that a registry counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counted {
    Begin,
    Complete,
    Manifest,
}

/// A request to be.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) address: Uri,
    /// What a token is asked for.
    pub(crate) scope: &'a str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Outgoing,
}

/// An answer, whose body is still to come.
pub(crate) struct Reply {
    pub(crate) place: Place,
    pub(crate) address: Uri,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    silence: Duration,
    _sending: Guard,
}

impl Host {
    pub(crate) fn new(
        settings: RegistrySettings,
        connector: Connector,
        timing: Timing,
        observer: Observer,
    ) -> Result<Self, LocationError> {
        let kind = Kind::from_host(&settings.host);
        let is_plain = settings.is_plain || image::is_loopback(&settings.host);
        // Docker Hub's registry has another name than its images.
        let address = match settings.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.streams.most + QUESTIONS)
            .http1_max_buf_size(1024 * 1024)
            .build(connector.clone());
        Ok(Self {
            scheme: if is_plain {
                Scheme::HTTP
            } else {
                Scheme::HTTPS
            },
            authority: address.parse().map_err(|_| LocationError::Malformed)?,
            client,
            connector,
            credentials: settings.credentials,
            known: Mutex::new(Known::new(matches!(kind, Kind::Ecr(_)))),
            gate: Arc::new(Gate::new(settings.streams)),
            questions: Semaphore::new(QUESTIONS),
            buckets: Quotas::of(&kind).map(|quotas| Buckets {
                begin: Bucket::new(quotas.begin),
                complete: Bucket::new(quotas.complete),
                manifest: Bucket::new(quotas.manifest),
            }),
            timing,
            observer,
            sent: Arc::new(AtomicU64::new(0)),
            wasted: AtomicU64::new(0),
            reach: Reach::default(),
            name: settings.host,
        })
    }

    pub(crate) fn address(&self, path: &str) -> Result<Uri, Cause> {
        let malformed = || Cause::Location(LocationError::Malformed);
        let path: PathAndQuery = path.parse().map_err(|_| malformed())?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| malformed())
    }

    pub(crate) async fn count(&self, what: Counted) {
        if let Some(buckets) = &self.buckets {
            match what {
                Counted::Begin => buckets.begin.take().await,
                Counted::Complete => buckets.complete.take().await,
                Counted::Manifest => buckets.manifest.take().await,
            }
        }
    }

    /// Counters for one try of an upload.
    pub(crate) fn meter(&self) -> Meter {
        Meter {
            registry: Arc::clone(&self.sent),
            attempt: Arc::new(AtomicU64::new(0)),
        }
    }

    /// A try has failed.
    pub(crate) fn wasted(&self, meter: &Meter) {
        let bytes = meter.attempt.load(Ordering::Relaxed);
        self.wasted.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            sent: self.sent.load(Ordering::Relaxed),
            wasted: self.wasted.load(Ordering::Relaxed),
            streams: self.gate.active(),
            most_streams: self.gate.most(),
            limit: self.gate.limit(),
            waiting: self.gate.waiting(),
        }
    }

    pub(crate) fn epoch(&self) {
        self.changed(self.gate.epoch(self.sent.load(Ordering::Relaxed)));
    }

    pub(crate) fn overload(&self) {
        self.changed(self.gate.overload());
    }

    fn changed(&self, change: Option<Change>) {
        if let Some(change) = change {
            let registry = self.name.clone();
            self.observer.tell(Event::Streams { registry, change });
        }
    }

    /// Sends a request, with credentials once the registry asks for them.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Reply, Failure> {
        let Ask {
            method,
            address,
            scope,
            headers,
            body,
        } = ask;
        let again = body.again();
        let place = Place::of(&method, &address);
        let fail = |cause| Failure {
            place: Some(Box::new(place.clone())),
            cause,
        };
        let authorization = self.authorization(scope, None).await.map_err(fail)?;
        let reply = self
            .exchange(&method, &address, &headers, authorization.clone(), body)
            .await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let refused = authorization.as_ref();
        let challenged = {
            let mut known = self.known.lock().await;
            known.challenged(&reply.headers, &self.credentials, refused)
        };
        if let Err(cause) = challenged {
            // What the registry says is better than what we make of it.
            return Err(match (refused, reply.refusal().await) {
                (Some(_), said) if matches!(&said.cause, Cause::Answer(answer) if !answer.text.is_empty()) => {
                    said
                }
                _ => fail(cause),
            });
        }
        reply.drain().await;
        let authorization = self.authorization(scope, refused).await.map_err(fail)?;
        let Some(body) = again else {
            // The content is on its way; the next try has the new token.
            return Err(fail(Cause::TokenExpired));
        };
        let reply = self
            .exchange(&method, &address, &headers, authorization, body)
            .await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        Err(match reply.refusal().await {
            Failure {
                cause: Cause::Answer(answer),
                ..
            } if answer.text.is_empty() => fail(Cause::Unauthorized(REFUSED.to_owned())),
            said => said,
        })
    }

    async fn authorization(
        &self,
        scope: &str,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Cause> {
        // Held while a token is fetched: all who need it wait for the same.
        let mut known = self.known.lock().await;
        match known.step(&self.credentials, scope, refused) {
            Step::Send(header) => Ok(header),
            Step::Fetch(service) => {
                let address: Result<Uri, _> = token_address(&service, scope).parse();
                let address = address.map_err(|_| {
                    Cause::Unauthorized("its token service has no address".to_owned())
                })?;
                let host = address.authority().map_or("", Authority::as_str).to_owned();
                if !self.may_have_credentials(&address) {
                    return Err(Cause::Unauthorized(format!(
                        "its token service `{host}` has no TLS, and would have them"
                    )));
                }
                let failed = |failure: Failure| Cause::TokenService {
                    host: host.clone(),
                    cause: Box::new(failure.cause),
                };
                let basic = self.credentials.basic();
                let reply = self
                    .exchange(&Method::GET, &address, &[], basic, Outgoing::empty())
                    .await
                    .map_err(failed)?;
                if !reply.status.is_success() {
                    return Err(failed(reply.refusal().await));
                }
                let answer = reply.bytes(TOKEN_LIMIT).await.map_err(failed)?;
                known
                    .keep(scope, &answer)
                    .map_err(|cause| failed(cause.into()))?;
                match known.step(&self.credentials, scope, None) {
                    Step::Send(header) => Ok(header),
                    // A life shorter than our margin: good enough for one request.
                    Step::Fetch(_) => Ok(known.token(scope)),
                }
            }
        }
    }

    /// A token service has TLS, or is the registry itself where that has none.
    fn may_have_credentials(&self, address: &Uri) -> bool {
        address.scheme() == Some(&Scheme::HTTPS)
            || (self.scheme == Scheme::HTTP
                && address
                    .host()
                    .zip(Some(self.authority.host()))
                    .is_some_and(|(there, here)| there.eq_ignore_ascii_case(here)))
    }

    /// One request and its answer's head.
    async fn exchange(
        &self,
        method: &Method,
        address: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        authorization: Option<HeaderValue>,
        mut body: Outgoing,
    ) -> Result<Reply, Failure> {
        let place = Place::of(method, address);
        let fail = |cause| Failure {
            place: Some(Box::new(place.clone())),
            cause,
        };
        let (sending, sent) = body.watch();
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = address.clone();
        let map = request.headers_mut();
        map.insert(USER_AGENT, AGENT);
        map.extend(headers.iter().cloned());
        if let Some(authorization) = authorization {
            map.insert(AUTHORIZATION, authorization);
        }
        if let Some(authorization) = self.connector.proxy_authorization(address) {
            map.insert(PROXY_AUTHORIZATION, authorization);
        }
        let patience = self.timing.answer;
        let response = self.client.request(request);
        let late = async {
            let _ = sent.await;
            tokio::time::sleep(patience).await;
        };
        let response = tokio::select! {
            biased;
            response = response => response.map_err(|error| fail(classify(error.into())))?,
            () = late => return Err(fail(Cause::Silent(patience))),
        };
        self.reach.answered();
        let (parts, body) = response.into_parts();
        Ok(Reply {
            place,
            address: address.clone(),
            status: parts.status,
            headers: parts.headers,
            body,
            silence: self.timing.silence,
            _sending: sending,
        })
    }

    /// Asks a question with GET or HEAD, and follows redirects: Amazon ECR keeps blobs in S3. Another host gets no
    /// credentials.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        scope: &str,
        accept: Option<&str>,
    ) -> Result<Reply, Failure> {
        let mut headers = Vec::new();
        if let Some(accept) = accept.and_then(|accept| HeaderValue::from_str(accept).ok()) {
            headers.push((ACCEPT, accept));
        }
        let ask = Ask {
            method: method.clone(),
            address: self.address(path)?,
            scope,
            headers: headers.clone(),
            body: Outgoing::empty(),
        };
        let mut reply = self.send(ask).await?;
        for _ in 0..REDIRECTS {
            if !is_redirect(reply.status) {
                return Ok(reply);
            }
            let next = reply.redirect();
            let target = next.clone().filter(|next| self.may_be_asked(next));
            let Some(target) = target else {
                return Err(reply.refused_redirect());
            };
            reply.drain().await;
            reply = if target.authority() == Some(&self.authority)
                && target.scheme() == Some(&self.scheme)
            {
                let body = Outgoing::empty();
                let (method, headers) = (method.clone(), headers.clone());
                self.send(Ask {
                    method,
                    address: target,
                    scope,
                    headers,
                    body,
                })
                .await?
            } else {
                self.exchange(&method, &target, &headers, None, Outgoing::empty())
                    .await?
            };
        }
        Err(reply.refused_redirect())
    }

    /// A registry with TLS leads only to hosts with TLS.
    fn may_be_asked(&self, address: &Uri) -> bool {
        let scheme = address.scheme();
        scheme == Some(&Scheme::HTTPS) || (scheme == Some(&self.scheme) && address.host().is_some())
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Reply {
    pub(crate) fn fail(&self, cause: Cause) -> Failure {
        Failure {
            place: Some(Box::new(self.place.clone())),
            cause,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where an upload goes on.
    pub(crate) fn location(&self) -> Result<Uri, Failure> {
        let location = self.headers.get(LOCATION);
        let location = location.ok_or(LocationError::Missing);
        location
            .and_then(|location| location::resolve(&self.address, location.as_bytes()))
            .map_err(|error| self.fail(error.into()))
    }

    fn redirect(&self) -> Option<Uri> {
        let location = self.headers.get(LOCATION)?;
        match location::resolve(&self.address, location.as_bytes()) {
            Ok(address) => Some(address),
            Err(LocationError::ElsewhereHost(_)) => {
                let text = location.to_str().ok()?;
                let address: Uri = text.strip_prefix("//").map_or_else(
                    || text.parse().ok(),
                    |rest| {
                        let scheme = self.address.scheme_str()?;
                        format!("{scheme}://{rest}").parse().ok()
                    },
                )?;
                let authority = address.authority()?;
                (!authority.as_str().contains('@')).then_some(address)
            }
            Err(_) => None,
        }
    }

    pub(crate) fn refused_redirect(&self) -> Failure {
        let address = self.redirect();
        let authority = address.as_ref().and_then(Uri::authority);
        let host = authority.map_or("an address that is none", Authority::as_str);
        self.fail(Cause::Redirect(host.to_owned()))
    }

    /// The body, of at most `limit` bytes.
    pub(crate) async fn bytes(mut self, limit: usize) -> Result<Bytes, Failure> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if all.len() + bytes.len() > limit {
                return Err(self.fail(Cause::TooLarge(limit)));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// The next bytes of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = tokio::time::timeout(self.silence, self.body.frame()).await;
            let Ok(frame) = frame else {
                return Err(self.fail(Cause::Silent(self.silence)));
            };
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| self.fail(classify(error.into())))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    /// What the registry says is wrong.
    pub(crate) async fn refusal(mut self) -> Failure {
        if is_redirect(self.status) {
            return self.refused_redirect();
        }
        let mut body = BytesMut::new();
        // An error whose words get lost is an error all the same.
        while let Ok(Some(bytes)) = self.chunk().await {
            let (bytes, _) = bytes.split_at(bytes.len().min(ERROR_LIMIT - body.len()));
            body.extend_from_slice(bytes);
            if body.len() == ERROR_LIMIT {
                break;
            }
        }
        let wait = retry_after::wait(&self.headers, SystemTime::now());
        self.fail(Cause::Answer(Answer::new(self.status, &body, wait)))
    }

    /// Reads a body that says nothing, so that the connection can be used again.
    pub(crate) async fn drain(mut self) {
        let mut read = 0;
        while let Ok(Some(bytes)) = self.chunk().await {
            read += bytes.len();
            if read > ERROR_LIMIT {
                return;
            }
        }
    }
}

/// Finds the reason in what hyper says.
fn classify(error: BoxError) -> Cause {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    let mut is_connecting = false;
    let mut is_malformed = false;
    while let Some(current) = next {
        if let Some(legacy) = current.downcast_ref::<hyper_util::client::legacy::Error>() {
            is_connecting |= legacy.is_connect();
        }
        if let Some(hyper) = current.downcast_ref::<hyper::Error>() {
            is_malformed |= hyper.is_parse();
        }
        if let Some(given_up) = current.downcast_ref::<GivenUp>() {
            return (*given_up).into();
        }
        if let Some(ContentError(error)) = current.downcast_ref() {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            let may_pass = inner.is_some_and(Error::is_temporary);
            let copy = std::io::Error::new(error.kind(), crate::error::chain(error));
            return if may_pass {
                Cause::SourceUnavailable(copy)
            } else {
                Cause::Source(copy)
            };
        }
        if let Some(rustls::Error::InvalidCertificate(_)) = current.downcast_ref() {
            return Cause::Certificate(error);
        }
        // An `io::Error` hides what it was made of from `source`.
        next = match current.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => current.source(),
        };
    }
    if is_malformed {
        Cause::Malformed(crate::error::chain(&*error))
    } else if is_connecting {
        Cause::NoConnection(error)
    } else {
        Cause::Broken(error)
    }
}

/// Content types of manifests, as a client may accept them.
pub(crate) fn content_type(media_type: &str) -> Result<(HeaderName, HeaderValue), Cause> {
    HeaderValue::from_str(media_type)
        .map(|value| (CONTENT_TYPE, value))
        .map_err(|_| Cause::Manifest("its media type is no header's value".to_owned()))
}
