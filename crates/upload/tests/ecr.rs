//! Pushes to Amazon ECR's stand-in: its host names over TLS, its manners, and a real registry behind.
//!
//! Needs the rig, which starts it: `make e2e`, or
//! `cargo run -p rig -- exec --aws -- cargo test -p fast-ecr-push-upload --test ecr`.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is a test's failure, and the rig speaks by variables"
)]

use std::io::Write as _;
use std::time::Duration;

use aws_stand_in::{Account, Answer, Command, Fault, On, Resource, names};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use upload::{
    Blob, Cause, Credentials, Descriptor, Error, How, Memory, Present, Registry, RegistrySettings,
    Settings, Timing, Uploader,
};

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn uploader() -> Uploader {
    let settings = Settings {
        authorities: std::fs::read_to_string(std::env::var("RIG_AWS_CA").unwrap()).unwrap(),
        timing: Timing {
            first_wait: Duration::from_millis(20),
            longest_wait: Duration::from_millis(100),
            answer: Duration::from_secs(20),
            ..Timing::default()
        },
        ..Settings::default()
    };
    Uploader::start(&settings).unwrap()
}

fn registry(uploader: &Uploader, host: &str, account: &Account) -> Registry {
    let mut settings = RegistrySettings::new(host);
    settings.credentials = Credentials::Basic {
        user: "AWS".to_owned(),
        password: account.password().into(),
    };
    uploader.registry(settings).unwrap()
}

fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i ^ (i >> 9)) as u8 ^ seed).collect()
}

fn manifest(blobs: &[Present]) -> String {
    let part = |present: &Present, kind: &str| {
        let Descriptor { digest, size } = present.descriptor();
        json!({ "mediaType": kind, "digest": digest.to_string(), "size": size })
    };
    let config = part(&blobs[0], "application/vnd.oci.image.config.v1+json");
    let layers = blobs.iter().skip(1).map(|blob| part(blob, LAYER));
    let layers: Vec<_> = layers.collect();
    json!({ "schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": layers }).to_string()
}

/// An image of a configuration, a layer in memory and one that is written while it is sent.
fn push(
    uploader: &Uploader,
    registry: &Registry,
    path: &str,
    tag: &str,
    seed: u8,
) -> Result<Vec<Present>, Error> {
    let repository = registry.repository(path);
    let memory = Memory::new(64 << 20, 32 << 20);
    let config = repository.push(Blob::bytes(format!("{{\"seed\":{seed}}}").into()));
    let small = repository.push(Blob::bytes(content(1000, seed).into()));
    let (mut writer, blob) = Blob::written(&memory);
    let large = repository.push(blob);
    // It fails where the upload has, which says more.
    let _ = writer
        .write_all(&content(24 << 20, seed))
        .and_then(|()| writer.finish());
    let blobs = vec![config.wait()?, small.wait()?, large.wait()?];
    let image = repository.complete(TYPE, manifest(&blobs), &blobs, &[])?;
    let tags = vec![tag.to_owned(), format!("{tag}-again")];
    uploader
        .publish(vec![(image, tags)])
        .wait()
        .map_err(|error| *error.source)?;
    Ok(blobs)
}

fn text(error: &Error) -> String {
    format!("{error}: {}", error.cause())
}

#[test]
fn an_image_is_pushed_while_it_is_written_and_read_back() {
    let account = Account::new();
    account.repository("team/app").create();
    let uploader = uploader();
    let registry = registry(&uploader, &account.host(), &account);
    let blobs = push(&uploader, &registry, "team/app", "1.0", 1).unwrap();
    assert!(blobs.iter().all(|blob| blob.how() == How::Uploaded));
    let requests = account.requests();
    let count = |method: &str| requests.iter().filter(|one| one.method == method).count();
    assert_eq!((count("POST"), count("PATCH")), (3, 1));
    // ECR's answer to a chunk.
    assert!(
        requests
            .iter()
            .any(|one| one.method == "PATCH" && one.status == 201)
    );
    // Nobody had to be asked for credentials.
    assert!(
        requests
            .iter()
            .all(|one| one.status != 401 && one.token == Some(1))
    );
    let (_, images) = account.ecr(
        "DescribeImages",
        &json!({ "repositoryName": "team/app", "imageIds": [{ "imageTag": "1.0-again" }] }),
    );
    let digest = images["imageDetails"][0]["imageDigest"].as_str().unwrap();
    let read = registry.repository("team/app").manifest("1.0").wait();
    assert_eq!(read.unwrap().unwrap().digest.to_string(), digest);
    let again = push(&uploader, &registry, "team/app", "1.1", 1).unwrap();
    assert!(again.iter().all(|blob| blob.how() == How::Reused));
}

