//! Proxies and certificates.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use readers::Target;
use secrecy::ExposeSecret as _;

use super::{file, parts, seed};
use crate::network::{certificates, no_proxy, proxy};
use crate::runner::env::Env;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "proxies",
        read: proxies,
        seeds: || {
            vec![
                seed(&[
                    "http://user:pass%40word@proxy.example:3128",
                    "localhost,.example,10.0.0.0/8,[::1]:80,*.a",
                ]),
                seed(&["proxy:80", "*"]),
                seed(&["https://user@[::1]:1/?a#b", ""]),
                seed(&["socks5h://a:b@c", "a:1"]),
            ]
        },
    },
    Target {
        name: "certificates",
        read: certificates,
        seeds: || {
            vec![
                b"# a\r\n-----BEGIN CERTIFICATE-----\r\nMIIB\r\n-----END CERTIFICATE-----\r\n".to_vec(),
                b"-----BEGIN CERTIFICATE-----\nA\n-----BEGIN CERTIFICATE-----\nB\n-----END CERTIFICATE-----\n\
                    -----BEGIN PRIVATE KEY-----\nC\n-----END PRIVATE KEY-----\n"
                    .to_vec(),
            ]
        },
    },
];

/// An address and `NO_PROXY`. What a client would log in with is masked.
fn proxies(bytes: &[u8]) {
    let parts = parts(bytes);
    let (address, rules) = (super::part(&parts, 0), super::part(&parts, 1));
    let env = Env::from([("HTTPS_PROXY", address), ("NO_PROXY", rules)]);
    let _ = (
        proxy::variables(&env),
        proxy::rules(&env),
        no_proxy::for_hyper(rules),
    );
    let masked = proxy::secrets(&env);
    let matcher = Matcher::builder().all(proxy::url(address)).build();
    let found = matcher.intercept(&Uri::from_static("https://r.example/"));
    let login = found.as_ref().and_then(|found| found.basic_auth());
    if let Some(login) = login.and_then(|login| login.to_str().ok()?.strip_prefix("Basic ")) {
        // A lone colon is no secret.
        let is_masked =
            login == "Og==" || masked.iter().any(|secret| secret.expose_secret() == login);
        assert!(is_masked, "{address}: {login}");
    }
}

/// What is taken out of a file are certificates, each once.
fn certificates(bytes: &[u8]) {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
    const END: &str = "\n-----END CERTIFICATE-----\n";
    let named = |bytes: &[u8]| {
        let file = file(bytes);
        certificates::named(&Env::from([(
            certificates::FILE,
            file.path().to_str().unwrap(),
        )]))
    };
    let found = named(bytes);
    let blocks: Vec<&str> = found.split_inclusive(END).collect();
    assert!(
        blocks
            .iter()
            .all(|block| block.starts_with(BEGIN) && block.ends_with(END))
    );
    let count = blocks
        .iter()
        .collect::<std::collections::HashSet<_>>()
        .len();
    assert_eq!(count, blocks.len(), "{found}");
    assert_eq!(named(found.as_bytes()), found);
}
