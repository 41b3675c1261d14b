//! A Kubernetes API for tests, where no cluster can be had: it answers exactly the calls that
//! buildx's kubernetes driver and fast-ecr-push make, and bridges `pods/exec` to a real BuildKit.
//!
//! `kubernetes-stand-in FOLDER SOCKET…`: listens on loopback with TLS, writes `kubeconfig` and
//! `kubeconfig-eks` into the folder, prints `ready`, runs until standard input ends. Sockets are
//! those of Docker Engines. The folder's `script.json` says what the cluster does ([`script`]), a file
//! `restart` has the API server stop for some milliseconds ([`restart`]);
//! `requests.jsonl`, `execs.jsonl` and `eks.jsonl` are its record. A call that it does not know stands in
//! `strikes`, and the exit code is then 1; `left` lists the objects that are there at the end.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the program speaks to tests by its output"
)]

mod answer;
mod auth;
mod cluster;
mod controller;
mod eks;
mod exec;
mod protobuf;
mod restart;
mod route;
mod script;
mod spdy;
mod store;
mod valid;
mod volumes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use cluster::Cluster;
use eks::Eks;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: kubernetes-stand-in FOLDER SOCKET...");
        return ExitCode::from(2);
    };
    match run(folder, arguments.collect()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(strikes) => {
            eprintln!("kubernetes-stand-in: {strikes} calls that it does not know");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("kubernetes-stand-in: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(folder: PathBuf, buildkits: Vec<PathBuf>) -> Result<usize> {
    let (acceptor, authority) = tls()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = format!("https://{address}");
    write_kubeconfigs(&folder, &server, &authority)?;
    let cluster = Arc::new(Cluster::new(folder.clone(), buildkits));
    let eks_listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", eks_listener.local_addr()?);
    std::fs::write(folder.join("eks-endpoint"), address)?;
    let eks = Arc::new(Eks {
        cluster: Arc::clone(&cluster),
        server: server.clone(),
        authority: STANDARD.encode(&authority),
    });
    println!("ready {server}");
    let serve_eks = async {
        loop {
            let (stream, _) = eks_listener.accept().await?;
            let eks = Arc::clone(&eks);
            tokio::spawn(async move {
                let service = service_fn(move |request| std::future::ready(eks.answer(&request)));
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    };
    let connection = |stream| serve(stream, acceptor.clone(), Arc::clone(&cluster));
    let serve = restart::listen(listener, &cluster, connection);
    let mut input = Vec::new();
    let mut stdin = tokio::io::stdin();
    let result: Result<()> = tokio::select! {
        result = serve => result,
        result = serve_eks => result,
        _ = stdin.read_to_end(&mut input) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    result?;
    let left = cluster.store.names().join("\n");
    std::fs::write(folder.join("left"), left).context("writing what is left")?;
    let strikes = std::fs::read_to_string(folder.join("strikes")).unwrap_or_default();
    for strike in strikes.lines() {
        eprintln!("strike: {strike}");
    }
    Ok(strikes.lines().count())
}

/// Answers one client of the API.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, cluster: Arc<Cluster>) {
    let _ = stream.set_nodelay(true);
    // A client that does not trust us, or that goes away, is the client's matter.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| Arc::clone(&cluster).answer(request));
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

/// A certificate for 127.0.0.1 and the authority that signed it, as PEM.
fn tls() -> Result<(TlsAcceptor, String)> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let root = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)?;
    // Exec asks for no protocol at all, and upgrades need the first version.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), root.pem()))
}

/// One with a static token, and one as `aws eks update-kubeconfig` writes it.
fn write_kubeconfigs(folder: &Path, server: &str, authority: &str) -> Result<()> {
    let authority = STANDARD.encode(authority);
    let token = format!("    token: {}\n", auth::TOKEN);
    let eks = "    exec:\n      apiVersion: client.authentication.k8s.io/v1beta1\n      command: aws\n      args:\n      - --region\n      - eu-west-1\n      - eks\n      - get-token\n      - --cluster-name\n      - builders\n      - --output\n      - json\n";
    for (file, user) in [("kubeconfig", token.as_str()), ("kubeconfig-eks", eks)] {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: stand-in\n\
             clusters:\n- name: stand-in\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
             contexts:\n- name: stand-in\n  context:\n    cluster: stand-in\n    user: builder\n\
             users:\n- name: builder\n  user:\n{user}"
        );
        let path = folder.join(file);
        std::fs::write(&path, text).with_context(|| format!("writing `{}`", path.display()))?;
    }
    Ok(())
}
