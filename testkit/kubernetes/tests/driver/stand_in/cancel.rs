//! A cancelled run ends within seven seconds, whatever it waits for. The runner kills it after ten (`ProcessInvoker.cs`): other tests run at
//! the same time, so nine are enough here.

use std::process::Command;
use std::time::{Duration, Instant};

use super::removal::names_the_command;
use crate::cluster::Cluster;

/// Interrupts a run once it did a call, or once its build has begun. Returns it with its state, after it
/// ended in the time that the runner gives it.
fn cancelled_once(
    cluster: &Cluster,
    inputs: &[(&str, &str)],
    has_begun: impl Fn(&str) -> bool,
) -> (String, Vec<(String, String)>) {
    let log = cluster.file("cancelled.log");
    let read = || std::fs::read_to_string(&log).unwrap();
    let mut child = cluster.start_long_build(inputs, &log);
    let begun = Instant::now();
    while !has_begun(&read()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", read());
        assert!(child.try_wait().unwrap().is_none(), "{}", read());
        std::thread::sleep(Duration::from_millis(50));
    }
    let interrupt = format!("kill -INT {}", child.id());
    Command::new("sh")
        .args(["-c", &interrupt])
        .status()
        .unwrap();
    let interrupted = Instant::now();
    let status = child.wait().unwrap();
    let took = interrupted.elapsed();
    assert_eq!(status.code(), Some(130), "{}", read());
    assert!(took < Duration::from_secs(9), "{took:?}: {}", read());
    (read(), cluster.state())
}

#[test]
fn a_cancelled_run_ends_in_time_though_the_api_does_not_answer() {
    let cluster = Cluster::stand_in();
    cluster.script(
        r#"{"faults":[{"call":"delete deployments","code":503,"late_ms":60000,"times":100}]}"#,
    );
    let (log, state) = cancelled_once(&cluster, &[], |log| log.contains("RUN echo"));
    let name = cluster.objects().deployments()[0]["metadata"]["name"].clone();
    names_the_command(&log, name.as_str().unwrap());
    cluster.script("{}");
    let post = cluster.post(&state);
    assert!(post.contains("removed the builder"), "{post}");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_run_that_is_cancelled_while_it_waits_for_the_api_ends_in_time_and_leaves_nothing() {
    let cluster = Cluster::stand_in();
    for call in [
        "create selfsubjectaccessreviews",
        "create deployments",
        "watch pods",
    ] {
        let script = format!(r#"{{"faults":[{{"call":"{call}","late_ms":30000,"times":100}}]}}"#);
        cluster.script(&script);
        let (_, state) = cancelled_once(&cluster, &[], |_| {
            let late = cluster.record("late");
            let has_begun = late.iter().any(|one| one["call"] == call);
            // Meanwhile buildx is told of the builder.
            std::thread::sleep(Duration::from_secs(if has_begun { 2 } else { 0 }));
            has_begun
        });
        assert!(cluster.objects().deployments().is_empty(), "{call}");
        cluster.post(&state);
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_run_whose_login_hangs_can_be_cancelled_and_leaves_no_command_behind() {
    let cluster = Cluster::stand_in();
    let pid = cluster.file("pid");
    let script = format!("sleep 300 & echo $! > '{}'; wait", pid.display());
    let kubeconfig = cluster.with_command(&script);
    let inputs = [("kubeconfig", kubeconfig.as_str()), ("allow-exec", "true")];
    cancelled_once(&cluster, &inputs, |_| pid.is_file());
    let pid = std::fs::read_to_string(pid).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let begun = Instant::now();
    while lives() {
        assert!(begun.elapsed() < Duration::from_secs(2), "it still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(cluster.calls("create selfsubjectaccessreviews"), 0);
    assert_eq!(cluster.stop(), [""; 0]);
}
