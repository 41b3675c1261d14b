//! ECR's registry: checks what ECR checks and hands the rest on to the real registry behind, whose answers it bends to
//! ECR's manners.

mod entry;
mod manifest;
mod manners;
mod route;
mod upload;

pub(crate) use upload::BLOB_MOUNTING;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, anyhow};
use aws_stand_in::{Answer, On, Resource, names};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, LOCATION};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use crate::body::{self, Body, Counted, Error, collect, drain};
use crate::repositories::{self, PUBLIC, Repository};
use crate::state::{BadToken, State};
use crate::upstream;
use entry::Entry;
use route::Place;

/// No answer, but the end of the connection.
const CLOSED: &str = "the connection is closed, as ECR does it";

/// Answers a request and writes it down. An error closes the connection.
pub(crate) async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let header = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let host = header.trim_end_matches(":443").to_owned();
    let place = Place::find(&host, request.uri().path()).context("a host that is nobody's")?;
    let received = Arc::new(AtomicU64::new(0));
    let entry = Entry::new(&state, &host, &place, &request, &received);
    let request = request
        .map(|body| Counted::new(body.map_err(Into::into).boxed(), received, |_| {}).boxed());
    let mut exchange = Exchange {
        state,
        host,
        place,
        entry,
    };
    let response = exchange.handle(request).await?;
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("x-content-type-options");
    let mut entry = exchange.entry.answered(parts.status.as_u16());
    let sent = Arc::new(AtomicU64::new(0));
    let body = Counted::new(body, sent, move |bytes| entry.end(bytes));
    Ok(Response::from_parts(parts, body.boxed()))
}

/// A request on its way.
struct Exchange {
    state: Arc<State>,
    host: String,
    place: Place,
    entry: Entry,
}

impl Exchange {
    async fn handle(&mut self, request: Request<Body>) -> Result<Response<Body>, Error> {
        match self.check(&request).await? {
            Ok(repository) => self.serve(request, repository).await,
            Err(refusal) => {
                drain(request.into_body()).await;
                Ok(refusal)
            }
        }
    }

    /// All that ECR looks at before it looks at the request itself. The repository is none where the path names none.
    async fn check(
        &mut self,
        request: &Request<Body>,
    ) -> Result<Result<Option<Repository>, Response<Body>>, Error> {
        let Place {
            account,
            region,
            repository,
            resource,
            ..
        } = &self.place;
        let name = repository.as_deref();
        let method = request.method().as_str();
        let on = On::Registry(method.to_owned(), *resource);
        let fault = self.state.memory().account(account).fault(&on, name);
        tokio::time::sleep(fault.as_ref().map(Answer::delay).unwrap_or_default()).await;
        match fault {
            Some(Answer::Error { status, code, .. }) if code.is_empty() => {
                return Ok(Err(body::empty(status)));
            }
            Some(Answer::Error {
                status,
                code,
                message,
            }) => return Ok(Err(manners::error(status, &code, &message))),
            Some(Answer::Close) => return Err(anyhow!(CLOSED)),
            Some(Answer::Hang) => std::future::pending().await,
            Some(Answer::Late(_)) | None => {}
        }
        if self.host == names::PUBLIC && request.uri().path() == "/token/" {
            return Ok(Err(token(request)));
        }
        match self.authorize(request) {
            Ok(number) => self.entry.token(number),
            Err(refusal) => return Ok(Err(*refusal)),
        }
        let Some(name) = name else {
            return Ok(Ok(None));
        };
        if let Some(action) = self.place.action(method)
            && self
                .state
                .memory()
                .account(account)
                .denies(&action, Some(name))
        {
            return Ok(Err(manners::denied(&action, account, region, name)));
        }
        match repositories::find(&self.state, account, region, name).await {
            Err(error) => Ok(Err(manners::error(500, "UNKNOWN", &format!("{error:#}")))),
            Ok(Some(repository)) => Ok(Ok(Some(repository))),
            Ok(None) if method == "POST" => Err(anyhow!(CLOSED)),
            Ok(None) => Ok(Err(manners::no_repository(name, account))),
        }
    }

    /// Which of its account's tokens the request came with; none where it needs none.
    fn authorize(&self, request: &Request<Body>) -> Result<Option<u32>, Box<Response<Body>>> {
        let header = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let public = self.place.region == PUBLIC;
        let encoded = match header.and_then(|header| header.split_once(' ')) {
            None => return Err(Box::new(manners::unauthorized(&self.host))),
            Some(("Bearer", ANONYMOUS))
                if public && matches!(*request.method(), Method::GET | Method::HEAD) =>
            {
                return Ok(None);
            }
            Some(("Basic", encoded)) if !public => encoded,
            Some(("Bearer", encoded)) if public => encoded,
            Some(_) => return Err(Box::new(manners::invalid())),
        };
        let password = password(encoded).ok_or_else(|| Box::new(manners::invalid()))?;
        match self.state.memory().accept(&password, &self.place.region) {
            Ok(number) => Ok(Some(number)),
            Err(BadToken::Expired) => Err(Box::new(manners::expired())),
            Err(BadToken::Unknown) => Err(Box::new(manners::invalid())),
        }
    }

    async fn serve(
        &self,
        request: Request<Body>,
        repository: Option<Repository>,
    ) -> Result<Response<Body>, Error> {
        match (self.place.resource, request.method().as_str(), repository) {
            (Resource::Manifest, "PUT", Some(repository)) => {
                self.put_manifest(request, &repository).await
            }
            (Resource::Manifest, method, _) => {
                self.other_manifest(method == "DELETE", request).await
            }
            (Resource::Upload, "POST", _) => self.start_upload(request).await,
            (Resource::Upload, "PATCH", _) => self.chunk(request).await,
            (Resource::Other, _, _) => self.list(request).await,
            _ => self.pass(request, None).await,
        }
    }

    /// Lists name their repository.
    async fn list(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (mut parts, body) = self.pass(request, None).await?.into_parts();
        let bytes = collect(body, manners::MANIFEST_LIMIT).await?;
        let text = self.place.before(&String::from_utf8_lossy(&bytes));
        parts.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(parts, body::full(text)))
    }

    /// The real registry's answer, with its addresses turned into this one's.
    async fn pass(
        &self,
        request: Request<Body>,
        query: Option<&str>,
    ) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let query = query.or(parts.uri.query()).unwrap_or_default();
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{mark}{query}", self.place.path());
        let mut behind = Request::builder().method(parts.method).uri(uri);
        for (name, value) in &parts.headers {
            if !matches!(name.as_str(), "authorization" | "connection" | "expect") {
                behind = behind.header(name, value);
            }
        }
        // The registry makes its addresses of these.
        let request = behind.header("X-Forwarded-Proto", "https").body(body)?;
        let mut response = upstream::send(&self.state.registry, request).await?;
        if let Some(location) = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
        {
            let location = self.place.before(location).try_into()?;
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
}

/// What a bearer's token is for who has no credentials.
const ANONYMOUS: &str = "anonymous";

/// ECR Public's token service. A token of its API can also be used directly
/// (<https://github.com/kreuzwerker/terraform-provider-docker/pull/666>), so that is what it hands out.
fn token(request: &Request<Body>) -> Response<Body> {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let encoded = header.and_then(|header| header.strip_prefix("Basic "));
    let body: Value = json!({ "token": encoded.unwrap_or(ANONYMOUS) });
    body::json(200, &body)
}

/// The password of `AWS:PASSWORD` in base64.
fn password(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    decoded.strip_prefix("AWS:").map(str::to_owned)
}
