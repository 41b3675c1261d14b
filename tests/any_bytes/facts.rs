//! What programs of this machine say.

use readers::Target;

use super::Address;
use super::buildx::{lenient_version, version_line};
use crate::any_bytes::{fixture, part, parts, seed};
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
];

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
