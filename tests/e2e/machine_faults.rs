//! What goes wrong with the machine itself: its disk is full, its Engine goes away.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::abandoned::wait_for;
use crate::load::machine::{Ended, below, run};
use crate::push_engine_faults::SmallEngine;
use crate::registry::{get, manifest};
use crate::rig::{busybox, registry, variable};
use crate::runner::Runner;

/// No run takes longer to notice.
const LONGEST: Duration = Duration::from_secs(60);

/// A small file system in memory.
struct Disk(TempDir);

impl Disk {
    fn new(kilobytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
        let none = MountFlags::empty();
        mount("small", folder.path(), "tmpfs", none, Some(size.as_c_str())).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// The program in a workspace with a Dockerfile, which pushes below `machine/`. The runner's files are elsewhere.
struct Job {
    folder: TempDir,
    name: String,
}

impl Job {
    fn new(name: &str, dockerfile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "workspace", "temp", "files", "step"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let program = folder.path().join("bin/buildx");
        std::os::unix::fs::symlink(variable("RIG_BUILDX"), program).unwrap();
        let step = format!("step/fast-ecr-push-step-{}", architecture());
        fs::copy(variable("STEP"), folder.path().join(step)).unwrap();
        fs::write(folder.path().join("workspace/Dockerfile"), dockerfile).unwrap();
        Self {
            folder,
            name: name.to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let path = |name: &str| self.path(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_fast-ecr-push"));
        command
            .env_clear()
            .current_dir(path("workspace"))
            .env("PATH", format!("{}:/usr/bin:/bin", path("bin").display()))
            .env("HOME", path("temp"))
            .env("RUNNER_TEMP", path("temp"))
            .env("TMPDIR", path("temp"))
            .env("FAST_ECR_PUSH_STEP", path("step"))
            .env("DOCKER_HOST", variable("DOCKER_HOST"))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_WORKSPACE", path("workspace"))
            .env("GITHUB_OUTPUT", path("files/output"))
            .env("GITHUB_STATE", path("files/state"))
            .env("GITHUB_STEP_SUMMARY", path("files/summary"))
            .env("INPUT_CONTEXT", ".")
            .env("INPUT_CACHE", "none")
            .env(
                "INPUT_TAGS",
                format!("{}/machine/{}:1", registry(), self.name),
            );
        command
    }

    fn has_tag(&self) -> bool {
        get(&format!("/v2/machine/{}/manifests/1", self.name)).0 == 200
    }
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

/// The only error of a run, which says what to do.
#[track_caller]
fn only_error(ended: &Ended) -> String {
    let log = &ended.log;
    let mut errors = log.lines().filter(|line| line.starts_with("::error"));
    let error = errors.next().unwrap_or_else(|| panic!("no error: {log}"));
    assert_eq!(errors.next(), None, "{log}");
    assert!(error.contains("hint: "), "{error}");
    error.to_owned()
}

#[test]
fn a_full_disk_of_the_runner_ends_the_run_wherever_it_is_noticed() {
    let mut codes = BTreeSet::new();
    for kilobytes in [4, 8, 16, 24, 32, 48, 64, 128, 1024, 65536] {
        let name = format!("disk-{kilobytes}");
        let job = Job::new(
            &name,
            &format!("FROM {}\nCOPY Dockerfile /{name}\n", busybox()),
        );
        let disk = Disk::new(kilobytes);
        let ended = run(job
            .command()
            .env("RUNNER_TEMP", disk.path())
            .env("TMPDIR", disk.path()));
        assert!(ended.took < LONGEST, "{}", ended.log);
        if ended.code == Some(0) {
            manifest(&format!("machine/{name}"), "1");
        } else {
            let error = only_error(&ended);
            assert!(
                error.to_lowercase().contains("no space left on device"),
                "{error}"
            );
        }
        codes.insert(ended.code);
        let left = below(disk.path());
        assert_eq!(left, [""; 0].map(PathBuf::from), "{}", ended.log);
    }
    assert!(codes.contains(&Some(0)) && codes.len() > 1, "{codes:?}");
}

#[test]
fn a_full_disk_of_the_workspace_is_an_error_after_the_push() {
    let job = Job::new(
        "workspace",
        &format!("FROM {}\nCOPY Dockerfile /workspace\n", busybox()),
    );
    let disk = Disk::new(4);
    fs::write(disk.path().join("rest"), [1; 4096]).unwrap();
    let dockerfile = job.folder.path().join("workspace/Dockerfile");
    let ended = run(job
        .command()
        .env("GITHUB_WORKSPACE", disk.path())
        .current_dir(disk.path())
        .env("INPUT_CONTEXT", dockerfile.parent().unwrap())
        .env("INPUT_FILE", &dockerfile)
        .env("INPUT_TIMINGS-FILE", "timings.json"));
    assert_eq!(ended.code, Some(3), "{}", ended.log);
    let error = only_error(&ended);
    assert!(error.contains("could not write the timings to"), "{error}");
    assert!(
        error.contains("the disk of this machine is full"),
        "{error}"
    );
    assert!(job.has_tag());
    let outputs = fs::read_to_string(job.folder.path().join("files/output")).unwrap();
    assert!(outputs.contains("digest<<"), "{outputs}");
}

/// Builds until the connection to a gate is closed.
fn slow(port: u16) -> String {
    format!("FROM {}\nRUN nc 127.0.0.1 {port}\n", busybox())
}

fn gate() -> (TcpListener, u16) {
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    gate.set_nonblocking(true).unwrap();
    let port = gate.local_addr().unwrap().port();
    (gate, port)
}

#[test]
fn an_engine_that_restarts_during_the_build_ends_it_and_the_next_run_builds() {
    let mut engine = SmallEngine::start(200);
    let (gate, port) = gate();
    let address = engine.address();
    let job = || {
        let runner = Runner::new()
            .engine(&address)
            .file("Dockerfile", slow(port));
        let step = runner.step().input("context", ".").input("cache", "none");
        let step = step.input("network", "host").input("allow", "network.host");
        let ended = step
            .input("tags", &format!("{}/machine/restart:1", registry()))
            .run();
        assert_eq!(runner.leftovers(), [""; 0].map(PathBuf::from));
        ended
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(job);
        let held = wait_for("step that runs", || gate.accept().ok());
        let begun = Instant::now();
        engine.restart();
        let first = first.join().unwrap();
        drop(held);
        assert!(begun.elapsed() < LONGEST, "{}", first.log());
        assert_eq!(first.code, Some(1), "{}", first.log());
        let errors = first.annotations("error");
        assert_eq!(errors.len(), 1, "{}", first.log());
        let message = &errors[0].message;
        let hint = "hint: BuildKit or its Docker Engine ended or was restarted";
        assert!(message.contains(hint), "{message}");
        assert_eq!(get("/v2/machine/restart/manifests/1").0, 404);

        let second = scope.spawn(job);
        drop(wait_for("step that runs", || gate.accept().ok()));
        second.join().unwrap().succeeded();
        manifest("machine/restart", "1");
    });
}

#[test]
fn a_socket_of_the_engine_that_goes_away_is_an_error_with_a_remedy() {
    let engine = SmallEngine::start(200);
    let (gate, port) = gate();
    let job = Job::new("socket", &slow(port));
    let socket = engine.address().replace("unix://", "");
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            run(job
                .command()
                .env("DOCKER_HOST", engine.address())
                .env("INPUT_NETWORK", "host")
                .env("INPUT_ALLOW", "network.host"))
        });
        let held = wait_for("step that runs", || gate.accept().ok());
        fs::remove_file(&socket).unwrap();
        drop(held);
        let ended = ended.join().unwrap();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        assert!(ended.took < LONGEST);
        let error = only_error(&ended);
        assert!(
            error.contains("Cannot connect to the Docker daemon"),
            "{error}"
        );
        assert!(error.contains("or its socket is gone"), "{error}");
        assert!(!job.has_tag());
        assert_eq!(below(&job.path("temp")), [""; 0].map(PathBuf::from));
        // The next one says so before anything starts.
        let next = run(job.command().env("DOCKER_HOST", engine.address()));
        assert_eq!(next.code, Some(3), "{}", next.log);
        assert!(only_error(&next).contains(&socket), "{}", next.log);
    });
}
