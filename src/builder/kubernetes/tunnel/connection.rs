//! One connection of buildx to the API server: `CONNECT`, then bytes in both directions.
//!
//! In: the client's end and the only permitted address. Out: [`Seen`]: bytes, whether the server closed an exec connection, and whether it
//! replies.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::keepalive::{Keepalive, Keepalives};
use super::route::{Route, read_head};
use crate::timings::Traffic;

const HANDSHAKE: Duration = Duration::from_secs(10);

/// The longest first record of TLS (RFC 8446, section 5.1).
const LONGEST_RECORD: usize = 5 + (1 << 14) + 256;

/// ALPN in a ClientHello (RFC 7301): Go's HTTP offers both versions, the dialer of exec connections none
/// (<https://github.com/kubernetes/client-go/blob/v0.36.0/transport/spdy/spdy.go>).
pub(super) const HTTP: &[u8] = b"\x02h2\x08http/1.1";

/// What was observed on all connections.
#[derive(Debug, Default)]
pub(super) struct Seen {
    sent: AtomicU64,
    received: AtomicU64,
    pub connections: watch::Sender<Connections>,
    pub keepalives: Keepalives,
}

/// The exec connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Connections {
    /// All so far.
    pub opened: u64,
    pub open: u64,
    /// Whether the server closed the last one that was closed.
    pub by_server: bool,
}

impl Seen {
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

pub(super) async fn serve(mut client: TcpStream, route: &Route, seen: &Seen) -> io::Result<()> {
    client.set_nodelay(true)?;
    let requested = tokio::time::timeout(HANDSHAKE, request(&mut client)).await??;
    if !route.leads_to(&requested) {
        client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await?;
        let text = format!("a client asked for `{requested}`");
        return Err(io::Error::other(text));
    }
    let connected = tokio::time::timeout(HANDSHAKE, route.connect()).await;
    let mut server = match connected.unwrap_or_else(|late| Err(late.into())) {
        Ok(server) => server,
        Err(error) => {
            let answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\n";
            client.write_all(answer).await?;
            return Err(error);
        }
    };
    server.set_nodelay(true)?;
    set_keepalive(&server)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let hello = tokio::time::timeout(HANDSHAKE, first_record(&mut client)).await??;
    let is_exec = !hello.windows(HTTP.len()).any(|window| window == HTTP);
    server.write_all(&hello).await?;
    count(&seen.sent, hello.len());
    let _open = is_exec.then(|| Open::new(seen));
    let keepalive = is_exec.then(|| seen.keepalives.open());
    let keepalive = keepalive.as_deref();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let client_closed = AtomicBool::new(false);
    let up = async {
        let sent = |bytes| {
            count(&seen.sent, bytes);
            keepalive.map(Keepalive::sent);
        };
        if copy(&mut from_client, &mut to_server, sent).await == End::Reader {
            client_closed.store(true, Ordering::Relaxed);
            keepalive.map(Keepalive::received);
            // The server may still send.
            let _ = to_server.shutdown().await;
            std::future::pending::<()>().await;
        }
    };
    let down = async {
        let received = |bytes| {
            count(&seen.received, bytes);
            keepalive.map(Keepalive::received);
        };
        if copy(&mut from_server, &mut to_client, received).await == End::Writer {
            client_closed.store(true, Ordering::Relaxed);
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
    if is_exec {
        let by_server = !client_closed.load(Ordering::Relaxed);
        seen.connections
            .send_modify(|all| all.by_server = by_server);
    }
    Ok(())
}

/// Has the kernel close a connection whose other side answers no probe, or acknowledges nothing, for half a minute. The default is a quarter
/// of an hour (tcp(7), `tcp_retries2`).
fn set_keepalive(server: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(server, true)?;
    sockopt::set_tcp_keepidle(server, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(server, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(server, 3)?;
    sockopt::set_tcp_user_timeout(server, 30_000)?;
    Ok(())
}

/// Counts an exec connection while it is open.
struct Open<'a>(&'a Seen);

impl<'a> Open<'a> {
    fn new(seen: &'a Seen) -> Self {
        seen.connections.send_modify(|all| {
            all.opened += 1;
            all.open += 1;
            all.by_server = false;
        });
        Self(seen)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let connections = &self.0.connections;
        connections.send_modify(|all| all.open = all.open.saturating_sub(1));
    }
}

/// Reads `CONNECT host:port HTTP/1.1` and its headers. The client sends nothing more before the answer.
async fn request(client: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let head = read_head(client).await?;
    let mut words = head.split_whitespace();
    match (words.next(), words.next()) {
        (Some("CONNECT"), Some(authority)) => Ok(authority.to_owned()),
        (method, _) => Err(io::Error::other(format!(
            "`{}` instead of CONNECT",
            method.unwrap_or_default()
        ))),
    }
}

/// Reads the first record of TLS, or as much as there is.
async fn first_record(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut record = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let wanted = match record.as_slice() {
            [_, _, _, high, low, ..] => 5 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => 5,
        };
        if record.len() >= wanted || record.len() >= LONGEST_RECORD {
            return Ok(record);
        }
        let count = client.read(&mut buffer).await?;
        if count == 0 {
            return Ok(record);
        }
        record.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

/// The side that ended a direction.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Reader,
    Writer,
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    copied: impl Fn(usize),
) -> End {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return End::Reader,
            Ok(read) => read,
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        if to.write_all(bytes).await.is_err() {
            return End::Writer;
        }
        copied(read);
    }
}

fn count(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client's request and its first record: no more is kept than TLS allows, and the way leads to the server only.
    pub(in crate::builder::kubernetes) fn check(bytes: &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        let mut client = bytes;
        let authority = runtime.block_on(request(&mut client));
        let route = Route::new("https://k.example", None).unwrap();
        if let Ok(authority) = authority
            && route.leads_to(&authority)
        {
            assert!(["k.example:443", "[k.example]:443"].contains(&&*authority));
        }
        let rest = client;
        let record = runtime.block_on(first_record(&mut client)).unwrap();
        assert!(rest.starts_with(&record) && record.len() < LONGEST_RECORD + 4096);
    }
}
