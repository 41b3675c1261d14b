//! Runs of the action on the rig's Engine, as a user has them: inputs in, timings out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::observer::{self, Use};

const BINARY: &str = env!("CARGO_BIN_EXE_fast-ecr-push");

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    /// The whole run, from the start of the action's process to its end.
    pub seconds: f64,
    /// BuildKit's export, in it.
    pub export: f64,
    /// Bytes that the push engine sent.
    pub sent: Option<u64>,
    pub used: Use,
}

/// A workspace with a Dockerfile.
pub(super) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        for name in ["bin", "context", "temp", "step"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(variable("RIG_BUILDX"), root.join("bin/buildx")).unwrap();
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let step = root.join(format!("step/fast-ecr-push-step-{architecture}"));
        std::fs::copy(variable("STEP"), step).expect("the step is built: `make bench`");
        // The generator of files, for the Dockerfile.
        let generator = std::env::current_exe().unwrap();
        std::fs::copy(generator, root.join("context/generate")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file into the context.
    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("context").join(name), text).unwrap();
    }

    /// The build context's folder.
    pub(super) fn context(&self) -> String {
        self.path("context").display().to_string()
    }

    /// Runs the action with inputs, names and values.
    pub(super) fn run(&self, inputs: &[(&str, String)]) -> Run {
        let timings = self.path("timings.json");
        let mut command = Command::new(BINARY);
        command
            .current_dir(self.path("context"))
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("RUNNER_TEMP", self.path("temp"))
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("FAST_ECR_PUSH_STEP", self.path("step"))
            .env("INPUT_TIMINGS-FILE", &timings)
            .env("INPUT_CONTEXT", ".")
            .env("INPUT_CACHE", "none")
            .stdin(Stdio::null());
        for (name, value) in inputs {
            command.env(format!("INPUT_{}", name.to_uppercase()), value);
        }
        let ((output, seconds), used) = observer::during(|| {
            let started = Instant::now();
            let output = command.output().unwrap();
            (output, started.elapsed().as_secs_f64())
        });
        let log = String::from_utf8_lossy(&output.stderr);
        let log = format!("{log}{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{log}");
        if std::env::var_os("BENCH_PUSH_LOG").is_some() {
            eprintln!("{log}");
        }
        let image = read(&timings)["images"][0].clone();
        let by_engine = inputs
            .iter()
            .any(|(name, value)| (*name, value.as_str()) == ("accelerate", "on"));
        let sent = image["pushed_bytes"].as_u64();
        assert_eq!(sent.is_some(), by_engine, "{log}");
        Run {
            seconds,
            export: image["phases"]["export"]["partition_ms"]
                .as_f64()
                .unwrap_or(0.0)
                / 1e3,
            sent,
            used,
        }
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Runs one of the rig's programs.
pub(super) fn program(path: &str, arguments: &[&str]) -> f64 {
    let started = Instant::now();
    let output = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    seconds
}

pub(super) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make bench` starts the rig"))
}
