//! Requests to what is behind: the real registry, and moto. A connection each: loopback has no distance.

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::body::{Body, collect, full};
use crate::state::State;

/// More than any answer of moto's.
const LIMIT: usize = 16 << 20;

/// Sends a request to `HOST:PORT` and returns the answer, whose body still comes.
pub(crate) async fn send(address: &str, request: Request<Body>) -> Result<Response<Body>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut response = sender.send_request(request).await?;
    response.headers_mut().remove(CONNECTION);
    // The connection lives as long as its sender.
    Ok(response.map(|body| {
        body.map_err(move |error| {
            let _ = &sender;
            error.into()
        })
        .boxed()
    }))
}

/// An operation of ECR's, done by moto for an account.
pub(crate) async fn ecr(
    state: &State,
    account: &str,
    region: &str,
    operation: &str,
    body: &Value,
) -> Result<(u16, Value)> {
    let key = aws_stand_in::names::access_key(account);
    let request = Request::post("/")
        .header("Host", "localhost")
        .header(CONTENT_TYPE, "application/x-amz-json-1.1")
        .header(
            "X-Amz-Target",
            format!("AmazonEC2ContainerRegistry_V20150921.{operation}"),
        )
        .header("X-Moto-Account-Id", account)
        .header(
            "Authorization",
            format!("AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/ecr/aws4_request"),
        )
        .body(full(body.to_string()))?;
    let response = send(&state.moto, request).await?;
    let status = response.status().as_u16();
    let bytes = collect(response.into_body(), LIMIT).await?;
    let value = serde_json::from_slice(&bytes)
        .with_context(|| format!("moto's answer to {operation} ({status})"))?;
    Ok((status, value))
}
