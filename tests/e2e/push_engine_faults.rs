//! What goes wrong while the push engine works: it recovers, or BuildKit pushes, or the run says what is wrong. A tag never names an
//! image that is not complete, and nothing stays behind.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::faulty::{Fault, Front, Rule};
use crate::registry::{get, manifest};
use crate::rig::{Action, busybox, container_options, registry, variable};
use crate::runner::{Ended, Runner, docker};

/// What the log says where BuildKit takes over.
const INSTEAD: &str = "BuildKit pushes the image itself";

/// Begins the agent of the engine's requests, and not of BuildKit's.
const ENGINE: &str = "fast-ecr-push/";

/// The engine's uploads of layers.
const UPLOADS: &[&str] = &[ENGINE, "PATCH /v2/"];

/// A build that adds so many bytes which do not compress, pushed to the repository of that name at `host`.
fn action(host: &str, name: &str, bytes: u64) -> Action {
    Action::new(&dockerfile(name, bytes))
        .input("tags", &format!("{host}/engine/{name}:1"))
        .input("cache", "none")
}

/// It shares no step with the build of another name.
fn dockerfile(name: &str, bytes: u64) -> String {
    format!(
        "FROM {}\nRUN --network=none echo {name} > /name && head -c {bytes} /dev/urandom > /random\nCMD [\"cat\", \"/name\"]\n",
        busybox()
    )
}

fn rule(words: &'static [&'static str], times: usize, fault: Fault) -> Rule {
    Rule {
        words,
        times,
        fault,
    }
}

fn is_by_engine(run: &Ended) -> bool {
    run.values.outputs.contains_key("pushed-bytes")
}

/// The image is in the registry, whole: Docker runs it.
fn is_complete(name: &str, run: &Ended) {
    let repository = format!("engine/{name}");
    let digest = run.output("digest");
    assert_eq!(manifest(&repository, "1"), manifest(&repository, digest));
    let image = format!("{}/{repository}:1", registry());
    assert_eq!(docker(&["run", "--rm", "--network", "none", &image]), name);
    docker(&["image", "rm", &image]);
}

fn has_no_tag(name: &str) {
    let (status, _) = get(&format!("/v2/engine/{name}/manifests/1"));
    assert_eq!(status, 404, "{name}");
}

/// Each request of the engine's, refused with a status so many times.
/// `push_engine.rs` has more of 403.
fn every_request_fails(status: u16, times: usize, by_engine: bool) {
    let requests: [(&str, &'static [&'static str]); 6] = [
        ("ask", &[ENGINE, "HEAD /v2/", "/blobs/"]),
        ("begin", &[ENGINE, "POST /v2/"]),
        // Content that is complete by then goes in one PUT.
        ("send", &[ENGINE, "_state="]),
        ("finish", &[ENGINE, "PUT /v2/", "digest="]),
        ("write", &[ENGINE, "PUT /v2/", "/manifests/"]),
        ("read", &[ENGINE, "GET /v2/", "/manifests/"]),
    ];
    for (request, words) in requests {
        if status == 403 && matches!(request, "begin" | "finish" | "write") {
            continue;
        }
        let name = format!("{request}-{status}");
        let front = Front::new(rule(words, times, Fault::Status(status)));
        let run = action(&front.address, &name, 100_000).run();
        assert!(
            front.left() < times,
            "{name}: nothing was broken\n{}",
            run.log()
        );
        assert_eq!(run.code, Some(0), "{name}: {}", run.log());
        assert_eq!(is_by_engine(&run), by_engine, "{name}: {}", run.log());
        let instead = run.log().matches(INSTEAD).count();
        assert_eq!(instead, usize::from(!by_engine), "{name}: {}", run.log());
        is_complete(&name, &run);
    }
}

#[test]
fn the_engine_survives_a_500_of_any_request() {
    every_request_fails(500, 1, true);
}

#[test]
fn the_engine_survives_a_429_of_any_request() {
    every_request_fails(429, 2, true);
}

#[test]
fn buildkit_pushes_where_questions_and_bodies_of_the_engine_are_refused() {
    every_request_fails(403, 1000, false);
}

#[test]
fn an_upload_that_crawls_is_sent_again() {
    let front = Front::new(rule(UPLOADS, 1, Fault::Slow(32 << 10)));
    let run = action(&front.address, "crawls", 20_000_000)
        .input("accelerate", "on")
        .run()
        .succeeded();
    assert_eq!(front.left(), 0);
    assert!(is_by_engine(&run));
    is_complete("crawls", &run);
}

