//! The API server's end and return: nothing listens, all connections break, and what the cluster holds stays, as it does in etcd.
//!
//! A test writes into the file `restart` for how many milliseconds; the file is gone when the server has stopped.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::Cluster;

const FILE: &str = "restart";

const POLL: Duration = Duration::from_millis(20);

/// How often the port is asked for when the server returns: another program may have it for a moment.
const TRIES: usize = 250;

/// Serves connections, and restarts whenever that is asked for.
pub(crate) async fn listen<F>(
    mut listener: TcpListener,
    cluster: &Cluster,
    serve: impl Fn(TcpStream) -> F,
) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let address = listener.local_addr()?;
    let file = cluster.folder.join(FILE);
    loop {
        let mut connections = JoinSet::new();
        let takes = tokio::select! {
            takes = asked(&file) => takes?,
            ended = accept(&listener, &mut connections, &serve) => return ended,
        };
        drop(listener);
        connections.shutdown().await;
        cluster.stops.send_replace(());
        std::fs::remove_file(&file)?;
        sleep(takes).await;
        listener = bind(address).await?;
    }
}

async fn accept<F>(
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    serve: impl Fn(TcpStream) -> F,
) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(serve(stream));
        while connections.try_join_next().is_some() {}
    }
}

/// Has the server stop for so long, as a test does.
pub(crate) fn ask(folder: &Path, takes: Duration) {
    // Without it the test does not see the server stop, and fails.
    let _ = std::fs::write(folder.join(FILE), takes.as_millis().to_string());
}

/// How long the server is to be away, once it is to stop.
async fn asked(file: &Path) -> Result<Duration> {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        // It is written in one go, but made before.
        if !text.is_empty() {
            return Ok(Duration::from_millis(text.trim().parse()?));
        }
        sleep(POLL).await;
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut last = None;
    for _ in 0..TRIES {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
        sleep(POLL).await;
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}
