//! TLS on loopback, with a key that this process makes and never writes down.
//!
//! It keeps others on the builder's network from reading what passes. Nobody can check the certificate, and BuildKit is told not to: only
//! this process listens at its address.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

/// Accepts encrypted connections.
#[derive(Clone)]
pub(crate) struct Encryption(TlsAcceptor);

/// A connection can't be encrypted.
#[derive(Debug, Error)]
pub(crate) enum EncryptionError {
    #[error("could not make a certificate for loopback")]
    Certificate(#[from] rcgen::Error),
    #[error("could not use the certificate for loopback")]
    Configuration(#[from] tokio_rustls::rustls::Error),
}

impl Encryption {
    /// With a new key.
    pub(crate) fn new() -> Result<Self, EncryptionError> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The connection, encrypted; none if the client does not do that.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        self.0.accept(stream).await.ok()
    }
}
