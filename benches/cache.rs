//! What each cache costs and spares: `make bench`.
//!
//! An image of the large example's shape (`examples/large-python-image`: Python, dependencies, code)
//! is built on a BuildKit whose disk is new in every run, and on one that keeps its disk: first
//! everything, then with other code, then with other dependencies. Prints steps run, bytes moved (from
//! the registry's access log) and seconds as a table; exits with 1 when `auto` is beaten.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a benchmark starts processes, reads the rig's variables and prints"
)]

#[path = "../tests/e2e/traffic.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_fast-ecr-push");

/// Size of the dependencies (bytes). They don't compress.
const DEPENDENCIES: u32 = 60_000_000;

/// Manifests and configurations of a cache (bytes): what one kind has more of them than another is
/// no matter.
const SLACK: u64 = 100_000;

/// A way to build: its name, the inputs, and whether the builder keeps its disk.
type Way = (&'static str, &'static [(&'static str, &'static str)], bool);

const WAYS: &[Way] = &[
    ("none", &[("cache", "none")], false),
    (
        "inline",
        &[("cache", "inline"), ("cache-ref", "CACHE")],
        false,
    ),
    (
        "registry, min",
        &[("cache", "registry"), ("cache-mode", "min")],
        false,
    ),
    (
        "registry, max",
        &[("cache", "registry"), ("cache-mode", "max")],
        false,
    ),
    ("**auto**", &[], false),
    ("own disk", &[("cache", "none")], true),
    ("own disk, **auto**", &[], true),
];

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    steps: usize,
    bytes: u64,
    /// Without the builder's start, which is the same for all.
    seconds: f64,
}

fn main() -> ExitCode {
    let mut costs: Vec<[Cost; 3]> = Vec::new();
    println!(
        "| Cache | first build: steps | MB | s | code changed: steps | MB | s | dependencies changed: steps | MB | s |"
    );
    println!("| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    for (index, (name, inputs, keeps)) in WAYS.iter().enumerate() {
        let bench = Bench::new(index, inputs, *keeps);
        let runs = [("one", "one"), ("two", "one"), ("two", "two")];
        let of = runs.map(|(code, dependencies)| bench.run(code, dependencies));
        let cells = of.map(|cost| {
            format!(
                "{} | {:.1} | {:.1}",
                cost.steps,
                cost.bytes as f64 / 1e6,
                cost.seconds
            )
        });
        println!("| {name} | {} |", cells.join(" | "));
        costs.push(of);
    }
    let mut beaten = false;
    for (index, (name, _, keeps)) in WAYS
        .iter()
        .enumerate()
        .filter(|(_, way)| way.0.contains("auto"))
    {
        let others = WAYS
            .iter()
            .enumerate()
            .filter(|(_, way)| way.2 == *keeps && !way.0.contains("auto"));
        let others: Vec<usize> = others.map(|(index, _)| index).collect();
        for (change, auto) in costs[index].iter().enumerate().skip(1) {
            let best = |of: fn(&Cost) -> u64| {
                others
                    .iter()
                    .map(|other| of(&costs[*other][change]))
                    .min()
                    .unwrap()
            };
            let (steps, bytes) = (best(|cost| cost.steps as u64), best(|cost| cost.bytes));
            if auto.steps as u64 > steps || auto.bytes > bytes + SLACK {
                eprintln!("{name}: {auto:?}, but the best is {steps} steps and {bytes} bytes");
                beaten = true;
            }
        }
    }
    ExitCode::from(u8::from(beaten))
}

struct Bench {
    folder: tempfile::TempDir,
    inputs: BTreeMap<String, String>,
}

impl Bench {
    fn new(index: usize, inputs: &[(&str, &str)], keeps: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let registry = variable("RIG_REGISTRY");
        let repository = format!("{registry}/bench/cache-{index}");
        let root = folder.path();
        for name in ["bin", "context", "temp"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(variable("RIG_BUILDX"), root.join("bin/buildx")).unwrap();
        // Another way's steps are not this one's.
        let dockerfile = format!(
            "FROM {registry}/rig/python:3.11\nENV WAY={index}\nWORKDIR /app\nCOPY requirements.txt .\n\
             RUN head -c {DEPENDENCIES} /dev/urandom > packages && cat requirements.txt >> packages\n\
             COPY --link app.py /app/\nUSER 65534\nCMD [\"python\", \"app.py\"]\n"
        );
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

    fn run(&self, code: &str, dependencies: &str) -> Cost {
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
