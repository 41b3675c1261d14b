//! The action's image, built from the repository's Dockerfile with stages replaced where a pull would be needed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::rig::{registry, variable};

/// Name of the image in the rig's Engine, built at the first call: our binary as the tests have it, the rig's buildx,
/// on a base that has a C library.
pub(crate) fn built() -> &'static str {
    const NAME: &str = "fast-ecr-push-e2e/action:1";
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let build = Build::new()
            .files(
                "compile",
                &[
                    (
                        "fast-ecr-push",
                        Path::new(env!("CARGO_BIN_EXE_fast-ecr-push")),
                    ),
                    ("fast-ecr-push-step", Path::new(&variable("STEP"))),
                ],
            )
            .replaced("toolchain", &python())
            .replaced("base", &python());
        build.run(
            &["--load", "--tag", NAME],
            Path::new(env!("CARGO_MANIFEST_DIR")),
        );
    });
    NAME
}

/// The rig's image that has a C library.
pub(crate) fn python() -> String {
    format!("docker-image://{}/rig/python:3.11", registry())
}

/// A build of the repository's Dockerfile by plain buildx.
pub(crate) struct Build {
    folder: TempDir,
    contexts: Vec<String>,
}

impl Build {
    /// With the rig's buildx instead of the one that would be pulled.
    pub(crate) fn new() -> Self {
        let build = Self {
            folder: tempfile::tempdir().unwrap(),
            contexts: Vec::new(),
        };
        build.files("buildx", &[("buildx", Path::new(&variable("RIG_BUILDX")))])
    }

    /// Replaces a stage by a folder with files.
    pub(crate) fn files(self, stage: &str, files: &[(&str, &Path)]) -> Self {
        let path = self.folder.path().join(stage);
        std::fs::create_dir(&path).unwrap();
        for (name, from) in files {
            std::fs::copy(from, path.join(name)).unwrap();
        }
        let path = path.display().to_string();
        self.replaced(stage, &path)
    }

    /// Replaces a stage by an image or a folder.
    pub(crate) fn replaced(mut self, stage: &str, by: &str) -> Self {
        self.contexts.push(format!("{stage}={by}"));
        self
    }

    /// Builds a folder's Dockerfile; what buildx says of the result.
    pub(crate) fn run(&self, arguments: &[&str], context: &Path) -> serde_json::Value {
        let metadata: PathBuf = self.folder.path().join("metadata.json");
        let mut build = Command::new(variable("RIG_BUILDX"));
        build.args(["build", "--provenance=false", "--metadata-file"]);
        build.arg(&metadata);
        for context in &self.contexts {
            build.args(["--build-context", context]);
        }
        let version = format!("BUILDX_VERSION={}", buildx_version());
        let output = build
            .args(["--build-arg", &version])
            .args(arguments)
            .arg(context)
            .env("DOCKER_CONFIG", self.folder.path())
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap()
    }
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

#[test]
fn an_image_has_the_steps_of_other_architectures_that_a_release_brings() {
    let built = |build: Build, target: &str| {
        let into = tempfile::tempdir().unwrap();
        let output = format!("type=local,dest={}", into.path().display());
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        build.run(&["--target", target, "--output", &output], source);
        let mut names: Vec<String> = std::fs::read_dir(into.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("fast-ecr-push-step-"))
            .collect();
        names.sort();
        names
    };
    let program = variable("STEP");
    let build = || {
        Build::new()
            .files(
                "compile",
                &[
                    (
                        "fast-ecr-push",
                        Path::new(env!("CARGO_BIN_EXE_fast-ecr-push")),
                    ),
                    ("fast-ecr-push-step", Path::new(&program)),
                ],
            )
            .replaced("toolchain", &python())
    };
    assert_eq!(built(build(), "step"), ["fast-ecr-push-step-amd64"]);
    let other = [("fast-ecr-push-step-arm64", Path::new(&program))];
    assert_eq!(
        built(build().files("steps", &other), "step"),
        ["fast-ecr-push-step-amd64", "fast-ecr-push-step-arm64"]
    );
}
