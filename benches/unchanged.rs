//! What `skip-unchanged` takes: `make bench`.
//!
//! The release binary on the rig, with a context of 5,000 files and a registry that is 20 ms away (a front that holds back every byte):
//! a hit, and a miss against the same build without the input. Then a folder of 1.5 GB is hashed. Prints medians and how they stand to
//! the targets; exits with 1 when one is missed.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark starts processes, reads the rig's variables and prints"
)]

#[path = "../tests/e2e/image.rs"]
mod image;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use dockerfile::Ignore;
use key::{Folder, Limits, Progress};

const BINARY: &str = env!("CARGO_BIN_EXE_fast-ecr-push");
const RUNS: usize = 7;
const FILES: usize = 5_000;
/// There and back.
const AWAY: Duration = Duration::from_millis(20);

/// Seconds from `docker run` to the end.
const SLOWEST_HIT: f64 = 1.5;
/// Seconds that a miss takes more.
const SLOWEST_MISS: f64 = 0.2;
/// Bytes per second.
const SLOWEST_HASH: f64 = 1e9;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let front = front(&variable("RIG_REGISTRY"));
    let bench = Bench::prepare(folder.path(), &front);
    let mut missed = Vec::new();
    let mut check = |name: &'static str, value: String, met: bool| {
        println!(
            "{name:<60} {value:>12}  {}",
            if met { "ok" } else { "MISSED" }
        );
        if !met {
            missed.push(name);
        }
    };

    // The first build fills the builder's cache, and leaves a key.
    bench.run("true");
    let hit = median((0..RUNS).map(|_| bench.hit()).collect());
    let image = image::built();
    container(image);
    let start = median((0..RUNS).map(|_| container(image)).collect());
    println!("{:<60} {:>12}", "a hit", seconds(hit));
    println!(
        "{:<60} {:>12}",
        "`docker run`, without a run",
        seconds(start)
    );
    check(
        "from `docker run` to the end of a hit (target 1.5 s)",
        seconds(start + hit),
        start + hit <= SLOWEST_HIT,
    );

    let mut more = Vec::new();
    for round in 0..RUNS {
        let without = bench.changed(round * 2, "false");
        let with = bench.changed(round * 2 + 1, "true");
        more.push(with - without);
    }
    let more = median(more);
    check(
        "what a miss takes more (target 0.2 s)",
        seconds(more),
        more <= SLOWEST_MISS,
    );

    let speed = median((0..3).map(|_| hash(folder.path())).collect());
    check(
        "hashing a context, all cores (target 1 GB/s)",
        format!("{:.2} GB/s", speed / 1e9),
        speed >= SLOWEST_HASH,
    );
    if missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("missed: {}", missed.join(", "));
        ExitCode::FAILURE
    }
}

/// What the image's build asks of the rig.
mod rig {
    pub(crate) use super::variable;

    pub(crate) fn registry() -> String {
        variable("RIG_REGISTRY")
    }
}

struct Bench {
    folder: PathBuf,
    registry: String,
}

impl Bench {
    fn prepare(folder: &Path, registry: &str) -> Self {
        let context = folder.join("context");
        for number in 0..FILES {
            let path = context.join(format!("app/{}/{number}.py", number % 100));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("value = {number}\n").repeat(100)).unwrap();
        }
        let bench = Self {
            folder: folder.to_owned(),
            registry: registry.to_owned(),
        };
        bench.copy_base();
        bench
    }

    /// Names are the builder's and ours alike.
    fn copy_base(&self) {
        let direct = variable("RIG_REGISTRY");
        let status = Command::new(variable("RIG_BUILDX"))
            .args(["imagetools", "create", "--tag"])
            .arg(format!("{}/bench/base:1", self.registry))
            .arg(format!("{direct}/rig/busybox:latest"))
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        let dockerfile = format!("FROM {}/bench/base:1\nCOPY . /app\n", self.registry);
        std::fs::write(self.folder.join("context/Dockerfile"), dockerfile).unwrap();
    }

    /// A run, in seconds, and its outputs.
    fn run(&self, skip: &str) -> (f64, String) {
        let output = self.folder.join("output");
        let _ = std::fs::remove_file(&output);
        let buildx = self.folder.join("bin");
        std::fs::create_dir_all(&buildx).unwrap();
        let _ = std::os::unix::fs::symlink(variable("RIG_BUILDX"), buildx.join("buildx"));
        let begin = Instant::now();
        let ended = Command::new(BINARY)
            .current_dir(self.folder.join("context"))
            .env("PATH", format!("{}:/usr/bin:/bin", buildx.display()))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", self.folder.join("summary"))
            .env("RUNNER_TEMP", &self.folder)
            .env("FAST_ECR_PUSH_BUILDX_VERSION", "0.29.1")
            .env("INPUT_CONTEXT", ".")
            .env("INPUT_TAGS", format!("{}/bench/unchanged:1", self.registry))
            .env("INPUT_CACHE", "none")
            .env("INPUT_ACCELERATE", "off")
            .env("INPUT_SKIP-UNCHANGED", skip)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let took = begin.elapsed().as_secs_f64();
        let log = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{log}");
        let outputs = std::fs::read_to_string(&output).unwrap();
        (took, format!("{log}\n{outputs}"))
    }

    fn hit(&self) -> f64 {
        let (took, said) = self.run("true");
        assert!(said.contains("nothing was built"), "{said}");
        took
    }

    /// A build of a context with one other file.
    fn changed(&self, round: usize, skip: &str) -> f64 {
        let path = self.folder.join("context/app/0/0.py");
        std::fs::write(path, format!("round = {round}\n")).unwrap();
        let (took, said) = self.run(skip);
        assert!(!said.contains("nothing was built"), "{said}");
        took
    }
}

/// Seconds of a container that has nothing to do.
fn container(image: &str) -> f64 {
    let begin = Instant::now();
    let status = Command::new(variable("RIG_DOCKER"))
        .args(["run", "--rm", image, "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    begin.elapsed().as_secs_f64()
}

/// Bytes per second of a folder of large and small files.
fn hash(folder: &Path) -> f64 {
    let folder = folder.join("large");
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        for number in 0_usize..1_500 {
            let content = vec![number.to_le_bytes()[0]; 1 << 19];
            std::fs::write(folder.join(number.to_string()), content).unwrap();
        }
        std::fs::write(folder.join("large"), vec![1_u8; 750 << 20]).unwrap();
    }
    let begin = Instant::now();
    let read = Folder::read(
        &folder,
        &Ignore::default(),
        Limits::default(),
        &Progress::default(),
    );
    let (_, bytes) = read.unwrap().size();
    bytes as f64 / begin.elapsed().as_secs_f64()
}

/// Starts a front that is so far away for as long as the program runs; its address.
fn front(upstream: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let upstream = upstream.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let upstream = upstream.clone();
            std::thread::spawn(move || {
                // A connection is a question and an answer.
                std::thread::sleep(AWAY);
                let server = TcpStream::connect(&upstream).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (to_client, to_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || carry(client, to_server));
                carry(server, to_client);
            });
        }
    });
    address
}

/// Hands bytes on, each half the way later.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let (sender, waiting) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (at, bytes) in waiting {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // Either may be gone.
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = buffer[..length].to_vec();
        if sender.send((Instant::now() + AWAY / 2, bytes)).is_err() {
            break;
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make bench`"))
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
