//! Requests to the registry as bytes over TLS, so that nothing between hides an answer.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use aws_stand_in::Account;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// A client with a password, or without one.
pub(crate) struct Client {
    host: String,
    authorization: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

/// A variable of the rig's.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).expect("run this under `rig exec --aws --`")
}

impl Client {
    /// Logged in with a fresh token of the account's.
    pub(crate) fn logged_in(account: &Account) -> Self {
        Self::with_password(&account.host(), &account.password())
    }

    pub(crate) fn with_password(host: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("AWS:{password}"));
        Self::with(host, Some(format!("Basic {encoded}")))
    }

    pub(crate) fn with(host: &str, authorization: Option<String>) -> Self {
        Self {
            host: host.to_owned(),
            authorization,
        }
    }

    /// An answer, or none where the connection was closed instead.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Option<Answer> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(variable("RIG_AWS_CA")).unwrap())
            .unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(
            connection,
            TcpStream::connect((self.host.as_str(), 443)).unwrap(),
        );
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.host
        );
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        for header in headers.iter().copied().map(str::to_owned).chain(
            self.authorization
                .iter()
                .map(|value| format!("Authorization: {value}")),
        ) {
            head.push_str(&header);
            head.push_str("\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        // Servers end without a word of TLS.
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer[end + 4..].to_vec();
        Some(Answer { status, head, body })
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body)
            .expect("an answer")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[&format!("Accept: {MANIFEST}")], b"")
    }

    /// Uploads a blob by POST and PUT; returns its digest.
    pub(crate) fn blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let begun = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            &[],
            b"",
        );
        assert_eq!(begun.status, 202, "{begun:?}");
        let path = format!("{}&digest={digest}", begun.path());
        let ended = self.send(
            "PUT",
            &path,
            &["Content-Type: application/octet-stream"],
            bytes,
        );
        assert_eq!(ended.status, 201, "{ended:?}");
        digest
    }

    /// Pushes an image of one layer under a tag; returns the answer to the manifest.
    pub(crate) fn image(&self, repository: &str, tag: &str, layer: &[u8]) -> Answer {
        let config = b"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
        let layer_digest = self.blob(repository, layer);
        let config_digest = self.blob(repository, config);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_digest}","size":{}}}]}}"#,
            config.len(),
            layer.len()
        );
        self.manifest(repository, tag, manifest.as_bytes())
    }

    pub(crate) fn manifest(&self, repository: &str, tag: &str, manifest: &[u8]) -> Answer {
        let kind = format!("Content-Type: {MANIFEST}");
        self.send(
            "PUT",
            &format!("/v2/{repository}/manifests/{tag}"),
            &[&kind],
            manifest,
        )
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `sha256:…`, by the machine's own program rather than by the code that is tested.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let output = std::process::Command::new("sha256sum")
        .arg(file.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.split(' ').next().unwrap())
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Code and message of the only error.
    pub(crate) fn error(&self) -> (String, String) {
        let value: Value = serde_json::from_slice(&self.body).expect("JSON");
        let error = &value["errors"][0];
        let text = |member: &str| error[member].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }

    /// Path and query of where to go on.
    pub(crate) fn path(&self) -> String {
        let location = self.header("location").expect("a location");
        let (_, rest) = location
            .trim_start_matches("https://")
            .split_once('/')
            .unwrap();
        format!("/{rest}")
    }
}
