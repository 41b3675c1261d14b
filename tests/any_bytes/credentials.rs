//! Kubeconfigs and Docker's configuration.

use readers::Target;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use super::docker_config;
use super::kubeconfig::{Access, Terms};
use crate::any_bytes::{part, parts, seed};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "kubeconfig",
        read: kubeconfig,
        seeds: || {
            let base64 =
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, KUBECONFIG);
            vec![
                KUBECONFIG.as_bytes().to_vec(),
                base64.into_bytes(),
                seed(&[KUBECONFIG, "other"]),
            ]
        },
    },
    Target {
        name: "docker-config",
        read: docker_config,
        seeds: || {
            vec![
                br#"{"auths":{"r.example":{"auth":"YTpi"}},"credHelpers":{"a":"b"},"credsStore":"","HttpHeaders":{"A":"b"},"proxies":{"default":{"httpProxy":"c"}},"currentContext":"x"}"#.to_vec(),
                br#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}"#.to_vec(),
            ]
        },
    },
];

const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: ci
clusters:
- name: c
  cluster: {server: 'https://k.example', certificate-authority-data: YQ==}
contexts:
- name: ci
  context: {cluster: c, user: u, namespace: team}
- name: other
  context: {cluster: c, user: t}
users:
- name: u
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: aws
      args: [--region, eu-west-1, eks, get-token, --cluster-name, k, --role-arn, 'arn:aws:iam::123456789012:role/a']
      env: [{name: AWS_PROFILE, value: p}]
- name: t
  user: &x {token: hidden, client-certificate-data: YQ==, client-key-data: YQ==}
";

/// A stranger's file names no file, and only our own program runs; what is made of it reads as the same.
fn kubeconfig(bytes: &[u8]) {
    let parts = parts(bytes);
    let terms = Terms {
        context: parts.get(1).map(String::as_str),
        allow_exec: false,
        may_name_files: false,
        program: "/fast-ecr-push".as_ref(),
    };
    let Ok(access) = Access::read(part(&parts, 0), &terms) else {
        return;
    };
    assert!(access.server.starts_with("https://"));
    assert!(!access.runs_a_foreign_command());
    let file = access.to_file("team", "/tokens".as_ref());
    let written: Value = serde_json::from_str(file.expose_secret()).unwrap();
    let user = &written["users"][0]["user"];
    let named = ["client-certificate", "client-key", "tokenFile"].map(|field| &user[field]);
    let authority = &written["clusters"][0]["cluster"]["certificate-authority"];
    assert!(
        named.iter().chain([&authority]).all(|file| file.is_null()),
        "{written}"
    );
    if let Some(exec) = user["exec"].as_object() {
        assert_eq!(exec["command"], "/fast-ecr-push");
    }
    for secret in access.secrets() {
        let quoted = Value::from(secret).to_string();
        assert!(file.expose_secret().contains(&quoted));
    }
    let terms = Terms {
        context: None,
        allow_exec: true,
        ..terms
    };
    let again = Access::read(file.expose_secret(), &terms).unwrap();
    assert_eq!(again.server, access.server);
    assert_eq!(again.secrets(), access.secrets());
}

/// The run's hosts are answered by our helper, whatever else is there.
fn docker_config(bytes: &[u8]) {
    let folder = tempfile::tempdir_in(readers::memory()).unwrap();
    std::fs::write(folder.path().join("config.json"), bytes).unwrap();
    let _ = docker_config::login(folder.path(), "r.example");
    let _ = docker_config::login(folder.path(), "docker.io");
    let env = crate::runner::env::Env::from([("DOCKER_CONFIG", folder.path().to_str().unwrap())]);
    let _ = crate::facts::Address::of(&env);
    let Ok(own) = docker_config::user_config(&env) else {
        return;
    };
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let made = docker_config::private(own.clone(), &[ecr], "ours");
    let is_object = |field| matches!(own.get(field), None | Some(Value::Null | Value::Object(_)));
    if is_object("credHelpers") {
        assert_eq!(made["credHelpers"][ecr], "ours");
    }
    let auths = made.get("auths").and_then(Value::as_object);
    assert!(auths.is_none_or(|auths: &Map<_, _>| !auths.contains_key(ecr)));
}
