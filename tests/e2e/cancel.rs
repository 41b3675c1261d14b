//! A run that is stopped at any point ends in time and leaves nothing.

use std::fs;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::rig::{Classic, busybox, registry};
use crate::runner::{Ended, Runner, Step, docker};

/// The runner kills after 10 s; what comes after us needs some of it.
pub(crate) const IN_TIME: Duration = Duration::from_secs(7);

/// A moment of a run, by what the log says then.
struct Point {
    name: &'static str,
    /// Part of a line; empty for the start of the CLI.
    line: &'static str,
    /// Which of the lines that hold it.
    number: u32,
    /// Milliseconds after it.
    after: u64,
}

const fn point(name: &'static str, line: &'static str, number: u32, after: u64) -> Point {
    Point {
        name,
        line,
        number,
        after,
    }
}

const ON_THE_ENGINE: [Point; 15] = [
    point("the CLI has only been started", "", 1, 0),
    point("the container starts", "", 1, 150),
    point("inputs are checked", "fast-ecr-push", 1, 0),
    point("the plan", "::group::Plan", 1, 0),
    point("the build begins", "::group::Build", 1, 0),
    point("the Dockerfile is read", "load build definition", 1, 0),
    point("the base image is asked for", "load metadata", 1, 0),
    point("the context is uploaded", "load build context", 1, 100),
    point("a RUN begins", "] RUN ", 1, 0),
    point("a RUN goes on", " second line", 1, 0),
    point("layers are compressed", "exporting to image", 1, 50),
    point("layers are pushed", "exporting layers done", 1, 0),
    point(
        "the cache is exported",
        "exporting cache to registry",
        1,
        50,
    ),
    point("the build is over", "::endgroup::", 2, 0),
    point("the report is written", "::endgroup::", 2, 20),
];

const IN_A_CONTAINER: [Point; 9] = [
    point("the builder is created", "starting the builder", 1, 0),
    point(
        "the builder's image is pulled",
        "starting the builder",
        1,
        250,
    ),
    point("the builder boots", "starting the builder", 1, 700),
    point("the builder is ready", "::group::Build", 1, 0),
    point("the context is uploaded", "load build context", 1, 100),
    point("a RUN goes on", " second line", 1, 0),
    point("layers are compressed", "exporting to image", 1, 50),
    point("layers are pushed", "exporting layers done", 1, 0),
    point("the builder is removed", "::endgroup::", 2, 100),
];

/// A run with work at each stage, different from all before, so that nothing comes from the cache.
pub(crate) struct Work {
    pub runner: Runner,
    /// Where builders are, if not on the first Engine.
    engine: Option<String>,
    /// Stands in the command lines of its processes, and only there.
    mark: String,
}

