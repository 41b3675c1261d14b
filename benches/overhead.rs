//! What the action costs beside buildx and the network: `make bench`.
//!
//! Runs the release binary on the rig with a fully cached build, buildx wrapped so that every
//! call's start and end are known, and compares with plain buildx in turn. Prints medians and how
//! they stand to the targets; exits with 1 when one is missed.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark starts processes, reads the rig's variables and prints"
)]

#[path = "../tests/e2e/image.rs"]
mod image;

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const BINARY: &str = env!("CARGO_BIN_EXE_fast-ecr-push");
const RUNS: usize = 15;
const LARGEST_BINARY: u64 = 27_000_000;
const SLOWEST_START: f64 = 50.0;
const LARGEST_OVERHEAD: f64 = 150.0;
const SLOWEST_FIRST_LINE: f64 = 300.0;
/// Peak memory over a stream 100 times as long.
const LARGEST_GROWTH: f64 = 1.2;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bench = Bench::prepare(folder.path());
    let size = std::fs::metadata(BINARY).unwrap().len();
    let mut missed = Vec::new();
    let mut check = |name: &'static str, value: String, met: bool| {
        println!(
            "{name:<52} {value:>12}  {}",
            if met { "ok" } else { "MISSED" }
        );
        if !met {
            missed.push(name);
        }
    };
    check(
        "release binary (target 27 MB)",
        format!("{:.1} MB", size as f64 / 1e6),
        size < LARGEST_BINARY,
    );

    bench.action();
    bench.plain();
    let (mut starts, mut overheads, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (start, overhead, total) = bench.action();
        let plain = bench.plain();
        starts.push(start);
        overheads.push(overhead);
        ratios.push(total / plain);
    }
    let start = median(starts);
    check(
        "until buildx builds (target 50 ms)",
        format!("{start:.0} ms"),
        start < SLOWEST_START,
    );
    let overhead = median(overheads);
    check(
        "all but buildx (target 150 ms)",
        format!("{overhead:.0} ms"),
        overhead < LARGEST_OVERHEAD,
    );
    println!(
        "{:<52} {:>12}",
        "whole run against plain buildx, all cached",
        format!("× {:.2}", median(ratios))
    );

    let image = image::built();
    first_line(image);
    let first_line = median((0..RUNS).map(|_| first_line(image)).collect());
    check(
        "from `docker run` to our first line (target 300 ms)",
        format!("{first_line:.0} ms"),
        first_line < SLOWEST_FIRST_LINE,
    );

    let small = bench.peak_memory(1_000);
    let large = bench.peak_memory(100_000);
    check(
        "peak memory, 100,000 lines against 1,000",
        format!("× {:.2}", large / small),
        large / small < LARGEST_GROWTH,
    );
    println!(
        "{:<52} {:>12}",
        "peak memory, 100,000 lines",
        format!("{:.1} MB", large / 1e3)
    );
    if missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("missed: {}", missed.join(", "));
        ExitCode::FAILURE
    }
}

