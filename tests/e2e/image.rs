//! The action's image, built once from the repository's Dockerfile, with stages replaced where a pull would be needed.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::rig::{registry, variable};

/// Name of the image in the rig's Engine, built at the first call: our binary as the tests have it, the rig's buildx,
/// on a base that has a C library.
pub(crate) fn built() -> &'static str {
    const NAME: &str = "fast-ecr-push-e2e/action:1";
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let context = |name: &str, file: &str, from: &Path| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::copy(from, path.join(file)).unwrap();
            format!("{name}={}", path.display())
        };
        let python = format!("docker-image://{}/rig/python:3.11", registry());
        let contexts = [
            context(
                "compile",
                "fast-ecr-push",
                Path::new(env!("CARGO_BIN_EXE_fast-ecr-push")),
            ),
            context("buildx", "buildx", Path::new(&variable("RIG_BUILDX"))),
            format!("toolchain={python}"),
            format!("base={python}"),
        ];
        let mut build = Command::new(variable("RIG_BUILDX"));
        build.args(["build", "--provenance=false", "--load", "--tag", NAME]);
        for context in &contexts {
            build.args(["--build-context", context]);
        }
        let output = build
            .args([
                "--build-arg",
                &format!("BUILDX_VERSION={}", buildx_version()),
                ".",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("DOCKER_CONFIG", folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    NAME
}

/// The version of the rig's buildx, as `0.29.1`.
fn buildx_version() -> String {
    let output = Command::new(variable("RIG_BUILDX"))
        .arg("version")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split(' ').nth(1).expect("name, version, commit");
    version
        .trim_start_matches('v')
        .split(['+', '-'])
        .next()
        .unwrap()
        .to_owned()
}
