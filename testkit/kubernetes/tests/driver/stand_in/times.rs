//! What takes how long.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::POD;
use crate::cluster::Cluster;

#[test]
fn buildx_takes_our_manifest_and_our_part_of_the_boot_is_short() {
    let cluster = Cluster::stand_in();
    let run = cluster.run(&[(
        "driver-opts",
        "requests.cpu=2\nrequests.memory=7Gi\nlimits.cpu=2",
    )]);
    run.succeeded();
    let workload = cluster.record("workloads");
    assert_eq!(workload.len(), 1);
    let pod = &workload[0]["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["resources"],
        json!({ "requests": { "cpu": "2", "memory": "7Gi" }, "limits": { "cpu": "2" } })
    );
    // buildx found it: it made none of its own, and dialed once for the build and once for its cache.
    assert_eq!(cluster.calls("create deployments"), 1);
    assert_eq!(cluster.calls("create pods/exec"), 2);
    let ours = Duration::from_secs_f64(run.seconds("builder-seconds")) - POD;
    assert!(ours < Duration::from_secs(1), "our part took {ours:?}");
    assert_eq!(cluster.stop(), [""; 0]);
}

/// The phases against steps whose length is known: the script's, and those of the Dockerfile.
#[test]
fn phases_are_as_long_as_what_was_timed_by_hand() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"scheduled_ms":700,"pulled_ms":2000,"started_ms":600,"ready_ms":900}"#);
    cluster.dockerfile("RUN sleep 4\nRUN head -c 1000 /dev/urandom > /x && sleep 3\n");
    let timings = cluster.file("timings.json").display().to_string();
    let begun = Instant::now();
    let run = cluster.run(&[("timings-file", &timings), ("no-cache", "true")]);
    let took = begun.elapsed().as_secs_f64();
    run.succeeded();
    let text = std::fs::read_to_string(timings).unwrap();
    let image = serde_json::from_str::<Value>(&text).unwrap()["images"][0].clone();
    let seconds = |value: &Value| value.as_f64().unwrap() / 1000.0;
    // Other tests run at the same time: what is too short is always wrong, what is too long only by seconds.
    let near = |what: &str, measured: f64, real: f64, more: f64| {
        assert!(
            measured > real - 0.1 && measured < real + more,
            "{what}: {measured} s, by hand {real} s: {}",
            image["timeline"]
        );
    };
    let phase = |name: &str| seconds(&image["phases"][name]["partition_ms"]);
    near("build", phase("build"), 7.0, 3.0);
    // The probe finds a container ready a second after its start.
    let boot = 0.7 + 2.0 + 0.6 + 1.0;
    near("builder", phase("builder"), boot, 3.0);
    let stage = |name: &str| {
        let stages = image["boot"].as_array().unwrap().iter();
        let found = stages.filter(|stage| stage["name"].as_str().unwrap().contains(name));
        found
            .map(|stage| seconds(&stage["duration_ms"]))
            .sum::<f64>()
    };
    near("wait for a node", stage("wait for a node"), 0.7, 2.0);
    // Events are read once a second: where the pull begins is known that well, where it ends better.
    near(
        "pull and start",
        stage("prepare the pod") + stage("pull the"),
        2.6,
        2.0,
    );
    near("wait for BuildKit", stage("wait for BuildKit"), 1.0, 2.0);
    let phases = image["phases"].as_object().unwrap().values();
    let sum: f64 = phases.map(|phase| seconds(&phase["partition_ms"])).sum();
    let total = seconds(&image["total_ms"]);
    assert!((sum - total).abs() < 0.001, "{sum} of {total}");
    near("total", took, total, 3.0);
    // Nothing of the rest is unknown: what is left is getting ready, pushing and cleaning up.
    assert!(phase("other") < 0.02 * total, "{}", image["phases"]);
    assert_eq!(cluster.stop(), [""; 0]);
}
