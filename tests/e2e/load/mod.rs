//! Load: many runs at once, and many in a row. Each run is a process of its own, as on a runner, with its post step. All have one
//! home, one temporary folder and one Engine.
//!
//! `make load` runs this, and the same in a cluster (testkit/kubernetes/tests/driver/stand_in/load.rs);
//! `make load WRITE_TABLES=1` writes the tables of docs/load.md.

mod job;
pub(crate) mod machine;
mod many;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::registry::get;
use crate::rig::{busybox, container_options, registry, variable};
use crate::runner::docker;
use job::Job;
use machine::Server;
use many::{Crowd, InARow, Sample, THREADS, publish, runs};
use table::{Bound, growing};

const AT_ONCE: usize = 50;
const IN_A_ROW: usize = 500;
/// Of runs in a row each such one has a builder of its own in a container.
const OWN_BUILDER: usize = 10;
/// So many different images are built in a row. Then all is in BuildKit's cache.
const IMAGES: usize = 10;

const PAGE: &str = "docs/load.md";

const REPOSITORY: &str = "load/app";

const RECORDS: &str = "records of BuildKit's cache";
const SIZE: &str = "their size (MB)";

/// A machine with the rig's Engine.
struct Machine {
    folder: TempDir,
    engine: Server,
    containerd: Server,
    registry: Server,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in ["bin", "home", "temp", "tmp", "step", "files"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(variable("RIG_BUILDX"), path.join("bin/buildx")).unwrap();
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let step = format!("step/fast-ecr-push-step-{architecture}");
        std::fs::copy(variable("STEP"), path.join(step)).unwrap();
        let of_engine = variable("DOCKER_HOST").replace("unix://", "");
        let of_engine = Path::new(&of_engine)
            .parent()
            .unwrap()
            .display()
            .to_string();
        let of_registry = variable("RIG_REGISTRY_LOG");
        let of_registry = Path::new(&of_registry).parent().unwrap();
        buildx(&["prune", "--all", "--force"]);
        Self {
            engine: Server::find("dockerd", &of_engine),
            containerd: Server::find("containerd", &of_engine),
            registry: Server::find("docker-registry", &of_registry.display().to_string()),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds and pushes an image with a file of this content.
    fn run(&self, content: usize, tag: &str, inputs: &[(&str, &str)]) -> Job {
        let context = self.path(&format!("context-{content}"));
        std::fs::create_dir_all(&context).unwrap();
        let dockerfile = format!("FROM {}\nCOPY content /content\n", busybox());
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        // The same file as before is none that has changed.
        let file = context.join("content");
        if !file.exists() {
            std::fs::write(file, format!("{content}\n").repeat(1000)).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let job = job::run(&self.path("files").join(tag), || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_fast-ecr-push"));
            command
                .env_clear()
                .current_dir(&context)
                .env("PATH", &path)
                .env("HOME", self.path("home"))
                .env("TMPDIR", self.path("tmp"))
                .env("RUNNER_TEMP", self.path("temp"))
                .env("DOCKER_HOST", variable("DOCKER_HOST"))
                .env("FAST_ECR_PUSH_STEP", self.path("step"))
                .env("INPUT_CONTEXT", ".")
                .env("INPUT_CACHE", "none")
                .env("INPUT_TAGS", format!("{}/{REPOSITORY}:{tag}", registry()));
            let inputs = inputs.iter();
            command.envs(
                inputs.map(|(name, value)| (format!("INPUT_{}", name.to_uppercase()), value)),
            );
            command
        });
        is_there(&job, REPOSITORY, tag);
        job
    }

    fn sample(&self) -> Sample {
        [self.left(), self.servers()].concat()
    }

    /// What there is besides servers: what runs could leave.
    fn left(&self) -> Sample {
        let lines = |arguments: &[&str]| docker(arguments).lines().count() as f64;
        let files =
            ["home", "temp", "tmp", "files"].map(|name| machine::below(&self.path(name)).len());
        vec![
            (
                "files in the home and in temporary folders",
                Bound::Same,
                files.iter().sum::<usize>() as f64,
            ),
            (
                "processes of runs",
                Bound::Same,
                machine::started_with(self.folder.path()).len() as f64,
            ),
            (
                "containers",
                Bound::Same,
                lines(&["ps", "--all", "--quiet"]),
            ),
            ("volumes", Bound::Same, lines(&["volume", "ls", "--quiet"])),
            (
                "networks",
                Bound::Same,
                lines(&["network", "ls", "--quiet"]),
            ),
            (
                "images of the Engine",
                Bound::Same,
                lines(&["image", "ls", "--all", "--quiet"]),
            ),
            (
                "processes below the Engine",
                Bound::Same,
                self.engine.children() as f64,
            ),
        ]
    }

    fn servers(&self) -> Sample {
        vec![
            (
                "descriptors of dockerd with BuildKit",
                Bound::Level,
                self.engine.descriptors() as f64,
            ),
            (THREADS, Bound::Level, self.engine.threads() as f64),
            (
                "descriptors of containerd",
                Bound::Level,
                self.containerd.descriptors() as f64,
            ),
            (
                "descriptors of the registry",
                Bound::Level,
                self.registry.descriptors() as f64,
            ),
        ]
    }
}

/// The registry has the image, under the digest that the run gave, and all parts of it.
fn is_there(job: &Job, repository: &str, tag: &str) {
    let (status, bytes) = get(&format!("/v2/{repository}/manifests/{tag}"));
    assert_eq!(status, 200, "{tag}: {}", job.log);
    let digest = |bytes: &[u8]| ::image::Digest::sha256(Sha256::digest(bytes).into()).to_string();
    assert_eq!(digest(&bytes), job.output("digest"), "{tag}: {}", job.log);
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    for part in layers.iter().chain([&manifest["config"]]) {
        let name = part["digest"].as_str().unwrap();
        let (status, bytes) = get(&format!("/v2/{repository}/blobs/{name}"));
        assert_eq!((status, digest(&bytes).as_str()), (200, name), "{tag}");
    }
}

/// Records of BuildKit's cache, and their size (MB).
fn records() -> (f64, f64) {
    let text = buildx(&["du", "--verbose"]);
    let number = text.lines().filter(|line| line.starts_with("ID:")).count();
    let total = text.lines().find_map(|line| line.strip_prefix("Total:"));
    (number as f64, megabytes(total.unwrap().trim()))
}

/// As buildx prints sizes: `401.4MB`.
fn megabytes(text: &str) -> f64 {
    let end = text.find(char::is_alphabetic).unwrap();
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().unwrap();
    match unit {
        "B" => number / 1e6,
        "kB" => number / 1e3,
        "MB" => number,
        "GB" => number * 1e3,
        other => panic!("a size in {other}"),
    }
}

fn buildx(arguments: &[&str]) -> String {
    let output = Command::new(variable("RIG_BUILDX"))
        .args(arguments)
        .args(["--builder", "default"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "takes minutes: `make load`"]
fn runs_at_once_on_one_engine_all_push_and_leave_nothing() {
    let machine = Machine::new();
    // The base image is pulled, and the Engine's own threads are there.
    machine.run(0, "first", &[("accelerate", "on")]);
    let crowd = Crowd::run(
        runs(AT_ONCE),
        |index| machine.run(index, &index.to_string(), &[("accelerate", "on")]),
        || machine.sample(),
    );
    assert!(crowd.jobs.iter().all(Job::is_by_engine));
    publish(PAGE, "engine-at-once", &crowd.table());
    assert_eq!(crowd.growing(), [""; 0]);
}

#[test]
#[ignore = "takes minutes: `make load`"]
fn runs_in_a_row_on_one_engine_leave_nothing_that_grows() {
    let machine = Machine::new();
    let own = container_options();
    let own = [
        ("driver", "docker-container"),
        ("driver-opts", own.as_str()),
    ];
    // The Engine has its image afterwards.
    machine.run(0, "own", &own);
    let row = InARow::run(
        runs(IN_A_ROW),
        |index| {
            let is_own = index % OWN_BUILDER == 0;
            let inputs = if is_own {
                &own[..]
            } else {
                &[("accelerate", "on")]
            };
            // Images of both kinds are the same ones again and again.
            let content = 1000 + index % IMAGES;
            let job = machine.run(content, &format!("row-{index}"), inputs);
            assert!(job.is_by_engine(), "{}", job.log);
            job
        },
        || {
            let (number, megabytes) = records();
            let mut sample = machine.sample();
            sample.extend([
                (RECORDS, Bound::Free, number),
                (SIZE, Bound::Free, megabytes),
            ]);
            sample
        },
    );
    publish(PAGE, "engine-in-a-row", &row.table());
    assert_eq!(growing(&row.rows), [""; 0]);
    // What the push engine's step is given, and its root: a new step each time, which BuildKit keeps until its disk is short.
    let (number, megabytes) = (row.growth(RECORDS), row.growth(SIZE));
    let pushes = runs(IN_A_ROW) as f64;
    assert!(
        number <= 2.0 * pushes,
        "{number} records of {pushes} pushes"
    );
    assert!(
        megabytes <= 0.04 * pushes,
        "{megabytes} MB of {pushes} pushes"
    );
}
