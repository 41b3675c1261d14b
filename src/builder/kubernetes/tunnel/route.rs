//! The route to the API server: direct, or through an HTTP proxy.

use std::io;

use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Limit for the head of a request or an answer (bytes).
const LONGEST_HEAD: usize = 8 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Route {
    host: String,
    port: u16,
    proxy: Option<Proxy>,
}

/// A proxy for `CONNECT` (<https://www.rfc-editor.org/rfc/rfc9110.html#name-connect>).
#[derive(Clone)]
struct Proxy {
    host: String,
    port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Vec<u8>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Proxy({}:{})", self.host, self.port)
    }
}

impl Route {
    /// The route to a server of `https`.
    pub(super) fn new(server: &str, proxy: Option<&str>) -> io::Result<Self> {
        let uri: http::Uri = server.parse().map_err(io::Error::other)?;
        let host = uri.host();
        let host = host.ok_or_else(|| io::Error::other("the server has no host name"))?;
        let proxy = proxy.map(|proxy| {
            // It decodes names and passwords.
            let matcher = Matcher::builder().all(proxy).build();
            let found = matcher.intercept(&uri);
            let found = found.filter(|found| found.uri().scheme_str() == Some("http"));
            let proxy = found.and_then(|found| {
                let authorization = found.basic_auth().map(|auth| auth.as_bytes().to_vec());
                Some(Proxy {
                    host: bare(found.uri().host()?).to_owned(),
                    port: found.uri().port_u16().unwrap_or(80),
                    authorization,
                })
            });
            proxy.ok_or_else(|| io::Error::other("its proxy speaks TLS or SOCKS"))
        });
        Ok(Self {
            host: bare(host).to_owned(),
            port: uri.port_u16().unwrap_or(443),
            proxy: proxy.transpose()?,
        })
    }

    /// Whether `host:port` is this server.
    pub(super) fn leads_to(&self, authority: &str) -> bool {
        authority == format!("{}:{}", self.host, self.port) || authority == self.bracketed()
    }

    fn bracketed(&self) -> String {
        format!("[{}]:{}", self.host, self.port)
    }

    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let Some(proxy) = &self.proxy else {
            return TcpStream::connect((&*self.host, self.port)).await;
        };
        let mut stream = TcpStream::connect((&*proxy.host, proxy.port)).await?;
        let server = if self.host.contains(':') {
            self.bracketed()
        } else {
            format!("{}:{}", self.host, self.port)
        };
        let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
        if let Some(authorization) = &proxy.authorization {
            request.extend(b"Proxy-Authorization: ");
            request.extend(authorization);
            request.extend(b"\r\n");
        }
        request.extend(b"\r\n");
        stream.write_all(&request).await?;
        let answer = read_head(&mut stream).await?;
        let line = answer.lines().next().unwrap_or_default();
        let code = line.split(' ').nth(1);
        if code.is_some_and(|code| code.starts_with('2')) {
            return Ok(stream);
        }
        let Proxy { host, port, .. } = proxy;
        let text = format!("the proxy {host}:{port} answers `{line}`");
        Err(io::Error::other(text))
    }
}

/// Reads the head of an HTTP message, and nothing after it.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err(io::Error::other("the head of an HTTP message is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_route_leads_to_its_server_only() {
        let route = Route::new("https://k.example", None).unwrap();
        assert!(route.leads_to("k.example:443"));
        assert!(!route.leads_to("k.example:80") && !route.leads_to("evil.example:443"));
        assert!(
            Route::new("https://[::1]:6443", None)
                .unwrap()
                .leads_to("[::1]:6443")
        );
        assert!(Route::new("/nowhere", None).is_err());
        for proxy in ["https://p.example:3128", "socks5://p.example:1080"] {
            assert!(
                Route::new("https://k.example", Some(proxy)).is_err(),
                "{proxy}"
            );
        }
        let secret =
            Route::new("https://k.example", Some("http://me:hush@p.example:3128")).unwrap();
        let shown = format!("{secret:?}");
        assert!(
            shown.contains("p.example:3128") && !shown.contains("hush"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn a_proxy_gets_its_password_and_its_refusal_is_quoted() {
        for (answer, taken) in [
            (
                "HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\nhello",
                true,
            ),
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let proxy = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 4096];
                let count = stream.read(&mut asked).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8(asked[..count].to_vec()).unwrap()
            });
            let url = format!("http://me:p%40ss@{address}");
            let route = Route::new("https://k.example:6443", Some(&url)).unwrap();
            let connected = route.connect().await;
            let asked = proxy.await.unwrap();
            assert!(
                asked.starts_with("CONNECT k.example:6443 HTTP/1.1\r\nHost: k.example:6443\r\n")
            );
            // me:p@ss
            assert!(
                asked.contains("Proxy-Authorization: Basic bWU6cEBzcw==\r\n"),
                "{asked}"
            );
            match connected {
                Ok(mut stream) => {
                    assert!(taken);
                    let mut rest = String::new();
                    stream.read_to_string(&mut rest).await.unwrap();
                    assert_eq!(rest, "hello");
                }
                Err(error) => {
                    assert!(!taken);
                    assert!(
                        error.to_string().contains("answers `HTTP/1.1 407"),
                        "{error}"
                    );
                }
            }
        }
    }
}