/// Milliseconds from the start of the CLI until a step's container says something; without inputs it ends at once.
fn first_line(image: &str) -> f64 {
    let begin = Instant::now();
    let mut child = Command::new(variable("RIG_DOCKER"))
        .args(["run", "--rm", "-e", "GITHUB_ACTIONS=true", image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().expect("a line").unwrap();
    let took = begin.elapsed().as_secs_f64() * 1e3;
    // Read on, so that it can end.
    lines.for_each(drop);
    child.wait().unwrap();
    took
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
    tag: String,
}

impl Bench {
    fn prepare(folder: &Path) -> Self {
        let registry = variable("RIG_REGISTRY");
        std::fs::create_dir(folder.join("context")).unwrap();
        let dockerfile = format!("FROM {registry}/rig/busybox:latest\nRUN true\nCOPY . .\n");
        std::fs::write(folder.join("context/Dockerfile"), dockerfile).unwrap();
        // Every call with its start and end, in nanoseconds.
        script(
            &folder.join("wrapped/buildx"),
            "s=$(date +%s%N); \"$RIG_BUILDX\" \"$@\"; c=$?; e=$(date +%s%N)\n\
             echo \"$s $e $1\" >> \"$CALLS\"; exit $c\n",
        );
        // A stream of so many lines, all about one step.
        script(
            &folder.join("streaming/buildx"),
            "if [ \"$1\" = version ]; then echo github.com/docker/buildx v0.29.1 x; exit; fi\n\
             if [ \"$1\" != build ]; then exit 1; fi\n\
             for a in \"$@\"; do if [ \"$last\" = --metadata-file ]; then echo null > \"$a\"; fi; last=$a; done\n\
             echo '{\"vertexes\":[{\"digest\":\"sha256:a\",\"name\":\"RUN x\",\"started\":\"2026-01-01T00:00:00Z\"}]}' >&2\n\
             yes '{\"logs\":[{\"vertex\":\"sha256:a\",\"stream\":1,\"data\":\"aGVsbG8gd29ybGQK\",\"timestamp\":\"2026-01-01T00:00:01Z\"}]}' | head -n \"$LINES_WANTED\" >&2\n",
        );
        Self {
            folder: folder.to_owned(),
            tag: format!("{registry}/bench/app:1"),
        }
    }

    fn command(&self, buildx: &str) -> Command {
        let path = format!("{}:/usr/bin:/bin", self.folder.join(buildx).display());
        let mut command = Command::new(BINARY);
        command
            .current_dir(self.folder.join("context"))
            .env("PATH", path)
            .env("CALLS", self.folder.join("calls"))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", self.folder.join("output"))
            .env("GITHUB_STEP_SUMMARY", self.folder.join("summary"))
            .env("RUNNER_TEMP", &self.folder)
            // As the action's image has it.
            .env("FAST_ECR_PUSH_BUILDX_VERSION", "0.29.1")
            .env("INPUT_CONTEXT", ".")
            .env("INPUT_TAGS", &self.tag)
            // As plain buildx has none.
            .env("INPUT_CACHE", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// One run: milliseconds until the build's process, in all but buildx, and in all.
    fn action(&self) -> (f64, f64, f64) {
        let calls = self.folder.join("calls");
        let _ = std::fs::remove_file(&calls);
        let begin = now();
        let status = self.command("wrapped").status().unwrap();
        let end = now();
        assert!(status.success(), "the action failed");
        let text = std::fs::read_to_string(&calls).unwrap();
        let mut calls: Vec<(u128, u128, &str)> = text
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                let mut number = || words.next().unwrap().parse().unwrap();
                (number(), number(), words.next().unwrap())
            })
            .collect();
        calls.sort_unstable();
        let build = calls.iter().find(|call| call.2 == "build").unwrap();
        let (mut busy, mut until) = (0, 0);
        for (start, end, _) in &calls {
            busy += end.saturating_sub(*start.max(&until));
            until = until.max(*end);
        }
        (
            milliseconds(build.0 - begin),
            milliseconds(end - begin - busy),
            milliseconds(end - begin),
        )
    }

    /// The same build by buildx alone, in milliseconds.
    fn plain(&self) -> f64 {
        let begin = Instant::now();
        let status = Command::new(variable("RIG_BUILDX"))
            .current_dir(self.folder.join("context"))
            .args(["build", "--builder", "default", "--provenance=false"])
            .args([
                "--output",
                "type=image,push=true,compression=zstd,compression-level=1,oci-mediatypes=true,store=false",
            ])
            .args(["--tag", &self.tag, "--metadata-file"])
            .arg(self.folder.join("plain.json"))
            .arg(".")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "plain buildx failed");
        begin.elapsed().as_secs_f64() * 1e3
    }

    /// Peak memory of our process over a stream of so many lines (kB).
    fn peak_memory(&self, lines: u32) -> f64 {
        let mut child = self
            .command("streaming")
            .env("LINES_WANTED", lines.to_string())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0.0_f64;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            peak = peak.max(value.unwrap_or(0.0));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(
            child.wait().unwrap().success(),
            "the run over a stream failed"
        );
        peak
    }
}

fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make bench` starts the rig"))
}

fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

fn milliseconds(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
