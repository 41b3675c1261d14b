use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::connection::HTTP;
use super::*;

/// A tunnel to a server that sends `hello` and closes each connection after `milliseconds`.
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

/// A build's connection, which whoever is named closes. Returns whether it counts as lost within eight seconds, and the build goes on.
async fn is_lost(hello: &[u8], closes: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (tunnel, address) = tunnel(folder.path(), 300).await;
    let ongoing = Ongoing::default();
    let _build = ongoing.one();
    let connection = async {
        let (head, mut stream) = connect(&tunnel, &address, hello).await;
        assert_eq!(head, "HTTP/1.1 200");
        if closes == "buildx" {
            stream.shutdown().await.unwrap();
        }
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        stream
    };
    let lost = tokio::time::timeout(Duration::from_secs(8), tunnel.disconnected(&ongoing));
    let (lost, _stream) = tokio::join!(lost, connection);
    assert!(tunnel.traffic().received >= 5, "{:?}", tunnel.traffic());
    assert!(tunnel.traffic().sent >= 7);
    lost.is_ok()
}

#[tokio::test]
async fn a_build_that_goes_on_without_an_exec_connection_is_detected_whoever_closed_it() {
    let (http, server, buildx) = tokio::join!(
        is_lost(HTTP, "server"),
        is_lost(b"no protocol", "server"),
        is_lost(b"no protocol", "buildx")
    );
    assert_eq!([http, server, buildx], [false, true, true]);
}

#[tokio::test]
async fn a_connection_of_a_build_that_has_ended_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let (tunnel, address) = tunnel(folder.path(), 100).await;
    let ongoing = Ongoing::default();
    let builds = async {
        let build = ongoing.one();
        let (_, mut stream) = connect(&tunnel, &address, b"no protocol").await;
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        drop(build);
        // The next has not connected yet.
        let _build = ongoing.one();
        tokio::time::sleep(LONGER_PATIENCE + Duration::from_secs(2)).await;
    };
    tokio::select! {
        () = tunnel.disconnected(&ongoing) => panic!("nothing was lost"),
        () = builds => {}
    }
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
