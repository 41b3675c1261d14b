//! One run of the action, and what it took.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::traffic;

const BINARY: &str = env!("CARGO_BIN_EXE_fast-ecr-push");

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    pub steps: usize,
    pub bytes: u64,
    /// Without the builder's start, which is the same for all.
    pub seconds: f64,
}

/// An image to be built again and again in one way, and where.
pub(super) struct Bench {
    folder: tempfile::TempDir,
    inputs: BTreeMap<String, String>,
}

impl Bench {
    pub(super) fn new(
        mark: &str,
        dockerfile: fn(&str, &str) -> String,
        inputs: &[(&str, &str)],
        keeps: bool,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let registry = variable("RIG_REGISTRY");
        let repository = format!("{registry}/bench/{mark}");
        let root = folder.path();
        for name in ["bin", "context", "temp"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(variable("RIG_BUILDX"), root.join("bin/buildx")).unwrap();
        // Another image's steps are not this one's.
        let dockerfile = dockerfile(&format!("{registry}/rig/python:3.11"), mark);
        std::fs::write(root.join("context/Dockerfile"), dockerfile).unwrap();
        let mut all = BTreeMap::from([
            ("context".to_owned(), ".".to_owned()),
            ("network".to_owned(), "none".to_owned()),
            ("tags".to_owned(), format!("{repository}:1")),
        ]);
        if keeps {
            let status = Command::new(variable("RIG_BUILDX"))
                .args(["prune", "--builder", "default", "--all", "--force"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            assert!(status.unwrap().success(), "the disk could not be emptied");
        } else {
            let options = format!("image={registry}/rig/buildkit:latest\nnetwork=host");
            all.insert("driver".to_owned(), "docker-container".to_owned());
            all.insert("driver-opts".to_owned(), options);
        }
        for (name, value) in inputs {
            let value = value.replace("CACHE", &format!("{repository}:gha-cache"));
            all.insert((*name).to_owned(), value);
        }
        Self {
            folder,
            inputs: all,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn run(&self, code: &str, dependencies: &str) -> Cost {
        std::fs::write(self.path("context/app.py"), format!("print({code:?})\n")).unwrap();
        std::fs::write(self.path("context/requirements.txt"), dependencies).unwrap();
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
            .env("INPUT_TIMINGS-FILE", &timings)
            .stdin(Stdio::null());
        for (name, value) in &self.inputs {
            command.env(format!("INPUT_{}", name.to_uppercase()), value);
        }
        let (traffic, output) = traffic::during(|| command.output().unwrap());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let image = read(&timings)["images"][0].clone();
        let phase = |name: &str| image["phases"][name]["partition_ms"].as_f64().unwrap();
        let steps = image["steps"].as_array().unwrap().iter();
        let ran = steps.filter(|step| step["phase"] == "build" && step["cached"] == false);
        let up: u64 = traffic
            .all_uploaded()
            .iter()
            .map(|(path, digest)| size(path, digest))
            .sum();
        Cost {
            steps: ran.count(),
            bytes: traffic.bytes_down() + up,
            seconds: (image["total_ms"].as_f64().unwrap() - phase("builder")) / 1e3,
        }
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Size of a blob that the registry has.
fn size(repository: &str, digest: &str) -> u64 {
    use std::io::{Read as _, Write as _};
    let host = variable("RIG_REGISTRY");
    let mut stream = std::net::TcpStream::connect(&host).unwrap();
    write!(
        stream,
        "HEAD /v2/{repository}/blobs/{digest} HTTP/1.0\r\nHost: {host}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let length = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().unwrap())
    });
    length.expect("the blob is there")
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make bench` starts the rig"))
}
