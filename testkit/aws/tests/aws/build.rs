//! Real buildx and real BuildKit before the registry, under ECR's real host names, over TLS.

use std::path::Path;
use std::process::Command;

use aws_stand_in::{Account, Command as Tell};
use serde_json::json;
use tempfile::TempDir;

use crate::wire::variable;

/// Plain buildx with a Docker configuration and a context of its own.
struct Buildx {
    folder: TempDir,
}

impl Buildx {
    /// The context gives an image with a layer that no other has.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = format!(
            "FROM {}/rig/busybox:latest\nCOPY data /data\nRUN wc -c /data\n",
            variable("RIG_REGISTRY")
        );
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        let mut random = std::fs::File::open("/dev/urandom").unwrap();
        let mut data = vec![0; 300_000];
        std::io::Read::read_exact(&mut random, &mut data).unwrap();
        std::fs::write(folder.path().join("data"), data).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it succeeded, and what it said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(variable("RIG_BUILDX"))
            .args(arguments)
            .current_dir(self.path())
            .env("DOCKER_CONFIG", self.path())
            .env("SSL_CERT_FILE", variable("RIG_AWS_CA"))
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let (succeeded, log) = self.run(arguments);
        assert!(succeeded, "{log}");
        log
    }

    fn fail(&self, arguments: &[&str]) -> String {
        let (succeeded, log) = self.run(arguments);
        assert!(!succeeded, "{log}");
        log
    }
}

fn with_repository() -> (Account, Buildx, String) {
    let account = Account::new();
    account.repository("team/app").create();
    let buildx = Buildx::new();
    account.log_in(buildx.path());
    let image = format!("{}/team/app", account.host());
    (account, buildx, image)
}

