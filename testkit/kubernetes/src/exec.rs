//! `pods/exec`: a connection of buildx to BuildKit, bridged to a real one.
//!
//! The BuildKit is a Docker Engine's: `POST /grpc` with `Upgrade: h2c` on its socket serves the API
//! (<https://docs.docker.com/reference/api/engine/>).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hyper::header::{HeaderMap, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::route::Route;
use crate::spdy::{Frame, Reader, Writer};
use crate::store::{Key, Store};

const STREAMS: [&str; 4] = ["error", "stdin", "stdout", "stderr"];
pub(crate) const PROTOCOL: &str = "v4.channel.k8s.io";

/// Checks what is asked for.
///
/// # Errors
/// With what differs from the one exec that buildx makes.
pub(crate) fn check(route: &Route, headers: &HeaderMap, container: &str) -> Result<(), String> {
    let values = |key: &str| route.query.get(key).cloned().unwrap_or_default();
    let offered = headers
        .get_all("x-stream-protocol-version")
        .iter()
        .any(|value| value.as_bytes() == PROTOCOL.as_bytes());
    let upgrade = headers.get(UPGRADE).map(|value| value.as_bytes());
    if upgrade != Some(b"SPDY/3.1") || !offered {
        return Err("exec: no upgrade to SPDY/3.1 with v4 of the channel protocol".to_owned());
    }
    if values("command") != ["buildctl", "dial-stdio"] {
        return Err(format!("exec: command {:?}", values("command")));
    }
    if values("container") != [container] {
        return Err(format!("exec: container {:?}", values("container")));
    }
    for stream in ["stdin", "stdout", "stderr"] {
        if values(stream) != ["true"] {
            return Err(format!("exec: without {stream}"));
        }
    }
    Ok(())
}

/// What happens to a connection, and after how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub cut_after: Option<Duration>,
    pub silent_after: Option<Duration>,
}

/// Bridges a connection until either end or the pod is gone. Returns the bytes up and down.
pub(crate) async fn bridge(
    upgraded: Upgraded,
    buildkit: &Path,
    store: &Store,
    pod: &Key,
    trouble: Trouble,
) -> Result<(u64, u64)> {
    let (input, output) = tokio::io::split(TokioIo::new(upgraded));
    let mut reader = Reader::new(input);
    let mut writer = Writer::new(output);
    let mut ids = BTreeMap::new();
    for expected in STREAMS {
        match reader.next().await? {
            Some(Frame::Open { id, stream_type }) if stream_type == expected => {
                ids.insert(expected, id);
                writer.reply(id).await?;
            }
            other => bail!("{other:?} instead of stream {expected}"),
        }
    }
    let id = |name: &str| ids.get(name).copied().unwrap_or_default();
    let (stdin, stdout) = (id("stdin"), id("stdout"));
    let (mut from_buildkit, mut to_buildkit) = connect(buildkit).await?.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let mut up = 0;
    let mut down = 0;
    let upward = async {
        while let Some(frame) = reader.next().await? {
            match frame {
                Frame::Data { id, bytes, last } if id == stdin => {
                    up += u64::try_from(bytes.len())?;
                    // BuildKit may be gone first.
                    if to_buildkit.write_all(&bytes).await.is_err() {
                        break;
                    }
                    if last {
                        let _ = to_buildkit.shutdown().await;
                    }
                }
                Frame::Data { id, .. } => bail!("data on stream {id}"),
                Frame::Ping(id) => writer.lock().await.ping(id).await?,
                Frame::Reset(_) => {}
                Frame::GoAway => break,
                Frame::Open { id, .. } => bail!("a fifth stream, {id}"),
            }
        }
        Ok(())
    };
    let downward = async {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match from_buildkit.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    down += u64::try_from(count)?;
                    let bytes = buffer.get(..count).unwrap_or_default();
                    writer.lock().await.data(stdout, bytes, false).await?;
                }
            }
        }
        // What a kubelet sends when the command ended well.
        let mut writer = writer.lock().await;
        writer.data(stdout, &[], true).await?;
        writer.data(id("stderr"), &[], true).await?;
        let status = json!({ "metadata": {}, "status": "Success" }).to_string();
        writer.data(id("error"), status.as_bytes(), false).await?;
        writer.data(id("error"), &[], true).await?;
        Ok(())
    };
    let result = tokio::select! {
        () = after(trouble.cut_after) => Ok(()),
        () = after(trouble.silent_after) => Err(None),
        result = upward => result.map_err(Some),
        result = downward => result.map_err(Some),
        () = gone(store, pod) => Ok(()),
    };
    let result = match result {
        // Nobody reads and nobody writes: the connection is as if its other end were gone.
        Err(None) => {
            gone(store, pod).await;
            Ok(())
        }
        Err(Some(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    let _ = writer.lock().await.close().await;
    // A client that went away while it was written to is no fault of anybody.
    match result {
        Err(error) if error.is::<std::io::Error>() => Ok((up, down)),
        Err(error) => Err(error),
        Ok(()) => Ok((up, down)),
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Ends with the pod.
async fn gone(store: &Store, pod: &Key) {
    let mut latest = store.latest();
    while is_running(store, pod) && latest.changed().await.is_ok() {}
}

fn is_running(store: &Store, pod: &Key) -> bool {
    store
        .get(pod)
        .is_some_and(|pod| pod["status"]["phase"] == "Running")
}

async fn connect(buildkit: &Path) -> Result<UnixStream> {
    let mut socket = UnixStream::connect(buildkit)
        .await
        .with_context(|| format!("connecting to `{}`", buildkit.display()))?;
    socket
        .write_all(
            b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        )
        .await?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") && reply.len() < 4096 {
        reply.push(socket.read_u8().await?);
    }
    if !reply.starts_with(b"HTTP/1.1 101 ") {
        bail!(
            "the Engine did not switch protocols: {}",
            String::from_utf8_lossy(&reply)
        );
    }
    Ok(socket)
}
