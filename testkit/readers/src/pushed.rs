//! What BuildKit pushes to the step, or anything else on the builder's loopback: requests of any bytes to the step's receiver.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

use protocol::{Base, BaseImage, Job, Secrets};

use crate::destinations::Destinations;
use crate::receiver::{Layers, Received, Receiver};
use crate::registry;
use crate::room::Room;

/// As in the seeds.
const REPOSITORY: &str = "fast-ecr-push/abc";

/// What follows the input, so that the receiver closes the connection.
const LAST: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// One destination, which has nothing and takes nothing, and a base image that is not there.
fn destinations() -> Arc<Destinations> {
    static DESTINATIONS: OnceLock<Arc<Destinations>> = OnceLock::new();
    let make = || {
        let address = registry::address();
        let job = serde_json::json!({
            "version": protocol::VERSION, "nonce": "abc",
            "destinations": [{
                "registry": address, "repository": "team/app", "tags": ["latest"], "is_plain": true, "mount_from": ["team/base"],
            }],
            "compression": { "method": "zstd", "level": 1 },
            "base": Base::Registry(BaseImage {
                registry: address.to_owned(),
                repository: "team/base".to_owned(),
                is_plain: true,
                architecture: None,
            }),
            "platform": null, "kept": 0, "times": "keep", "previous": [], "removed": [], "annotations": [],
            "answer_within": 1, "threads": 1,
        });
        let job: Job = serde_json::from_value(job).unwrap();
        let made = Destinations::new(
            &job.destinations,
            &job.base,
            job.answer_within,
            Room::of(None),
            &Secrets::default(),
        );
        Arc::new(made.unwrap())
    };
    Arc::clone(DESTINATIONS.get_or_init(make))
}

/// Whatever arrives, all that is kept has the digest under which it is kept, and only who knows the repository ends the push.
pub(crate) fn receiver(bytes: &[u8]) {
    for kept in [Layers::Kept, Layers::Dropped] {
        let Some(received) = push(bytes, kept) else {
            continue;
        };
        let name = REPOSITORY.as_bytes();
        assert!(bytes.windows(name.len()).any(|part| part == name));
        for (digest, content) in &received.blobs {
            assert_eq!(registry::digest(content).as_str(), digest);
        }
        assert!(received.bases.is_empty(), "the base image is not there");
    }
}

/// Takes any certificate, as BuildKit is told to.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn connect(port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.dangerous();
        let builder = builder.with_custom_certificate_verifier(Arc::new(Anyone));
        Arc::new(builder.with_no_client_auth())
    });
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let client = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(client, TcpStream::connect(("127.0.0.1", port)).unwrap())
}

fn push(bytes: &[u8], kept: Layers) -> Option<Received> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listening = Receiver::listen(REPOSITORY.to_owned(), kept, destinations());
    let mut receiver = runtime.block_on(listening).unwrap();
    let mut stream = connect(receiver.port);
    // It may have closed the connection before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.write_all(LAST);
    let mut answers = Vec::new();
    let mut wait = |limit| {
        stream.sock.set_read_timeout(Some(limit)).unwrap();
        stream.read_to_end(&mut answers)
    };
    // A body that is not all there leaves the connection open.
    let is_late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    if wait(Duration::from_millis(20)).is_err_and(|error| is_late(&error)) {
        let _ = stream.sock.shutdown(Shutdown::Write);
        stream
            .sock
            .set_read_timeout(Some(Duration::from_secs(8)))
            .unwrap();
        let ended = stream.read_to_end(&mut answers);
        assert!(!ended.is_err_and(|error| is_late(&error)), "no end");
    }
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."));
    let received = runtime.block_on(receiver.wait(Duration::ZERO)).ok();
    // It explains itself on one page.
    if let Some(problem) = receiver.problem() {
        assert!(format!("{problem:#}").len() < 4096);
    }
    received
}