#[test]
fn an_image_goes_there_and_back_with_its_bytes_counted() {
    let (account, buildx, image) = with_repository();
    let tag = format!("{image}:1");
    buildx.succeed(&["build", "--push", "--tag", &tag, "."]);
    buildx.succeed(&["imagetools", "inspect", &tag]);
    let pushed: u64 = account
        .requests()
        .iter()
        .map(|request| request.request_bytes)
        .sum();
    let (_, described) = account.ecr(
        "DescribeImages",
        &json!({ "repositoryName": "team/app", "imageIds": [{ "imageTag": "1" }] }),
    );
    let size = described["imageDetails"][0]["imageSizeInBytes"]
        .as_u64()
        .unwrap();
    // Attestations and manifests are some kilobytes more.
    assert!(
        size > 1_000_000 && (size..size + 20_000).contains(&pushed),
        "{size} {pushed}"
    );
    // What came back is what went there.
    let before = account.requests().len();
    let docker = |arguments: &[&str]| {
        let output = Command::new(variable("RIG_DOCKER"))
            .args(arguments)
            .env("DOCKER_CONFIG", buildx.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    docker(&["image", "rm", &tag]);
    docker(&["pull", "--quiet", &tag]);
    docker(&["image", "rm", &tag]);
    assert!(
        account.requests()[before..]
            .iter()
            .all(|request| matches!(request.status, 200 | 401))
    );
}

#[test]
fn a_missing_repository_looks_like_a_fault_of_the_network() {
    let (_, buildx, image) = with_repository();
    let log = buildx.fail(&["build", "--push", "--tag", &format!("{image}-typo:1"), "."]);
    let last = log
        .lines()
        .rfind(|line| line.starts_with("ERROR: "))
        .unwrap();
    assert!(
        last.contains("/v2/team/app-typo/blobs/uploads/\": EOF"),
        "{last}"
    );
}

#[test]
fn a_whole_cache_is_taken_as_an_image_and_refused_as_an_index_in_2021() {
    let (account, buildx, image) = with_repository();
    account.command(&Tell::RefuseIndexCache);
    let to = |attributes: &str| {
        format!("--cache-to=type=registry,ref={image}:cache,mode=max,{attributes}")
    };
    let log = buildx.fail(&[
        "build",
        &to("image-manifest=false,oci-mediatypes=true"),
        ".",
    ]);
    let last = log
        .lines()
        .rfind(|line| line.starts_with("ERROR: "))
        .unwrap();
    assert!(
        last.contains("error writing manifest blob: failed commit on ref"),
        "{last}"
    );
    assert!(
        last.contains(":443/v2/") || last.contains("/v2/team/app/manifests/cache: 400 Bad Request"),
        "{last}"
    );
    buildx.succeed(&["build", &to("image-manifest=true,oci-mediatypes=true"), "."]);
    let log = buildx.succeed(&[
        "build",
        &format!("--cache-from=type=registry,ref={image}:cache"),
        ".",
    ]);
    assert!(log.contains("importing cache manifest from"), "{log}");
}

#[test]
fn a_push_fails_when_its_token_has_expired_and_goes_on_with_the_next() {
    let (account, buildx, image) = with_repository();
    account.command(&Tell::NextTokenGoodFor { requests: 8 });
    account.log_in(buildx.path());
    let tag = format!("{image}:1");
    let log = buildx.fail(&["build", "--push", "--tag", &tag, "."]);
    assert!(
        log.contains("403 Forbidden") || log.contains("authorization token has expired"),
        "{log}"
    );
    account.log_in(buildx.path());
    buildx.succeed(&["build", "--push", "--tag", &tag, "."]);
    let tokens: Vec<_> = account
        .requests()
        .iter()
        .filter_map(|request| request.token)
        .collect();
    assert_eq!(tokens.iter().filter(|token| **token == 2).count(), 8);
    assert!(tokens.contains(&3));
}

#[test]
fn an_immutable_tag_is_refused_after_all_layers_went_up() {
    let account = Account::new();
    account.repository("team/app").immutable().create();
    let tag = format!("{}/team/app:1", account.host());
    for attempt in 0..2 {
        let buildx = Buildx::new();
        account.log_in(buildx.path());
        let (succeeded, log) = buildx.run(&["build", "--push", "--tag", &tag, "."]);
        assert_eq!(succeeded, attempt == 0, "{log}");
        if !succeeded {
            assert!(
                log.contains("cannot be overwritten because the tag is immutable"),
                "{log}"
            );
        }
    }
}

/// A builder in a container of its own, which has nothing of what the Engine has.
#[test]
fn a_builder_of_its_own_pulls_and_pushes_once_it_trusts_the_authority() {
    let (account, buildx, image) = with_repository();
    buildx.succeed(&["build", "--push", "--tag", &format!("{image}:base"), "."]);
    let base = account.requests();
    let size = base
        .iter()
        .map(|request| request.request_bytes)
        .max()
        .unwrap();
    let dockerfile = format!("FROM {image}:base\nRUN wc -c /data\n");
    std::fs::write(buildx.path().join("Dockerfile"), dockerfile).unwrap();
    let toml = buildx.path().join("buildkitd.toml");
    let text = format!(
        "[registry.\"{}\"]\n  ca = [\"{}\"]\n",
        account.host(),
        variable("RIG_AWS_CA")
    );
    std::fs::write(&toml, text).unwrap();
    let builder = format!("aws-{}", account.number());
    let options = format!(
        "--driver-opt=image={}/rig/buildkit:latest,network=host",
        variable("RIG_REGISTRY")
    );
    let trust = format!("--buildkitd-config={}", toml.display());
    let create = [
        "create",
        "--name",
        &builder,
        "--driver=docker-container",
        &options,
    ];
    let tag = format!("{image}:1");
    let build = [
        "build",
        "--builder",
        &builder,
        "--network=host",
        "--push",
        "--tag",
        &tag,
        ".",
    ];
    buildx.succeed(&create);
    let (_, refused) = buildx.run(&build);
    buildx.succeed(&["rm", &builder]);
    buildx.succeed(&[&create[..], &[&trust]].concat());
    let (succeeded, log) = buildx.run(&build);
    buildx.succeed(&["rm", &builder]);
    assert!(
        refused.contains("x509: certificate signed by unknown authority"),
        "{refused}"
    );
    assert!(succeeded, "{log}");
    let after = &account.requests()[base.len()..];
    let pulled: u64 = after.iter().map(|request| request.response_bytes).sum();
    assert!(
        (size..size + 1_200_000).contains(&pulled),
        "{size} {pulled}"
    );
}
