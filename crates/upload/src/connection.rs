//! Connections to registries: TCP, through a proxy or not, with TLS or not.
//!
//! HTTP/1.1 only: with HTTP/2 all blobs would share one TCP connection, and Amazon ECR gives each connection a part of
//! its throughput (<https://github.com/clowdhaus/ocync/pull/104>, <https://github.com/openai/tart/issues/589>).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::error::BoxError;
use crate::watched::{GivenUp, Patience, Watched};

/// Kernel's keep-alive for connections that wait for an answer or for their producer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Proxies, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name them. A registry on loopback is never reached through one.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Of registries without TLS, `http://[USER:PASSWORD@]HOST:PORT`.
    pub http: Option<SecretString>,
    /// Of registries with TLS.
    pub https: Option<SecretString>,
    /// Hosts, domains, addresses and networks without a proxy, as hyper has them:
    /// <https://docs.rs/hyper-util/latest/hyper_util/client/proxy/matcher/struct.Matcher.html>.
    pub no_proxy: String,
}

/// Settings that no connection can be made with.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is not shown: it may hold a password.
    #[error("the {0} proxy is not an address, expected `http://HOST:PORT` or `https://HOST:PORT`")]
    Proxy(&'static str),
    #[error("the certificates of authorities are not PEM")]
    Certificates(#[source] rustls::pki_types::pem::Error),
    #[error("a certificate of an authority is not usable")]
    Certificate(#[source] rustls::Error),
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    #[error("the upload thread could not be started")]
    Thread(#[source] std::io::Error),
}

fn matcher(proxies: &Proxies) -> Result<Matcher, SettingsError> {
    let address = |name, proxy: &Option<SecretString>| {
        let text = proxy.as_ref().map_or("", |proxy| proxy.expose_secret());
        let scheme = text.split_once("://").map_or("http", |(scheme, _)| scheme);
        let is_address = text.is_empty()
            || (matches!(scheme, "http" | "https")
                && text
                    .parse::<Uri>()
                    .is_ok_and(|address| address.host().is_some_and(|host| !host.is_empty())));
        is_address
            .then(|| text.to_owned())
            .ok_or(SettingsError::Proxy(name))
    };
    Ok(Matcher::builder()
        .http(address("HTTP", &proxies.http)?)
        .https(address("HTTPS", &proxies.https)?)
        .no(proxies.no_proxy.clone())
        .build())
}

/// Mozilla's authorities and those of `extra`, PEM.
fn tls(extra: &str) -> Result<ClientConfig, SettingsError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in CertificateDer::pem_slice_iter(extra.as_bytes()) {
        let certificate = certificate.map_err(SettingsError::Certificates)?;
        roots.add(certificate).map_err(SettingsError::Certificate)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .map_err(SettingsError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Makes connections for hyper's client.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Settings>);

struct Settings {
    dial: Dial,
    proxies: Matcher,
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(
        proxies: &Proxies,
        authorities: &str,
        limit: Duration,
        patience: Patience,
    ) -> Result<Self, SettingsError> {
        let mut tcp = HttpConnector::new_with_resolver(Spread(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        Ok(Self(Arc::new(Settings {
            dial: Dial {
                tcp,
                tls: TlsConnector::from(Arc::new(tls(authorities)?)),
                patience,
            },
            proxies: matcher(proxies)?,
            limit,
        })))
    }

    /// Credentials of the proxy that gets requests without TLS whole; a tunnel's are the connector's matter.
    pub(crate) fn proxy_authorization(&self, address: &Uri) -> Option<HeaderValue> {
        if address.scheme() == Some(&Scheme::HTTPS) {
            return None;
        }
        self.0.proxy(address)?.basic_auth().cloned()
    }
}

impl Settings {
    fn proxy(&self, address: &Uri) -> Option<hyper_util::client::proxy::matcher::Intercept> {
        let host = address.host().unwrap_or_default();
        let is_loopback = image::is_loopback(host);
        (!is_loopback).then(|| self.proxies.intercept(address))?
    }

    async fn connect(&self, address: Uri) -> Result<HttpConnection, BoxError> {
        let is_secure = address.scheme() == Some(&Scheme::HTTPS);
        let mut dial = self.dial.clone();
        let (stream, is_proxied) = match self.proxy(&address) {
            None => (dial.call(address).await?, false),
            Some(proxy) if is_secure => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), dial.clone());
                if let Some(authorization) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                // Its own address, since hyper's tunnel has no default for the port.
                let port = address.port_u16().unwrap_or(443);
                let host = address.host().unwrap_or_default().to_owned();
                let there = Uri::builder()
                    .scheme(Scheme::HTTPS)
                    .authority(format!("{host}:{port}"))
                    .path_and_query("/")
                    .build()?;
                let stream = tunnel.call(there).await?.into_inner();
                (TokioIo::new(dial.secure(&host, stream).await?), false)
            }
            Some(proxy) => (dial.call(proxy.uri().clone()).await?, true),
        };
        Ok(HttpConnection { stream, is_proxied })
    }
}

impl Service<Uri> for Connector {
    type Response = HttpConnection;
    type Error = BoxError;
    type Future = Boxed<HttpConnection>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let settings = Arc::clone(&self.0);
        Box::pin(async move {
            match tokio::time::timeout(settings.limit, settings.connect(address)).await {
                Ok(connection) => connection,
                Err(_) => Err(GivenUp::NotConnected(settings.limit).into()),
            }
        })
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Anything that bytes go through.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}
type Stream = Box<dyn Transport>;

/// Connects to exactly the host of an address, with TLS for `https`.
#[derive(Clone)]
struct Dial {
    tcp: HttpConnector<Spread>,
    tls: TlsConnector,
    patience: Patience,
}

impl Dial {
    async fn secure(&self, host: &str, stream: Stream) -> Result<Stream, BoxError> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned())?;
        Ok(Box::new(self.tls.connect(name, stream).await?))
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = BoxError;
    type Future = Boxed<TokioIo<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let mut dial = self.clone();
        Box::pin(async move {
            let tcp = dial.tcp.call(address.clone()).await?.into_inner();
            let stream: Stream = Box::new(Watched::new(tcp, dial.patience));
            Ok(TokioIo::new(if address.scheme() == Some(&Scheme::HTTPS) {
                let host = address.host().unwrap_or_default();
                dial.secure(host, stream).await?
            } else {
                stream
            }))
        })
    }
}

/// A host's addresses in another order for each connection. Of the many front ends that a large registry has some are
/// much slower than others (<https://github.com/beam-cloud/beta9/pull/1876>), so connections should not all go to the
/// first.
#[derive(Clone)]
struct Spread(GaiResolver);

impl Service<Name> for Spread {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let addresses = self.0.call(name);
        Box::pin(async move {
            let mut addresses: Vec<SocketAddr> = addresses.await?.collect();
            fastrand::shuffle(&mut addresses);
            Ok(addresses.into_iter())
        })
    }
}

/// What hyper's client gets.
pub(crate) struct HttpConnection {
    stream: TokioIo<Stream>,
    is_proxied: bool,
}

impl Connection for HttpConnection {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl hyper::rt::Read for HttpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for HttpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(http: &str, https: &str, no_proxy: &str) -> Proxies {
        Proxies {
            http: Some(http.into()),
            https: Some(https.into()),
            no_proxy: no_proxy.to_owned(),
        }
    }

    fn connector(proxies: &Proxies) -> Result<Connector, SettingsError> {
        let patience = Patience {
            silence: Duration::from_secs(1),
            floor: 1,
            window: Duration::from_secs(1),
        };
        Connector::new(proxies, "", Duration::from_secs(1), patience)
    }

    #[test]
    fn each_address_has_its_proxy_and_loopback_has_none() {
        let given = proxies("http://u:p@plain:1", "secure:2", "example.com");
        let connector = connector(&given).unwrap();
        for (address, expected) in [
            ("http://registry/v2/", Some("http://plain:1/")),
            ("https://registry/v2/", Some("http://secure:2/")),
            ("https://a.example.com/v2/", None),
            ("http://127.0.0.1:5000/v2/", None),
            ("https://localhost/v2/", None),
            ("http://[::1]:5000/v2/", None),
        ] {
            let address: Uri = address.parse().unwrap();
            let proxy = connector.0.proxy(&address);
            let proxy = proxy.map(|proxy| proxy.uri().to_string());
            assert_eq!(proxy.as_deref(), expected, "{address}");
        }
        let authorization =
            |address: &str| connector.proxy_authorization(&address.parse().unwrap());
        assert_eq!(authorization("http://registry/").unwrap(), "Basic dTpw");
        assert!(authorization("https://registry/").is_none());
        assert!(!format!("{given:?}").contains("u:p"));
    }

    #[test]
    fn refuses_proxies_and_certificates_that_are_none() {
        for wrong in ["socks5://a:1", "http://", "not an address", "ftp://a"] {
            let error = connector(&proxies("", wrong, "")).err().unwrap();
            assert!(matches!(error, SettingsError::Proxy("HTTPS")), "{wrong}");
        }
        for wrong in [
            "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(tls(wrong).is_err());
        }
        assert!(tls("").is_ok());
    }
}
