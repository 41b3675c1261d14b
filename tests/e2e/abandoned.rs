//! Builders of runs that were killed together with their runner: no post step comes, a later run removes them.

use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Work;
use crate::rig::{BUILDERS, busybox, registry};
use crate::runner::{Runner, docker};

/// From this age on (after another builder's, as the Engine has them) a builder is judged; `src/builder/life.rs` says why.
const JUDGED: Duration = Duration::from_secs(20);

/// The container of a builder.
fn container(builder: &str) -> String {
    format!("buildx_buildkit_{builder}0")
}

/// The containers of runs' builders on the Engine, one a line.
fn containers() -> String {
    let name = "name=buildx_buildkit_fast-ecr-push-";
    docker(&["ps", "--all", "--filter", name, "--format", "{{.Names}}"])
}

fn volumes() -> String {
    let name = "name=buildx_buildkit_fast-ecr-push-";
    docker(&["volume", "ls", "--filter", name, "--format", "{{.Name}}"])
}

/// Commands that run in a container beside its own.
fn commands(container: &str) -> usize {
    let number = docker(&["inspect", "--format", "{{len .ExecIDs}}", container]);
    number.trim().parse().unwrap()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A job on a runner of its own that builds this.
fn job(dockerfile: &str, tag: &str) -> crate::runner::Ended {
    let runner = Runner::new().file("Dockerfile", dockerfile);
    let registry = registry();
    let step = runner.step().input("context", ".");
    let step = step
        .input("driver", "docker-container")
        .input(
            "driver-opts",
            &format!("image={registry}/rig/buildkit:latest\nnetwork=host"),
        )
        .input("tags", &format!("{registry}/abandoned/{tag}:1"));
    step.run()
}

#[test]
fn the_next_run_removes_the_builder_of_one_that_is_gone_and_none_of_one_that_lives() {
    let _alone = BUILDERS.lock();
    let work = Work::new();
    let lost = work
        .step("docker-container")
        .killed_at(" second line", Duration::from_millis(100))
        .main_alone();
    assert_eq!(lost.code, Some(137), "{}", lost.log());
    let lost = lost.values.state["builder"].clone();
    assert!(containers().contains(&lost) && volumes().contains(&lost));

    let seconds = JUDGED.as_secs() + 15;
    let slow = format!("FROM {}\nRUN --network=none sleep {seconds}\n", busybox());
    let living = thread::spawn(move || job(&slow, "living"));
    wait_until("second builder", || containers().lines().count() == 2);
    let born = Instant::now();
    let names = containers();
    let other = names.lines().find(|name| **name != container(&lost));
    let other = other.unwrap().to_owned();
    // What buildx holds while it builds, and what its run does at any time.
    wait_until("two commands", || commands(&other) == 2);
    assert_eq!(commands(&container(&lost)), 0);

    // Too young to be judged is neither now.
    thread::sleep((JUDGED + Duration::from_secs(1)).saturating_sub(born.elapsed()));
    let fast = format!("FROM {}\nRUN --network=none true\n", busybox());
    let next = job(&fast, "next").succeeded();
    let words = format!("removed the builder `{lost}` of a run that is gone");
    assert!(next.log().contains(&words), "{}", next.log());
    assert_eq!(next.log().matches("of a run that is gone").count(), 1);
    assert!(!containers().contains(&lost) && !volumes().contains(&lost));
    assert_eq!(containers().trim(), other);
    assert!(volumes().contains(&other));

    let living = living.join().unwrap().succeeded();
    assert_eq!(container(living.output("builder")), other);
    assert_eq!((containers().as_str(), volumes().as_str()), ("", ""));
}
