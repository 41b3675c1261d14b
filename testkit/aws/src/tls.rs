//! Certificates for ECR's host names, of an authority made at start; and the files that make others find and trust us.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use aws_stand_in::names;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// What the machine trusts.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A certificate, and in the folder `ca/ca.pem` (the authority alone), `bundle.pem` (with what the machine trusts).
/// One wildcard for each suffix, as ECR's own certificates have.
pub(crate) fn acceptor(folder: &Path) -> Result<TlsAcceptor> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "AWS stand-in of a test rig");
    let authority_key = KeyPair::generate()?;
    let root = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let wildcards = names::SUFFIXES
        .iter()
        .map(|(suffix, _)| format!("*{suffix}"));
    let names: Vec<String> = wildcards.chain([names::PUBLIC.to_owned()]).collect();
    let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let system = std::fs::read_to_string(SYSTEM).unwrap_or_default();
    write(&folder.join("ca"), "ca.pem", &root)?;
    write(folder, "bundle.pem", &format!("{system}\n{root}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The file `hosts` in the folder: the machine's own, and our names.
pub(crate) fn write_hosts(folder: &Path, address: &str) -> Result<()> {
    let mut text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    text.push('\n');
    for host in names::hosts() {
        text.push_str(&format!("{address} {host}\n"));
    }
    write(folder, "hosts", &text)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
    written.with_context(|| format!("writing `{}`", path.display()))
}
