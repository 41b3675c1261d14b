//! buildx's way to the API server: through this process, byte for byte.
//!
//! buildx gets a kubeconfig whose `proxy-url` is a listener on loopback that knows one address only,
//! the API server's; TLS is between the two ends. So we know how many bytes went over the API, and
//! see when the server ends the stream of an exec, which buildx before 0.36 waits for without end
//! (<https://github.com/docker/buildx/pull/3966>), or does not answer any more, which no buildx minds.
//! Where a proxy is on the way, it is asked from here.

mod connection;
mod pulse;
mod way;

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::config::Kubeconfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::timings::Traffic;
use pulse::Pulses;
use way::Way;

/// How long buildx may go on without a stream after the server ended the last one: newer ones end
/// by themselves within half a second, or open another. Its pods are looked at meanwhile.
const PATIENCE: Duration = Duration::from_millis(3500);

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
    pulses: Pulses,
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
        let mut way = Err(io::Error::other("no server's address"));
        for named in &mut config.clusters {
            if let Some(cluster) = &mut named.cluster {
                let proxy = cluster.proxy_url.replace(here.clone());
                let server = cluster.server.as_deref().unwrap_or_default();
                way = Way::new(server, proxy.as_deref());
            }
        }
        let way = way?;
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
            pulses: Pulses::default(),
        });
        let serve = serve(listener, way, Arc::clone(&seen));
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

    /// For how long a stream has waited for an answer of its other end; none where all have theirs.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.seen.pulses.silence()
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
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, way: Way, seen: Arc<Seen>) {
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
        let (way, seen) = (way.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            if let Err(error) = connection::serve(client, &way, &seen).await {
                tracing::debug!("the way to the API server: {error}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests;
