//! Builders of runs that were killed together with their runner: no post step comes, a later run removes them.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Work;
use crate::rig::{Classic, busybox, registry};
use crate::runner::{Ended, Runner};

/// From this age on (after another builder's, as the Engine has them) a builder is judged; `src/builder/life.rs` says why.
const JUDGED: Duration = Duration::from_secs(20);

/// The container of a builder.
fn container(builder: &str) -> String {
    format!("buildx_buildkit_{builder}0")
}

/// The containers of runs' builders on the Engine, one a line.
pub(crate) fn containers(engine: &Classic) -> String {
    let name = "name=buildx_buildkit_fast-ecr-push-";
    engine.docker(&["ps", "--all", "--filter", name, "--format", "{{.Names}}"])
}

fn volumes(engine: &Classic) -> String {
    let name = "name=buildx_buildkit_fast-ecr-push-";
    engine.docker(&["volume", "ls", "--filter", name, "--format", "{{.Name}}"])
}

/// Commands that run in a container, without its own.
fn commands(engine: &Classic, container: &str) -> usize {
    let number = engine.docker(&["inspect", "--format", "{{len .ExecIDs}}", container]);
    number.parse().unwrap()
}

pub(crate) fn wait_for<T>(what: &str, get: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = get() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "no {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A job on a runner of its own that builds this.
pub(crate) fn job(engine: &str, dockerfile: &str, tag: &str) -> Ended {
    let runner = Runner::new().engine(engine).file("Dockerfile", dockerfile);
    let registry = registry();
    let step = runner.step().input("context", ".");
    let step = step
        .input("driver", "docker-container")
        .input(
            "driver-opts",
            &format!("image={registry}/rig/buildkit:latest\nnetwork=host"),
        )
        .input("network", "host")
        .input("allow", "network.host")
        .input("tags", &format!("{registry}/abandoned/{tag}:1"));
    step.run()
}

#[test]
fn the_next_run_removes_the_builder_of_one_that_is_gone_and_none_of_one_that_lives() {
    let engine = Classic::alone();
    let lost = Work::on(&engine)
        .step("docker-container")
        .killed_at(" second line", || true)
        .main_alone();
    assert_eq!(lost.code, Some(137), "{}", lost.log());
    let lost = lost.values.state["builder"].clone();
    assert!(containers(&engine).contains(&lost) && volumes(&engine).contains(&lost));

    // Builds until the connection is closed.
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    gate.set_nonblocking(true).unwrap();
    let port = gate.local_addr().unwrap().port();
    let slow = format!("FROM {}\nRUN nc 127.0.0.1 {port}\n", busybox());
    let host = engine.host.clone();
    let living = thread::spawn(move || job(&host, &slow, "living"));
    let held = wait_for("step that runs", || gate.accept().ok());
    let born = Instant::now();
    let names = containers(&engine);
    let others: Vec<&str> = names
        .lines()
        .filter(|name| **name != container(&lost))
        .collect();
    let [other] = others[..] else {
        panic!("{names}");
    };
    // What buildx holds while it builds, and what its run does at any time.
    wait_for("two commands", || {
        (commands(&engine, other) >= 2).then_some(())
    });
    wait_for("end of the lost run's command", || {
        (commands(&engine, &container(&lost)) == 0).then_some(())
    });

    // Both are old enough to be judged.
    thread::sleep((JUDGED + Duration::from_secs(1)).saturating_sub(born.elapsed()));
    let fast = format!("FROM {}\nRUN true\n", busybox());
    let next = job(&engine.host, &fast, "next").succeeded();
    let words = format!("removed the orphaned builder `{lost}`");
    assert!(next.log().contains(&words), "{}", next.log());
    assert_eq!(
        next.log().matches("removed the orphaned builder").count(),
        1
    );
    assert!(!containers(&engine).contains(&lost) && !volumes(&engine).contains(&lost));
    assert_eq!(containers(&engine), other);
    assert!(volumes(&engine).contains(other));

    drop(held);
    let living = living.join().unwrap().succeeded();
    assert_eq!(container(living.output("builder")), other);
    assert_eq!(
        (containers(&engine).as_str(), volumes(&engine).as_str()),
        ("", "")
    );
}