impl Work {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let mark = format!(
            "1.0{}{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let dockerfile = format!(
            "FROM {}\nCOPY . /app\nRUN --network=none echo first line; sleep 0.3; echo second line; sleep {mark}; \
             head -c 20000000 /dev/urandom > /data\n",
            busybox()
        );
        let content: Vec<u8> = mark.bytes().cycle().take(30_000_000).collect();
        Self {
            runner: Runner::new()
                .file("Dockerfile", dockerfile)
                .file("large", content),
            engine: None,
            mark,
        }
    }

    /// With builders on the second Engine.
    pub(crate) fn on(classic: &Classic) -> Self {
        let work = Self::new();
        Self {
            runner: work.runner.engine(&classic.host),
            engine: Some(classic.host.clone()),
            ..work
        }
    }

    pub(crate) fn step(&self, driver: &str) -> Step<'_> {
        let registry = registry();
        self.runner
            .step()
            .input("context", ".")
            .input("driver", driver)
            .input(
                "driver-opts",
                &format!("image={registry}/rig/buildkit:latest\nnetwork=host"),
            )
            .input(
                "cache-to",
                &format!("type=registry,ref={registry}/cancel/{driver}:cache,image-manifest=true,mode=max"),
            )
            .input("tags", &format!("{registry}/cancel/{driver}:1"))
    }

    /// The post step went well, and nothing is there any more.
    pub(crate) fn has_left_nothing(&self, name: &str, main: &Ended, post: &Ended) {
        assert_eq!(post.code, Some(0), "{name}: {}", post.log());
        assert_eq!(
            self.left(main),
            Vec::<String>::new(),
            "{name}: {}\n{}",
            main.log(),
            post.log()
        );
    }

    /// What there is of the run after its end.
    pub(crate) fn left(&self, main: &Ended) -> Vec<String> {
        let mut left: Vec<String> = self
            .runner
            .leftovers()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        left.extend(lines(&self.runner.containers()));
        if let Some(builder) = main.values.state.get("builder") {
            let name = format!("name=buildx_buildkit_{builder}");
            for list in [
                &["ps", "--all", "--format", "{{.Names}}"][..],
                &["volume", "ls", "--format", "{{.Name}}"],
            ] {
                let host = self.engine.as_ref().map(|host| ["--host", host]);
                let host = host.as_ref().map_or(&[][..], |host| host);
                left.extend(lines(&docker(&[host, list, &["--filter", &name]].concat())));
            }
        }
        left.extend(self.processes());
        left
    }

    /// Steps that still run, after BuildKit had a moment to stop them.
    fn processes(&self) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let running: Vec<String> = fs::read_dir("/proc")
                .unwrap()
                .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
                .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
                .filter(|line| line.contains(&self.mark) && !line.contains("buildx"))
                .collect();
            if running.is_empty() || begin.elapsed() > Duration::from_secs(3) {
                return running;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn cancelled_everywhere(driver: &str, points: &[Point]) {
    let mut slow = Vec::new();
    for Point {
        name,
        line,
        number,
        after,
    } in points
    {
        let work = Work::new();
        let (main, post) = work
            .step(driver)
            .cancelled_at(line, *number, Duration::from_millis(*after))
            .main_and_post();
        let Some(took) = main.cancelled else {
            panic!("{name}: the run ended before it came: {}", main.log());
        };
        if main.log.lines.is_empty() {
            work.runner.stop_containers();
        }
        work.has_left_nothing(name, &main, &post);
        // Too late to cancel anything is no mistake, and before the container starts the CLI ends by itself.
        let by_itself = main.log.lines.is_empty();
        assert!(
            by_itself || matches!(main.code, Some(130 | 0)),
            "{name}: {:?}: {}",
            main.code,
            main.log()
        );
        if main.code == Some(130)
            && main.log().contains("== Plan")
            && main.log().contains("== Build")
        {
            assert!(
                main.values.summary.starts_with("### Cancelled "),
                "{name}: {}",
                main.values.summary
            );
        }
        if took > IN_TIME {
            slow.push((name, took));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[test]
fn a_run_on_the_engine_can_be_cancelled_at_any_point() {
    cancelled_everywhere("docker", &ON_THE_ENGINE);
}

#[test]
fn a_run_on_a_builder_of_its_own_can_be_cancelled_at_any_point() {
    cancelled_everywhere("docker-container", &IN_A_CONTAINER);
}

/// As when a machine loses its power, or the runner its patience: only post is left to clean up.
#[test]
fn what_a_killed_run_left_is_removed_by_its_post_step() {
    let classic = Rc::new(Classic::alone());
    for (name, line) in [
        ("the builder boots", "starting the builder"),
        ("a RUN goes on", " second line"),
    ] {
        let work = Work::on(&classic);
        let engine = Rc::clone(&classic);
        let (main, post) = work
            .step("docker-container")
            .killed_at(line, move || {
                let builders = [
                    "ps",
                    "--all",
                    "--quiet",
                    "--filter",
                    "name=buildx_buildkit_",
                ];
                !engine.docker(&builders).is_empty()
            })
            .main_and_post();
        assert_eq!(main.code, Some(137), "{name}: {}", main.log());
        assert_eq!(post.code, Some(0), "{name}: {}", post.log());
        assert_eq!(
            work.left(&main),
            Vec::<String>::new(),
            "{name}: {}",
            post.log()
        );
        for said in [
            "removed the builder `fast-ecr-push-",
            "removed the credentials",
        ] {
            assert!(post.log().contains(said), "{name}: {}", post.log());
        }
    }
}
