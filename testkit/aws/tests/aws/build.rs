//! Real buildx and real BuildKit before the registry, under ECR's real host names, over TLS.

use std::path::Path;
use std::process::Command;

use aws_stand_in::Account;
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
