//! Builders of several pods.

use serde_json::{Value, json};

use super::POD;
use crate::cluster::Cluster;

const BOTH: (&str, &str) = ("platforms", "linux/amd64,linux/arm64");
const ARCHITECTURES: &str = "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n";

/// The pods that were built on, each once.
fn pods(cluster: &Cluster) -> Vec<String> {
    let execs = cluster.record("execs");
    let mut pods: Vec<String> = execs.iter().map(|exec| exec["pod"].to_string()).collect();
    pods.sort();
    pods.dedup();
    pods
}

#[test]
fn two_platforms_have_two_native_nodes() {
    let cluster = Cluster::with_two_buildkits();
    std::fs::write(cluster.context("Dockerfile"), ARCHITECTURES).unwrap();
    let run = cluster.run(&[BOTH]);
    run.succeeded();
    let selectors: Vec<Value> = cluster
        .record("workloads")
        .iter()
        .map(|workload| workload["spec"]["template"]["spec"]["nodeSelector"].clone())
        .collect();
    assert_eq!(
        selectors,
        [
            json!({ "kubernetes.io/arch": "amd64" }),
            json!({ "kubernetes.io/arch": "arm64" })
        ]
    );
    // Each node was built on.
    assert_eq!(pods(&cluster).len(), 2, "{}", run.log);
    let seconds = run.seconds("builder-seconds");
    assert!(
        seconds < 2.0 * POD.as_secs_f64(),
        "one after the other: {seconds} s"
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn an_appended_node_builds_its_platform_with_its_own_options() {
    let cluster = Cluster::with_two_buildkits();
    std::fs::write(cluster.context("Dockerfile"), ARCHITECTURES).unwrap();
    let append = "- name: graviton\n  platforms: linux/arm64\n  driver-opts:\n    - requests.cpu=4\n    \
                  - '\"tolerations=key=arm,operator=Exists,effect=NoSchedule\"'\n  buildkitd-flags: --debug\n";
    let run = cluster.run(&[BOTH, ("driver-opts", "requests.cpu=2"), ("append", append)]);
    run.succeeded();
    let workloads = cluster.record("workloads");
    let [first, second] = workloads.as_slice() else {
        panic!("{workloads:?}");
    };
    let name = second["metadata"]["name"].as_str().unwrap();
    assert!(name.ends_with("-graviton"), "{name}");
    let pod = |workload: &Value| workload["spec"]["template"]["spec"].clone();
    let cpu =
        |workload: &Value| pod(workload)["containers"][0]["resources"]["requests"]["cpu"].clone();
    assert_eq!([cpu(first), cpu(second)], ["2", "4"]);
    assert_eq!(pod(first)["nodeSelector"]["kubernetes.io/arch"], "amd64");
    assert_eq!(pod(second)["nodeSelector"]["kubernetes.io/arch"], "arm64");
    assert_eq!(pod(second)["tolerations"][0]["key"], "arm");
    assert_eq!(pod(second)["containers"][0]["args"], json!(["--debug"]));
    assert_eq!(pods(&cluster).len(), 2, "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn several_pods_of_one_node_are_all_waited_for() {
    let cluster = Cluster::with_two_buildkits();
    let run = cluster.run(&[("driver-opts", "replicas=2\nloadbalance=random")]);
    run.succeeded();
    let ready: Vec<Value> = cluster.record("workloads");
    assert_eq!(ready[0]["spec"]["replicas"], 2);
    assert!(!pods(&cluster).is_empty());
    assert_eq!(cluster.stop(), [""; 0]);
}
