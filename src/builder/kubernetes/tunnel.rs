//! buildx's way to the API server: through this process, byte for byte.
//!
//! buildx gets a kubeconfig whose `proxy-url` is a listener on loopback that knows one address only,
//! the API server's; TLS is between the two ends. So we know how many bytes went over the API, and
//! see when the server ends the stream of an exec, which buildx before 0.36 waits for without end
//! (<https://github.com/docker/buildx/pull/3966>).

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kube::config::Kubeconfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::timings::Traffic;

/// How long buildx may go on without a stream after the server ended the last one: newer ones end
/// by themselves within half a second, or open another.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long a client may take for its first words.
const GREETING: Duration = Duration::from_secs(10);

/// The longest request, and the longest first record of TLS (RFC 8446, section 5.1).
const LONGEST_REQUEST: usize = 8 * 1024;
const LONGEST_RECORD: usize = 5 + (1 << 14) + 256;

/// In a ClientHello: Go's HTTP offers both versions of it (RFC 7301), the dialer of exec streams
/// none (<https://github.com/kubernetes/client-go/blob/v0.36.0/transport/spdy/spdy.go>).
const HTTP: &[u8] = b"\x02h2\x08http/1.1";

/// The listener. It and its connections end when this value is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    task: AbortHandle,
    seen: Arc<Seen>,
    /// buildx's kubeconfig.
    pub kubeconfig: PathBuf,
}

#[derive(Debug)]
struct Seen {
    sent: AtomicU64,
    received: AtomicU64,
    streams: watch::Sender<Streams>,
}

/// The streams of execs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Streams {
    /// How many there were.
    opened: u64,
    open: u64,
    /// Whether the server ended the last one that ended.
    cut: bool,
}

impl Tunnel {
    /// Opens a way to the server that a kubeconfig names, and writes buildx's own beside it.
    pub(super) async fn open(kubeconfig: &Path) -> io::Result<Self> {
        let mut config = Kubeconfig::read_from(kubeconfig).map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let here = format!("http://{}", listener.local_addr()?);
        let mut server = None;
        for named in &mut config.clusters {
            if let Some(cluster) = &mut named.cluster {
                server = cluster.server.clone();
                cluster.proxy_url = Some(here.clone());
            }
        }
        let server = server.and_then(|url| url.parse::<http::Uri>().ok());
        let authority = server.and_then(|url| {
            let host = url.host()?.to_owned();
            Some((host, url.port_u16().unwrap_or(443)))
        });
        let (host, port) = authority.ok_or_else(|| io::Error::other("no server's address"))?;
        let path = kubeconfig.with_extension("buildx");
        let text = serde_json::to_string(&config).map_err(io::Error::other)?;
        // A second builder of this run replaces the first one's.
        let _ = std::fs::remove_file(&path);
        let file = std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        file?.write_all(text.as_bytes())?;
        let seen = Arc::new(Seen {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            streams: watch::Sender::default(),
        });
        let serve = serve(listener, host, port, Arc::clone(&seen));
        Ok(Self {
            task: tokio::spawn(serve).abort_handle(),
            seen,
            kubeconfig: path,
        })
    }