#[test]
fn a_layer_of_another_repository_is_mounted_where_the_account_wants_that() {
    let account = Account::new();
    account.repository("base").create();
    account.repository("team/app").create();
    let uploader = uploader();
    let registry = registry(&uploader, &account.host(), &account);
    let base = push(&uploader, &registry, "base", "1", 2).unwrap();
    let layer = base[1].descriptor().clone();
    let mount = || {
        let blob = Blob::known(layer.clone()).mounted_from(["base".to_owned()]);
        registry.repository("team/app").push(blob).wait()
    };
    assert!(matches!(mount().unwrap_err().cause(), Cause::NotThere));
    let (status, answer) = account.ecr(
        "PutAccountSetting",
        &json!({ "name": "BLOB_MOUNTING", "value": "ENABLED" }),
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!(mount().unwrap().how(), How::Mounted);
}

#[test]
fn a_repository_that_is_not_there_is_an_error_with_advice() {
    let account = Account::new();
    let uploader = uploader();
    let registry = registry(&uploader, &account.host(), &account);
    let pushed = registry.repository("missing").push(Blob::bytes("x".into()));
    let error = pushed.wait().unwrap_err();
    assert!(
        error.hint().unwrap().contains("create it first"),
        "{}",
        text(&error)
    );
}

#[test]
fn a_token_that_expires_on_the_way_is_an_error_with_advice() {
    let account = Account::new();
    account.repository("team/app").create();
    account.command(&Command::NextTokenGoodFor { requests: 4 });
    let uploader = uploader();
    let registry = registry(&uploader, &account.host(), &account);
    let error = push(&uploader, &registry, "team/app", "1.0", 3).unwrap_err();
    assert!(!error.is_temporary());
    assert!(text(&error).contains("403 Forbidden"), "{}", text(&error));
}

#[test]
fn a_right_that_is_missing_is_an_error_at_once() {
    let account = Account::new();
    account.repository("team/app").create();
    account.deny("ecr:PutImage");
    let uploader = uploader();
    let registry = registry(&uploader, &account.host(), &account);
    let error = push(&uploader, &registry, "team/app", "1.0", 4).unwrap_err();
    assert_eq!(error.tries(), 1);
    assert!(text(&error).contains("ecr:PutImage"), "{}", text(&error));
}

#[test]
fn a_frozen_tag_of_another_image_is_an_error_and_of_the_same_image_is_none() {
    let account = Account::new();
    account.repository("team/app").immutable().create();
    let uploader = uploader();
    let registry = registry(&uploader, &account.host(), &account);
    push(&uploader, &registry, "team/app", "1.0", 5).unwrap();
    push(&uploader, &registry, "team/app", "1.0", 5).unwrap();
    let error = push(&uploader, &registry, "team/app", "1.0", 6).unwrap_err();
    assert!(text(&error).contains("cannot be overwritten because the tag is immutable"));
}

#[test]
fn faults_on_the_way_are_recovered_from() {
    let account = Account::new();
    account.repository("team/app").create();
    let throttled = || Answer::Error {
        status: 429,
        code: "TOOMANYREQUESTS".to_owned(),
        message: "Rate exceeded".to_owned(),
    };
    let broken = || Answer::Error {
        status: 500,
        code: String::new(),
        message: String::new(),
    };
    for (method, resource, answer) in [
        ("HEAD", Resource::Blob, broken()),
        ("POST", Resource::Upload, throttled()),
        ("POST", Resource::Upload, Answer::Close),
        ("PATCH", Resource::Upload, Answer::Close),
        ("PUT", Resource::Upload, broken()),
        ("PUT", Resource::Manifest, throttled()),
        ("PUT", Resource::Manifest, Answer::Close),
        ("GET", Resource::Manifest, Answer::Late(300)),
    ] {
        account.registry_fault(method, resource, 1, answer);
    }
    let lagging = Answer::Error {
        status: 404,
        code: "BLOB_UNKNOWN".to_owned(),
        message: "blob unknown to registry".to_owned(),
    };
    account.fault(Fault {
        on: On::Registry("PUT".to_owned(), Resource::Manifest),
        repository: None,
        skip: 0,
        times: 3,
        answer: lagging,
    });
    let uploader = uploader();
    let registry = registry(&uploader, &account.host(), &account);
    push(&uploader, &registry, "team/app", "1.0", 7).unwrap();
}

/// A token of ECR Public, whose API is another.
fn public_password(account: &Account) -> String {
    let credential = names::access_key(account.number());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={credential}/20260101/us-east-1/ecr-public/aws4_request"
    );
    let headers = [
        (
            "X-Amz-Target",
            "SpencerFrontendService.GetAuthorizationToken",
        ),
        ("Content-Type", "application/x-amz-json-1.1"),
        ("Authorization", authorization.as_str()),
    ];
    let endpoint = std::env::var("RIG_AWS").unwrap();
    let (_, answer) = aws_stand_in::send("POST", &endpoint, &headers, "{}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let token = &answer["authorizationData"]["authorizationToken"];
    let pair = STANDARD.decode(token.as_str().unwrap()).unwrap();
    let pair = String::from_utf8(pair).unwrap();
    pair.strip_prefix("AWS:").unwrap().to_owned()
}

#[test]
fn ecr_public_is_pushed_to_with_a_token_of_its_token_service() {
    let account = Account::new();
    account.repository("app").in_region("public").create();
    let public = account.public();
    let (host, alias) = public.split_once('/').unwrap();
    let uploader = uploader();
    let mut settings = RegistrySettings::new(host);
    settings.credentials = Credentials::Basic {
        user: "AWS".to_owned(),
        password: public_password(&account).into(),
    };
    let registry = uploader.registry(settings).unwrap();
    push(&uploader, &registry, &format!("{alias}/app"), "1.0", 8).unwrap();
}
