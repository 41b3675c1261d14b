//! What builders get of this machine's proxy and certificates.

use secrecy::ExposeSecret as _;

use super::*;
use crate::network::Network;
use crate::runner::env::Env;

fn builder(store: ImageStore, options: &str, network: Network) -> BuilderPlan {
    let mut facts = facts(store);
    facts.network = network;
    let pairs = [("push", "false"), ("driver-opts", options)];
    plan_with(&pairs, &facts, None).unwrap().builder
}

#[test]
fn a_builder_in_a_container_gets_the_proxy_that_its_options_do_not_set() {
    let env = Env::from([
        ("https_proxy", "http://proxy.example.com:3128"),
        ("HTTP_PROXY", "http://user:hush@proxy.example.com:3128"),
        ("NO_PROXY", "10.0.0.0/8"),
    ]);
    let builder = builder(
        ImageStore::Classic,
        "env.no_proxy=example.com",
        Network::of(&env),
    );
    let names: Vec<&str> = builder
        .options
        .iter()
        .map(|option| option.name.as_str())
        .collect();
    assert_eq!(names, ["env.no_proxy", "env.HTTPS_PROXY"]);
    let [(name, value)] = builder.secret_options.as_slice() else {
        panic!("{builder:?}");
    };
    assert_eq!(name, "env.HTTP_PROXY");
    assert_eq!(
        value.0.expose_secret(),
        "http://user:hush@proxy.example.com:3128"
    );
    let printed = serde_json::to_string(&builder).unwrap() + &format!("{builder:?}");
    assert!(!printed.contains("hush"));
}

#[test]
fn a_builder_in_a_container_gets_certificates_unless_its_options_name_some() {
    for (store, options, expected) in [
        (ImageStore::Classic, "", true),
        (ImageStore::Classic, "env.SSL_CERT_DIR=/certificates", false),
        (ImageStore::Containerd, "", false),
    ] {
        let network = Network {
            certificates: "-----BEGIN CERTIFICATE-----\n".to_owned(),
            ..Network::default()
        };
        let builder = builder(store, options, network);
        assert_eq!(builder.certificates.is_some(), expected, "{options}");
        let text = builder.buildkitd_config_text();
        assert_eq!(text.contains("certificates.pem"), expected, "{text}");
    }
}
