//! A private certificate authority, and TLS with a certificate of its in front of what answers plainly.
//!
//! Used by the end-to-end tests, too.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Nobody knows it but who has its certificate.
pub(crate) struct Authority {
    host: String,
    /// Its own certificate, in PEM form.
    pub certificate: String,
    server: Arc<ServerConfig>,
}

impl Authority {
    /// Vouches for this machine under an address or name.
    pub(crate) fn of(host: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let issuer = Issuer::new(parameters, key);
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let signed = parameters.signed_by(&key, &issuer).unwrap();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![signed.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        Self {
            host: host.to_owned(),
            certificate: certificate.pem(),
            server: Arc::new(server),
        }
    }

    /// Answers with TLS for what answers plainly at an address, one request a connection. Returns host and port.
    pub(crate) fn before(&self, address: &str) -> String {
        format!("{}:{}", self.host, self.listening_at(&self.host, address))
    }

    /// The same at another of this machine's addresses than its name has; the port.
    pub(crate) fn listening_at(&self, here: &str, address: &str) -> u16 {
        let listener = TcpListener::bind((here, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, address) = (Arc::clone(&self.server), address.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, address) = (Arc::clone(&server), address.clone());
                // Who does not trust us goes away.
                thread::spawn(move || pass_on(stream.unwrap(), server, &address));
            }
        });
        port
    }
}

fn pass_on(stream: TcpStream, server: Arc<ServerConfig>, address: &str) -> io::Result<()> {
    let connection = ServerConnection::new(server).map_err(io::Error::other)?;
    let mut client = BufReader::new(StreamOwned::new(connection, stream));
    let request = request(&mut client)?;
    let mut answer = Vec::new();
    if let Some(path) = address.strip_prefix("unix://") {
        let mut backend = UnixStream::connect(Path::new(path))?;
        backend.write_all(&request)?;
        backend.read_to_end(&mut answer)?;
    } else {
        let mut backend = TcpStream::connect(address.trim_start_matches("http://"))?;
        backend.write_all(&request)?;
        backend.read_to_end(&mut answer)?;
    }
    let client = client.get_mut();
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}

/// Head and body of a request, which shall be its connection's last one and is told to have come by TLS.
fn request(client: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body)?;
    request.extend(body);
    let first = request.windows(2).position(|two| two == b"\r\n");
    let behind = first.map_or(0, |end| end + 2);
    request.splice(
        behind..behind,
        *b"Connection: close\r\nX-Forwarded-Proto: https\r\n",
    );
    Ok(request)
}
