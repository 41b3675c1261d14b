//! buildx's connections to the API server, through this process.
//!
//! buildx gets a kubeconfig whose `proxy-url` is a listener on loopback that connects only to the API server; TLS is end to end. This counts
//! the bytes through the API server, and detects when the server closes an exec connection, which buildx before 0.36 waits for forever
//! (<https://github.com/docker/buildx/pull/3966>), or stops replying, which no buildx detects. A proxy in between is used from here.

mod connection;
mod keepalive;
mod route;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::config::Kubeconfig;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::process::Ongoing;
use crate::runner::private::write_private;
use crate::timings::Traffic;
#[cfg(test)]
pub(super) use connection::tests::check;
use connection::{Connections, Seen};
use route::Route;

/// How long buildx may go on without an exec connection after the server closed the last one: newer versions fail within half a second, or
/// open another. The pods are checked meanwhile.
const PATIENCE: Duration = Duration::from_millis(3500);

/// The same where buildx closed the last one: it does so between two connections, and in reply to TLS's `close_notify`, which may arrive
/// before the server's end of the connection.
const LONGER_PATIENCE: Duration = Duration::from_secs(6);

/// The listener. It and its connections are closed when this value is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    task: AbortHandle,
    seen: Arc<Seen>,
    /// buildx's kubeconfig.
    pub kubeconfig: PathBuf,
}

impl Tunnel {
    /// Listens for connections to the server of a kubeconfig, and writes buildx's kubeconfig next to it.
    pub(super) async fn open(kubeconfig: &Path) -> io::Result<Self> {
        let mut config = Kubeconfig::read_from(kubeconfig).map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let here = format!("http://{}", listener.local_addr()?);
        let mut route = Err(io::Error::other("the kubeconfig has no server"));
        let clusters = config.clusters.iter_mut();
        for cluster in clusters.filter_map(|named| named.cluster.as_mut()) {
            let proxy = cluster.proxy_url.replace(here.clone());
            let server = cluster.server.as_deref().unwrap_or_default();
            route = Route::new(server, proxy.as_deref());
        }
        let route = route?;
        let path = kubeconfig.with_extension("buildx");
        let text = serde_json::to_vec(&config).map_err(io::Error::other)?;
        write_private(&path, &text).map_err(io::Error::other)?;
        let seen = Arc::new(Seen::default());
        let serve = serve(listener, route, Arc::clone(&seen));
        Ok(Self {
            task: tokio::spawn(serve).abort_handle(),
            seen,
            kubeconfig: path,
        })
    }

    /// Traffic so far, including the overhead of TLS and HTTP.
    pub(super) fn traffic(&self) -> Traffic {
        self.seen.traffic()
    }

    /// The longest time that an exec connection has waited for a reply; none if all have theirs.
    pub(super) fn unanswered(&self) -> Option<Duration> {
        self.seen.keepalives.unanswered()
    }

    /// Resolves when the exec connections of a build were closed, and its buildx goes on without one.
    pub(super) async fn disconnected(&self, builds: &Ongoing) {
        builds.meanwhile(|| self.left_alone()).await;
    }

    /// Resolves when all exec connections opened from now on are closed, and no other follows.
    async fn left_alone(&self) {
        let mut connections = self.seen.connections.subscribe();
        let before = connections.borrow().opened;
        let is_closed = |all: &Connections| all.opened > before && all.open == 0;
        while let Ok(closed) = connections.wait_for(is_closed).await.map(|all| *all) {
            let patience = if closed.by_server {
                PATIENCE
            } else {
                LONGER_PATIENCE
            };
            let reopened = connections.wait_for(|all| !is_closed(all));
            if tokio::time::timeout(patience, reopened).await.is_err() {
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

async fn serve(listener: TcpListener, route: Route, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!("tunnel to the API server: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (route, seen) = (route.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            if let Err(error) = connection::serve(client, &route, &seen).await {
                tracing::debug!("tunnel to the API server: {error}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests;
