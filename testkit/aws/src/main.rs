//! Amazon's side of a push, for tests: what can't be had without an account of Amazon's and the network.
//!
//! - ECR's registry under its own host names, over TLS, with its manners ([`registry`]); behind it is a real registry.
//! - AWS's API over plain HTTP, for `AWS_ENDPOINT_URL`: STS, ECR, ECR Public, EKS ([`api`]); behind it is moto.
//! - GitHub's OIDC issuer, whose tokens STS takes ([`oidc`]).
//! - A control endpoint, by which tests say what is to go wrong and ask what happened ([`control`]).
//!
//! `aws-stand-in FOLDER ADDRESS REGISTRY MOTO`: listens on port 443 (the registry) and [`PORT`] (all else) of the
//! address; `REGISTRY` and `MOTO` are `HOST:PORT`. Writes certificates and a hosts file into the folder (tls.rs), and
//! appends to `requests.jsonl` and `calls.jsonl`, a line for each request to the registry and each call of the API.
//! It runs until it is killed.
//!
//! Tests speak to it by this package's library.
#![expect(clippy::print_stderr, reason = "where the rig's log is")]

mod api;
mod body;
mod control;
mod images;
mod oidc;
mod registry;
mod repositories;
mod state;
mod tls;
mod upstream;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use body::{Body, Error};
use state::State;

/// Of everything but the registry.
const PORT: u16 = 4566;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, address, registry, moto] = arguments.as_slice() else {
        eprintln!("usage: aws-stand-in FOLDER ADDRESS REGISTRY MOTO");
        return ExitCode::from(2);
    };
    match run(Path::new(folder), address, registry, moto).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aws-stand-in: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(folder: &Path, address: &str, registry: &str, moto: &str) -> Result<()> {
    let acceptor = tls::acceptor(folder)?;
    tls::write_hosts(folder, address)?;
    let state = Arc::new(State::new(folder, registry.to_owned(), moto.to_owned())?);
    let listen = async |port| {
        let listener = TcpListener::bind((address, port)).await;
        listener.with_context(|| format!("listening on {address}:{port}"))
    };
    let (secure, plain) = (listen(443).await?, listen(PORT).await?);
    tokio::try_join!(
        serve_registry(secure, acceptor, Arc::clone(&state)),
        serve_plain(plain, state)
    )?;
    Ok(())
}

async fn serve_registry(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    state: Arc<State>,
) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that does not trust us, or that goes away, is the client's matter.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| registry::answer(Arc::clone(&state), request));
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn serve_plain(listener: TcpListener, state: Arc<State>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| plain(Arc::clone(&state), request));
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn plain(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    if let Some(account) = path.strip_prefix("/oidc/") {
        return oidc::answer(state, account, &request).await;
    }
    if let Some(path) = path.strip_prefix("/rig/") {
        let method = request.method().clone();
        let body = request.into_body().collect().await?.to_bytes();
        return Ok(control::obey(state, &method, path, &body).await);
    }
    api::call(state, request.map(|body| body.map_err(Into::into).boxed())).await
}