    /// What went through so far, with all that TLS and HTTP add.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.seen.sent.load(Ordering::Relaxed),
            received: self.seen.received.load(Ordering::Relaxed),
        }
    }

    /// Ends when the server ended the streams that were opened from now on, and buildx does not do
    /// anything about it.
    pub(super) async fn cut(&self) {
        let mut streams = self.seen.streams.subscribe();
        let before = streams.borrow().opened;
        let is_cut =
            |streams: &Streams| streams.opened > before && streams.open == 0 && streams.cut;
        loop {
            if streams.wait_for(is_cut).await.is_err() {
                return std::future::pending().await;
            }
            let other = streams.wait_for(|streams| !is_cut(streams));
            if tokio::time::timeout(PATIENCE, other).await.is_err() {
                return;
            }
        }
    }

    /// Whether the server ended the last stream.
    pub(super) fn is_cut(&self) -> bool {
        let streams = *self.seen.streams.borrow();
        streams.open == 0 && streams.cut
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, host: String, port: u16, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!("the way to the API server: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (host, seen) = (host.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            if let Err(error) = connection(client, &host, port, &seen).await {
                tracing::debug!("the way to the API server: {error}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// One connection: `CONNECT`, then whatever the two ends say.
async fn connection(mut client: TcpStream, host: &str, port: u16, seen: &Seen) -> io::Result<()> {
    client.set_nodelay(true)?;
    let asked = tokio::time::timeout(GREETING, request(&mut client)).await??;
    let bare = host.trim_matches(['[', ']']);
    if asked != format!("{host}:{port}") && asked != format!("[{bare}]:{port}") {
        client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await?;
        return Err(io::Error::other(format!("somebody asked for `{asked}`")));
    }
    let mut server = match TcpStream::connect((bare, port)).await {
        Ok(server) => server,
        Err(error) => {
            client
                .write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                .await?;
            return Err(error);
        }
    };
    server.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let hello = tokio::time::timeout(GREETING, first_record(&mut client)).await??;
    let is_stream = !hello.windows(HTTP.len()).any(|window| window == HTTP);
    server.write_all(&hello).await?;
    count(&seen.sent, hello.len());
    let _open = is_stream.then(|| Open::new(seen));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let client_ended = AtomicBool::new(false);
    let up = async {
        if copy(&mut from_client, &mut to_server, &seen.sent).await == End::Reader {
            client_ended.store(true, Ordering::Relaxed);
            // What the server still has to say is waited for.
            let _ = to_server.shutdown().await;
            std::future::pending::<()>().await;
        }
    };
    let down = async {
        if copy(&mut from_server, &mut to_client, &seen.received).await == End::Writer {
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
    counter: &AtomicU64,
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
        count(counter, read);
    }
}

fn count(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel to a server that says `hello` and ends each connection after `seconds`.
    async fn tunnel(folder: &Path, milliseconds: u64) -> (Tunnel, String) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                tokio::spawn(async move {
                    stream.write_all(b"hello").await.unwrap();
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                });
            }
        });
        let path = folder.join("kubeconfig");
        let text = format!(
            "{{clusters: [{{name: c, cluster: {{server: 'https://{address}'}}}}], \
             users: [{{name: u, user: {{token: t}}}}]}}"
        );
        std::fs::write(&path, text).unwrap();
        (Tunnel::open(&path).await.unwrap(), address)
    }

    /// A client's connection, with the first record of a hello behind it.
    async fn connect(tunnel: &Tunnel, authority: &str, hello: &[u8]) -> (String, TcpStream) {
        let config = Kubeconfig::read_from(&tunnel.kubeconfig).unwrap();
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        let here = cluster.proxy_url.as_deref().unwrap();
        let here = here.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(here).await.unwrap();
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![0; 12];
        stream.read_exact(&mut head).await.unwrap();
        let mut record = vec![22, 3, 1];
        record.extend(u16::try_from(hello.len()).unwrap().to_be_bytes());
        record.extend(hello);
        // In two pieces, as a network may cut it. Who is refused need not be read to the end.
        let _ = stream.write_all(&record[..4]).await;
        let _ = stream.write_all(&record[4..]).await;
        (String::from_utf8(head).unwrap(), stream)
    }

    #[tokio::test]
    async fn a_stream_that_the_server_ends_is_noticed_and_no_other_is() {
        let folder = tempfile::tempdir().unwrap();
        let (tunnel, address) = tunnel(folder.path(), 300).await;
        let within = |seconds| tokio::time::timeout(Duration::from_secs(seconds), tunnel.cut());
        let http = async {
            let (head, mut stream) = connect(&tunnel, &address, HTTP).await;
            assert_eq!(head, "HTTP/1.1 200");
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        };
        let (cut, ()) = tokio::join!(within(5), http);
        assert!(cut.is_err(), "a request is no stream");
        let by_client = async {
            let (_, mut stream) = connect(&tunnel, &address, b"no protocol").await;
            stream.shutdown().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        };
        let (cut, ()) = tokio::join!(within(5), by_client);
        assert!(cut.is_err(), "the client ended it");
        assert!(!tunnel.is_cut());
        let by_server = async {
            let (_, mut stream) = connect(&tunnel, &address, b"no protocol").await;
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            stream
        };
        let (cut, _open) = tokio::join!(within(8), by_server);
        assert!(cut.is_ok() && tunnel.is_cut());
        assert!(tunnel.traffic().received >= 10, "{:?}", tunnel.traffic());
        assert!(tunnel.traffic().sent >= 32);
    }

    #[tokio::test]
    async fn leads_to_the_api_server_only() {
        let folder = tempfile::tempdir().unwrap();
        let (tunnel, _) = tunnel(folder.path(), 0).await;
        let (head, _) = connect(&tunnel, "169.254.169.254:80", b"").await;
        assert_eq!(head, "HTTP/1.1 403");
        let mode = std::fs::metadata(&tunnel.kubeconfig).unwrap().permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
            0o600
        );
    }
}