/// The engine's step that pushes to this repository.
fn step_of(name: &str) -> Option<Pid> {
    let repository = format!("\"engine/{name}\"");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .find(|process: &i32| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
            let program = read("cmdline").unwrap_or_default();
            program
                .split('\0')
                .next()
                .is_some_and(|it| it.ends_with("/program/fast-ecr-push-step"))
                && read("root/program/job.json").is_ok_and(|it| it.contains(&repository))
        })
        .and_then(Pid::from_raw)
}

/// Runs the action, and does something to the step as soon as it sends layers, which the front slows down.
fn run_with(action: &Action, front: &Front, name: &str, attack: impl FnOnce(Pid) + Send) -> Ended {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let attacked = scope.spawn(|| {
            let all = front.left();
            while !is_over.load(Ordering::Relaxed) {
                if let Some(step) = step_of(name).filter(|_| front.left() < all) {
                    attack(step);
                    return true;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            false
        });
        let run = action.run();
        is_over.store(true, Ordering::Relaxed);
        let attacked = attacked.join().unwrap();
        assert!(attacked, "no step sent layers: {}", run.log());
        run
    })
}

fn slow_front() -> Front {
    Front::new(rule(UPLOADS, 1000, Fault::Slow(256 << 10)))
}

#[test]
fn buildkit_pushes_when_the_step_is_killed() {
    let front = slow_front();
    let action = action(&front.address, "killed", 20_000_000);
    let run = run_with(&action, &front, "killed", |step| {
        kill_process(step, Signal::KILL).unwrap();
    });
    assert_eq!(run.code, Some(0), "{}", run.log());
    assert!(!is_by_engine(&run));
    assert_eq!(run.log().matches(INSTEAD).count(), 1, "{}", run.log());
    is_complete("killed", &run);
    assert_eq!(step_of("killed"), None);
}

/// The first process of the container in which a step's BuildKit runs.
fn buildkitd_of(step: Pid) -> Pid {
    let mut line = vec![step.as_raw_nonzero().get()];
    while let Some(parent) = parent(*line.last().unwrap()) {
        line.push(parent);
    }
    let is_shim = |process: &i32| {
        let name = fs::read_to_string(format!("/proc/{process}/comm"));
        name.is_ok_and(|name| name.starts_with("containerd-shim"))
    };
    let shim = line.iter().rposition(is_shim).expect("a container");
    Pid::from_raw(line[shim - 1]).unwrap()
}

fn parent(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("PPid:"))?;
    let parent = line.split_whitespace().nth(1)?.parse().ok()?;
    (parent > 1).then_some(parent)
}

#[test]
fn a_builder_that_is_killed_while_the_engine_pushes_is_an_error() {
    let front = slow_front();
    let options = container_options();
    let action = action(&front.address, "lost", 20_000_000)
        .input("driver", "docker-container")
        .input("driver-opts", &options);
    let run = run_with(&action, &front, "lost", |step| {
        kill_process(buildkitd_of(step), Signal::KILL).unwrap();
    });
    // The builder's end, not the build's.
    assert_eq!(run.code, Some(3), "{}", run.log());
    assert_eq!(run.annotations("error").len(), 1, "{}", run.log());
    let error = &run.annotations("error")[0].message;
    assert!(error.contains("was lost during the build"), "{error}");
    has_no_tag("lost");
    assert_eq!(step_of("lost"), None);
}

