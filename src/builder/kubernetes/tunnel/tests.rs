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

#[tokio::test]
async fn an_exec_connection_that_the_server_closes_is_detected_and_no_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let (tunnel, address) = tunnel(folder.path(), 300).await;
    let within =
        |seconds| tokio::time::timeout(Duration::from_secs(seconds), tunnel.disconnected());
    let http = async {
        let (head, mut stream) = connect(&tunnel, &address, HTTP).await;
        assert_eq!(head, "HTTP/1.1 200");
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let (closed, ()) = tokio::join!(within(5), http);
    assert!(closed.is_err(), "a request is no exec connection");
    let by_client = async {
        let (_, mut stream) = connect(&tunnel, &address, b"no protocol").await;
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let (closed, ()) = tokio::join!(within(5), by_client);
    assert!(closed.is_err(), "the client closed it");
    let by_server = async {
        let (_, mut stream) = connect(&tunnel, &address, b"no protocol").await;
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        stream
    };
    let (closed, _open) = tokio::join!(within(8), by_server);
    assert!(closed.is_ok());
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
