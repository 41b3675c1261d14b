//! What programs of this machine and Amazon EKS say.

use readers::Target;

use super::Address;
use super::buildx::{lenient_version, version_line};
use super::cluster::access;
use crate::any_bytes::{fixture, part, parts, seed};
use crate::aws::any_bytes as aws;
use crate::runner::env::Env;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "versions",
        read: versions,
        seeds: || {
            vec![
                fixture("answers/buildx-0.29.1-version.txt"),
                b"v28.5.2-rc.1+b".to_vec(),
            ]
        },
    },
    Target {
        name: "docker-context",
        read: docker_context,
        seeds: || {
            vec![seed(&[
                r#"{"currentContext":"remote"}"#,
                r#"{"Name":"remote","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://h:2376","SkipTLSVerify":false}}}"#,
            ])]
        },
    },
    Target {
        name: "eks-answer",
        read: eks_answer,
        seeds: || {
            vec![seed(&[
                "200",
                "",
                r#"{"cluster":{"name":"a","status":"ACTIVE","endpoint":"https://k.example","certificateAuthority":{"data":"Y2E="},"resourcesVpcConfig":{"endpointPublicAccess":true,"publicAccessCidrs":["10.0.0.0/8"]},"outpostConfig":{"outpostArns":[],"controlPlaneInstanceType":"a"},"id":"b"}}"#,
            ])]
        },
    },
];

/// What Amazon EKS says of a cluster. Only one with TLS is spoken to.
fn eks_answer(bytes: &[u8]) {
    let config = aws::answering(bytes);
    let asked = aws_sdk_eks::Client::new(&config).describe_cluster();
    let answer = aws::wait(asked.name("a").send());
    let Some(cluster) = answer.ok().and_then(|answer| answer.cluster) else {
        return;
    };
    match access("a", "eu-west-1".to_owned(), &cluster, "/p".as_ref()) {
        Ok(access) => assert!(access.server.starts_with("https://"), "{}", access.server),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn versions(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = version_line(&text);
    if let Some(version) = lenient_version(&text) {
        assert_eq!(lenient_version(&version.to_string()), Some(version));
    }
}

/// Docker's configuration and the description of a context.
fn docker_context(bytes: &[u8]) {
    let parts = parts(bytes);
    let folder = tempfile::tempdir_in(readers::memory()).unwrap();
    let meta = folder.path().join("contexts/meta/1");
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::write(folder.path().join("config.json"), part(&parts, 0)).unwrap();
    std::fs::write(meta.join("meta.json"), part(&parts, 1)).unwrap();
    let env = Env::from([("DOCKER_CONFIG", folder.path().to_str().unwrap())]);
    if let Ok(address) = Address::of(&env) {
        assert!(address.variables().contains_key("DOCKER_HOST"));
    }
}
