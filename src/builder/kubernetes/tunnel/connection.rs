//! One connection of buildx to the API server: `CONNECT`, then whatever the two ends say.
//!
//! In: the client's end and the one address that may be asked for. Out: bytes counted, whether the
//! server ended a stream, and whether it answers ([`Seen`]).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Seen;
use super::pulse::Pulse;
use super::way::Way;

/// How long a client may take for its first words.
const GREETING: Duration = Duration::from_secs(10);

/// The longest request, and the longest first record of TLS (RFC 8446, section 5.1).
const LONGEST_REQUEST: usize = 8 * 1024;
const LONGEST_RECORD: usize = 5 + (1 << 14) + 256;

/// In a ClientHello: Go's HTTP offers both versions of it (RFC 7301), the dialer of exec streams
/// none (<https://github.com/kubernetes/client-go/blob/v0.36.0/transport/spdy/spdy.go>).
pub(super) const HTTP: &[u8] = b"\x02h2\x08http/1.1";

/// Serves a connection to its end.
pub(super) async fn serve(mut client: TcpStream, way: &Way, seen: &Seen) -> io::Result<()> {
    client.set_nodelay(true)?;
    let asked = tokio::time::timeout(GREETING, request(&mut client)).await??;
    if !way.leads_to(&asked) {
        client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await?;
        return Err(io::Error::other(format!("somebody asked for `{asked}`")));
    }
    let connected = tokio::time::timeout(GREETING, way.connect()).await;
    let mut server = match connected.unwrap_or_else(|late| Err(late.into())) {
        Ok(server) => server,
        Err(error) => {
            client
                .write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                .await?;
            return Err(error);
        }
    };
    server.set_nodelay(true)?;
    watch_over(&server)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let hello = tokio::time::timeout(GREETING, first_record(&mut client)).await??;
    let is_stream = !hello.windows(HTTP.len()).any(|window| window == HTTP);
    server.write_all(&hello).await?;
    count(&seen.sent, hello.len());
    let _open = is_stream.then(|| Open::new(seen));
    let pulse = is_stream.then(|| seen.pulses.open());
    let pulse = pulse.as_deref();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let client_ended = AtomicBool::new(false);
    let up = async {
        let sent = |bytes| {
            count(&seen.sent, bytes);
            pulse.map(Pulse::sent);
        };
        if copy(&mut from_client, &mut to_server, sent).await == End::Reader {
            client_ended.store(true, Ordering::Relaxed);
            pulse.map(Pulse::heard);
            // What the server still has to say is waited for.
            let _ = to_server.shutdown().await;
            std::future::pending::<()>().await;
        }
    };
    let down = async {
        let received = |bytes| {
            count(&seen.received, bytes);
            pulse.map(Pulse::heard);
        };
        if copy(&mut from_server, &mut to_client, received).await == End::Writer {
            client_ended.store(true, Ordering::Relaxed);
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
    if is_stream {
        let cut = !client_ended.load(Ordering::Relaxed);
        seen.streams.send_modify(|streams| streams.cut = cut);
    }
    Ok(())
}

/// Has the kernel end a connection whose other side is silent to its probes, or acknowledges nothing,
/// for half a minute: else it tries for a quarter of an hour (tcp(7), `tcp_retries2`).
fn watch_over(server: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(server, true)?;
    sockopt::set_tcp_keepidle(server, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(server, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(server, 3)?;
    sockopt::set_tcp_user_timeout(server, 30_000)?;
    Ok(())
}

/// Counts a stream while it is open.
struct Open<'a>(&'a Seen);

impl<'a> Open<'a> {
    fn new(seen: &'a Seen) -> Self {
        seen.streams.send_modify(|streams| {
            streams.opened += 1;
            streams.open += 1;
            streams.cut = false;
        });
        Self(seen)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0
            .streams
            .send_modify(|streams| streams.open = streams.open.saturating_sub(1));
    }
}

/// Reads `CONNECT host:port HTTP/1.1` and its headers. Nothing follows before it is answered.
async fn request(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_REQUEST {
            return Err(io::Error::other("a request without an end"));
        }
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_whitespace();
    match (words.next(), words.next()) {
        (Some("CONNECT"), Some(authority)) => Ok(authority.to_owned()),
        (method, _) => Err(io::Error::other(format!(
            "`{}` instead of CONNECT",
            method.unwrap_or_default()
        ))),
    }
}

/// Reads the first record of TLS, or what there is of it.
async fn first_record(client: &mut TcpStream) -> io::Result<Vec<u8>> {
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

/// Whose end ended a direction.
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