#[test]
fn a_run_that_is_killed_ends_the_step_and_leaves_no_tag() {
    let front = slow_front();
    let runner = Runner::new().file("Dockerfile", dockerfile("gone", 20_000_000));
    let all = front.left();
    let sends = std::sync::Arc::new(front);
    let seen = std::sync::Arc::clone(&sends);
    runner
        .step()
        .input("context", ".")
        .input("cache", "none")
        .input("tags", &format!("{}/engine/gone:1", sends.address))
        .killed_at("differ from the base image", move || seen.left() < all)
        .main_alone();
    let until = Instant::now() + Duration::from_secs(20);
    while step_of("gone").is_some() {
        assert!(Instant::now() < until, "the step goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    has_no_tag("gone");
    runner.stop_containers();
}

#[test]
fn a_tree_that_the_engine_can_not_pack_is_pushed_by_buildkit() {
    let dockerfile = format!(
        "FROM {}\nRUN --network=none mkdir /srv && touch /srv/.wh.data\n",
        busybox()
    );
    let action = Action::new(&dockerfile)
        .input("tags", &format!("{}/engine/reserved:1", registry()))
        .input("cache", "none");
    let run = action.run().succeeded();
    assert!(
        run.log().contains("the image holds /srv/.wh.data"),
        "{}",
        run.log()
    );
    assert_eq!(run.log().matches(INSTEAD).count(), 1, "{}", run.log());
    manifest("engine/reserved", "1");

    let action = action.input("accelerate", "on");
    let run = action
        .input("tags", &format!("{}/engine/reserved:2", registry()))
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    let error = &run.annotations("error")[0].message;
    assert!(error.contains("the image holds /srv/.wh.data"), "{error}");
    let (status, _) = get("/v2/engine/reserved/manifests/2");
    assert_eq!(status, 404);
}

/// An Engine whose disk is small: all that it stores is in a file system in memory.
pub(crate) struct SmallEngine {
    folder: TempDir,
    daemon: Child,
}

impl SmallEngine {
    pub(crate) fn start(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let size = std::ffi::CString::new(format!("size={megabytes}m")).unwrap();
        mount(
            "small",
            &data,
            "tmpfs",
            MountFlags::empty(),
            Some(size.as_c_str()),
        )
        .unwrap();
        let at = |name: &str| folder.path().join(name);
        let configuration = serde_json::json!({
            "hosts": [format!("unix://{}", at("docker.sock").display())],
            "pidfile": at("docker.pid"),
            "exec-root": at("exec"),
            "data-root": data,
            "bridge": "none",
            "iptables": false,
            "ip6tables": false,
            "userland-proxy": false,
            "features": {"containerd-snapshotter": true},
            "builder": {"gc": {"enabled": false}, "entitlements": {"network-host": true}},
        });
        fs::write(at("daemon.json"), configuration.to_string()).unwrap();
        let daemon = Self::daemon(folder.path());
        Self { folder, daemon }
    }

    /// Starts the program, and waits until it answers.
    fn daemon(folder: &std::path::Path) -> Child {
        let packages = variable("RIG_DOCKER");
        let packages = std::path::Path::new(&packages).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let at = |name: &str| folder.join(name);
        let log = fs::File::create(at("log")).unwrap();
        let daemon = Command::new(packages.with_file_name("sbin").join("dockerd"))
            .arg("--config-file")
            .arg(at("daemon.json"))
            .env(
                "PATH",
                format!("{}:{path}:/usr/sbin:/sbin", packages.display()),
            )
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(at("docker.sock")).is_err() {
            let log = fs::read_to_string(at("log")).unwrap();
            assert!(Instant::now() < until, "{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// Ends it as a service manager does, and starts it again.
    pub(crate) fn restart(&mut self) {
        kill_process(Pid::from_child(&self.daemon), Signal::TERM).unwrap();
        self.daemon.wait().unwrap();
        self.daemon = Self::daemon(self.folder.path());
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }
}

impl SmallEngine {
    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = fs::File::create(self.folder.path().join("data/rest")).unwrap();
        let error = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}

impl Drop for SmallEngine {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        let _ = self.daemon.wait();
        let _ = unmount(self.folder.path().join("data"), UnmountFlags::DETACH);
    }
}

#[test]
fn a_disk_that_has_no_room_for_an_export_has_room_for_the_engine() {
    let engine = SmallEngine::start(160);
    let action = action(&registry(), "tight", 80_000_000).engine(&engine.address());
    let run = action.run().succeeded();
    assert!(is_by_engine(&run), "{}", run.log());
    is_complete("tight", &run);

    let run = action
        .input("tags", &format!("{}/engine/tight:2", registry()))
        .input("accelerate", "off")
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    let error = &run.annotations("error")[0].message;
    assert!(error.contains("no space left on device"), "{error}");
    let (status, _) = get("/v2/engine/tight/manifests/2");
    assert_eq!(status, 404);
}

#[test]
fn a_disk_that_is_full_is_an_error_and_leaves_no_tag() {
    let engine = SmallEngine::start(160);
    let action = action(&registry(), "full", 40_000_000).engine(&engine.address());
    let first = action.run().succeeded();
    assert!(is_by_engine(&first), "{}", first.log());
    engine.fill();
    let run = action
        .input("tags", &format!("{}/engine/full:2", registry()))
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    // Where it ends is BuildKit's affair: it may have no room for the Dockerfile, or for its own export after the engine's end.
    assert!(run.log().matches(INSTEAD).count() <= 1, "{}", run.log());
    assert_eq!(run.annotations("error").len(), 1, "{}", run.log());
    let error = &run.annotations("error")[0].message;
    // A page of its database that it can not write may also end BuildKit.
    let words = ["no space left on device", "error reading from server: EOF"];
    assert!(words.iter().any(|it| error.contains(it)), "{error}");
    let (status, _) = get("/v2/engine/full/manifests/2");
    assert_eq!(status, 404);
    is_complete("full", &first);
}
