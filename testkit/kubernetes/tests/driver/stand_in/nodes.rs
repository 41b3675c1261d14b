//! Builders of several pods.

use serde_json::{Value, json};

use super::{POD, manifest};
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

/// An index in the registry, without digests and sizes.
fn index(image: &str) -> Value {
    let answer = manifest("GET", image);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut index: Value = serde_json::from_str(body).unwrap();
    for part in index["manifests"].as_array_mut().unwrap() {
        let part = part.as_object_mut().unwrap();
        part.retain(|name, _| !matches!(name.as_str(), "digest" | "size"));
    }
    index
}

#[test]
fn one_node_pushes_two_platforms_of_its_architecture_with_the_push_engine() {
    let cluster = Cluster::stand_in();
    let dockerfile = format!(
        "FROM {}\nARG TARGETPLATFORM\nENV A=$TARGETPLATFORM\nRUN --network=none echo $TARGETPLATFORM > /x\nCOPY unique /\n",
        cluster.base()
    );
    std::fs::write(cluster.context("Dockerfile"), dockerfile).unwrap();
    let tag = cluster.tag("platforms");
    std::fs::write(cluster.context("unique"), &tag).unwrap();
    let step = cluster.step();
    let run = |tag: &str, accelerate: &str| {
        let inputs = [
            ("tags", tag),
            // The rig's BuildKit has no emulators: variants of one architecture, which one node builds.
            ("platforms", "linux/amd64,linux/amd64/v2"),
            ("cache", "none"),
            ("accelerate", accelerate),
        ];
        let env = [("FAST_ECR_PUSH_STEP", step.to_str().unwrap())];
        let run = cluster.run_with(&inputs, &env);
        run.succeeded();
        run
    };
    // The run's own builder: its disk does not last, so that the engine is taken unasked.
    let first = run(&tag, "auto");
    assert_ne!(first.output("pushed-bytes"), "0", "{}", first.log);
    assert!(first.log.contains("linux/amd64/v2: "), "{}", first.log);
    let second = run(&tag, "auto");
    assert_eq!(second.output("pushed-bytes"), "0", "{}", second.log);
    assert_eq!(first.output("digest"), second.output("digest"));
    let plain = cluster.tag("plain");
    let by_buildkit = run(&plain, "off");
    assert!(!by_buildkit.outputs.contains("pushed-bytes"));
    assert_eq!(index(&tag), index(&plain));
    assert_eq!(cluster.record("workloads").len(), 3);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn the_push_engine_pushes_from_each_node_and_writes_the_index_of_buildx() {
    let cluster = Cluster::with_two_buildkits();
    let dockerfile = format!("{ARCHITECTURES}ENV KIND=$TARGETARCH\nWORKDIR /srv\n");
    std::fs::write(cluster.context("Dockerfile"), dockerfile).unwrap();
    let step = cluster.step();
    for architecture in ["amd64", "arm64"] {
        // The stand-in's nodes have the same machine.
        let here = step.read_dir().unwrap().next().unwrap().unwrap().path();
        let other = step.join(format!("fast-ecr-push-step-{architecture}"));
        if here != other {
            std::fs::copy(here, other).unwrap();
        }
    }
    let (engine, plain) = (cluster.tag("engine"), cluster.tag("plain"));
    let annotations = "com.example.a=1\nindex:com.example.b=2\nmanifest[linux/arm64]:com.example.c=3\n\
                       manifest-descriptor:com.example.d=4";
    let push = |tag: &str, accelerate: &str| {
        let inputs = [
            BOTH,
            ("builder", "fast-ecr-push-two"),
            ("tags", tag),
            ("annotations", annotations),
            ("accelerate", accelerate),
        ];
        let run = cluster.run_with(&inputs, &[("FAST_ECR_PUSH_STEP", step.to_str().unwrap())]);
        run.succeeded();
        run
    };
    let first = push(&engine, "auto");
    assert_eq!(pods(&cluster).len(), 2, "{}", first.log);
    for platform in ["linux/amd64: ", "linux/arm64: "] {
        assert!(first.log.contains(platform), "{}", first.log);
    }
    assert_ne!(first.output("pushed-bytes"), "0", "{}", first.log);
    let again = push(&engine, "auto");
    assert_eq!(again.output("pushed-bytes"), "0", "{}", again.log);
    assert_eq!(again.output("digest"), first.output("digest"));
    let theirs = push(&plain, "off");
    assert!(!theirs.outputs.contains("pushed-bytes"), "{}", theirs.log);
    assert_eq!(index(&engine), index(&plain));
    for node in ["fast-ecr-push-two-amd64", "fast-ecr-push-two-arm64"] {
        cluster.objects().delete_builder(node);
    }
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
