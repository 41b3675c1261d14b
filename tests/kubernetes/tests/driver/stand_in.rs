//! What needs the stand-in's tricks: troubles by script, faults of the API, refused credentials,
//! clocks, two BuildKits, and records of every call.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Cluster;

/// What the default script takes from the Deployment to its ready pod.
const POD: Duration = Duration::from_millis(50 + 100 + 100 + 1000);

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
    // buildx found it: it made none of its own, and dialed once for the build.
    assert_eq!(cluster.calls("create deployments"), 1);
    assert_eq!(cluster.calls("create pods/exec"), 1);
    let ours = Duration::from_secs_f64(run.seconds("builder-seconds")) - POD;
    assert!(ours < Duration::from_secs(1), "our part took {ours:?}");
    assert_eq!(cluster.stop(), [""; 0]);
}

/// A kubeconfig of one context, with a user or a cluster of one's own.
fn kubeconfig(server: &str, more: &str, user: &str) -> String {
    format!(
        "{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
         clusters: [{{name: c, cluster: {{server: '{server}'{more}}}}}], users: [{{name: u, user: {{{user}}}}}]}}"
    )
}

fn yaml_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        text += &format!(
            "a{level}: &a{level} [{}]\n",
            [alias.as_str(); 10].join(", ")
        );
    }
    text
}

#[test]
fn every_bad_input_has_its_own_words_and_hint_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    let good = cluster.kubeconfig("kubeconfig");
    let nobody = kubeconfig("https://127.0.0.1:1", "", "token: t");
    let no_context = good.replace("current-context: stand-in", "");
    let command = kubeconfig("https://k.example", "", "exec: {command: /opt/login}");
    let file = kubeconfig(
        "https://k.example",
        ", certificate-authority: ca.crt",
        "token: t",
    );
    let stranger = good.replace("stand-in-token", "another-token");
    let bomb = yaml_bomb();
    let flatten = "kubectl config view --raw --flatten --minify";
    for (kubeconfig, script, code, words, hint) in [
        (
            "a: [b",
            "{}",
            2,
            "the kubeconfig can't be read as YAML",
            flatten,
        ),
        (
            &bomb,
            "{}",
            2,
            "the kubeconfig can't be read as YAML",
            flatten,
        ),
        (
            &no_context,
            "{}",
            2,
            "has no current context",
            "`kube-context` to one of: stand-in",
        ),
        (
            &command,
            "{}",
            2,
            "runs the command `/opt/login`",
            "`allow-exec: true`",
        ),
        (
            &file,
            "{}",
            2,
            "names a file as `certificate-authority`",
            flatten,
        ),
        (
            &nobody,
            "{}",
            3,
            "could not reach the Kubernetes API at https://127.0.0.1:1",
            "is the address right",
        ),
        (
            &stranger,
            "{}",
            3,
            "refuses the credentials (401)",
            "aws eks create-access-entry",
        ),
        (
            &good,
            r#"{"denied":["create pods/exec"]}"#,
            3,
            "lacks rights in the namespace `buildx`: create pods/exec",
            "kind: Role",
        ),
        (
            &good,
            r#"{"faults":[{"call":"create deployments","code":403,"times":1}]}"#,
            3,
            "could not create a Deployment in the namespace `buildx`: a fault by script (403)",
            "",
        ),
        (
            &good,
            r#"{"namespaces":["default"]}"#,
            3,
            "namespaces \"buildx\" not found",
            "kubectl create namespace",
        ),
        (
            &good,
            r#"{"trouble":"quota"}"#,
            3,
            "exceeded quota: builders",
            "raise the namespace's ResourceQuota",
        ),
        (
            &good,
            r#"{"trouble":"unschedulable"}"#,
            3,
            "was not ready within 3 s: no node takes it: 0/5 nodes are available: 2 node(s) had",
            "lower `requests` in `driver-opts`, or add nodes",
        ),
        (
            &good,
            r#"{"trouble":"never-ready"}"#,
            3,
            "its container runs and is not ready",
            "raise `builder-timeout`",
        ),
        (
            &good,
            r#"{"trouble":"crash-loop"}"#,
            3,
            "BuildKit ends as soon as it starts (exit code 1)",
            "its log above says why",
        ),
    ] {
        cluster.script(script);
        let begun = Instant::now();
        let run = cluster.run(&[("kubeconfig", kubeconfig), ("builder-timeout", "3")]);
        let case = format!("{script} {words}: {}", run.log);
        assert_eq!(run.code, Some(code), "{case}");
        assert!(run.log.contains(words), "{case}");
        assert!(run.log.contains(hint), "{case}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{case}");
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_server_that_is_not_verified_is_warned_of_and_used() {
    let cluster = Cluster::stand_in();
    let trusting = cluster.kubeconfig("kubeconfig");
    let authority = trusting
        .lines()
        .find(|line| line.contains("certificate-authority-data"));
    let trusting = trusting.replace(authority.unwrap(), "    insecure-skip-tls-verify: true");
    let run = cluster.run(&[("kubeconfig", &trusting)]);
    run.succeeded();
    let words = "the kubeconfig says `insecure-skip-tls-verify` for https://127.0.0.1";
    assert!(run.log.contains(words), "{}", run.log);
    assert!(
        run.log.contains("`certificate-authority-data`"),
        "{}",
        run.log
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn what_keeps_a_pod_is_said_at_once() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"image-pull"}"#);
    let run = cluster.run(&[("builder-timeout", "3")]);
    assert_eq!(run.code, Some(3));
    for line in [
        "builder not ready yet: its image `moby/buildkit:buildx-stable-1` can't be pulled",
        "event Failed: Failed to pull image",
        "buildkitd: buildkitd: failed to create worker",
    ] {
        assert!(run.log.contains(line), "{line}: {}", run.log);
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn buildxs_own_rights_are_enough() {
    let cluster = Cluster::stand_in();
    cluster.script(
        r#"{"scheduled_ms":200,"pulled_ms":2500,"ready_ms":2500,"denied":["watch pods","list events","get pods/log","patch deployments","list deployments"]}"#,
    );
    let run = cluster.run(&[]);
    run.succeeded();
    assert!(run.log.contains("builder scheduled on"));
    assert_eq!(cluster.calls("watch pods"), 1);
    let seconds = run.seconds("builder-seconds");
    // Once a second, and some at the beginning and for buildx.
    let lists = u32::try_from(cluster.calls("list pods")).unwrap();
    assert!(f64::from(lists) < seconds + 8.0, "{lists} in {seconds} s");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn an_api_that_stumbles_is_asked_again() {
    let cluster = Cluster::stand_in();
    cluster.script(
        r#"{"faults":[{"call":"list pods","code":503,"times":2},{"call":"watch pods","code":410,"times":1},
            {"call":"get deployments","code":500,"times":1}]}"#,
    );
    cluster.run(&[]).succeeded();
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_manifest_that_the_cluster_refuses_gives_way_to_the_drivers_own() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"faults":[{"call":"create deployments","code":422,"times":1}]}"#);
    let run = cluster.run(&[
        ("buildkitd-config-inline", "debug = true"),
        ("driver-opts", "labels=team=ci\nannotations=a=b"),
    ]);
    run.succeeded();
    let words = "the cluster refuses our manifest (422: a fault by script): buildx's own is used";
    assert!(run.log.contains(words), "{}", run.log);
    let made = &cluster.record("workloads")[0]["metadata"];
    // So that a later run can tell it from others' if this one is killed.
    assert_eq!(made["annotations"]["stand-in/made-by"], "buildx");
    assert_eq!(
        made["labels"]["app.kubernetes.io/managed-by"],
        "fast-ecr-push"
    );
    assert_eq!(made["labels"]["fast-ecr-push/lifetime"], "run");
    assert_eq!(made["labels"]["team"], "ci");
    let beat = made["annotations"]["fast-ecr-push/heartbeat"]
        .as_str()
        .unwrap();
    assert!(beat.starts_with("20") && beat.ends_with('Z'), "{beat}");
    assert_eq!(cluster.calls("create configmaps"), 1);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn what_buildxs_own_manifest_left_is_removed_too() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"faults":[{"call":"create deployments","code":422,"times":1}]}"#);
    cluster.run_and_kill(&[("buildkitd-config-inline", "debug = true")]);
    assert_eq!(cluster.objects().names().len(), 3);
    cluster.objects().make_heartbeats_old();
    cluster.run(&[]).succeeded();
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn times_are_the_servers_and_a_living_builder_stays() {
    let cluster = Cluster::stand_in();
    cluster.run_and_kill(&[]);
    // Four minutes later nobody is dead yet.
    cluster.script(r#"{"seconds_ahead":240}"#);
    cluster.run(&[]).succeeded();
    assert_eq!(cluster.calls("delete deployments"), 1);
    cluster.script(r#"{"seconds_ahead":310}"#);
    let run = cluster.run(&[]);
    run.succeeded();
    assert!(run.log.contains("of a run that is gone"), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_kubeconfig_of_awss_own_cli_works_without_it() {
    let cluster = Cluster::stand_in();
    let kubeconfig = cluster.kubeconfig("kubeconfig-eks");
    let pairs = [("kubeconfig", kubeconfig.as_str())];
    cluster.run(&pairs).succeeded();
    let run = cluster.run_with(&pairs, &[("AWS_ACCESS_KEY_ID", "")]);
    assert_eq!(run.code, Some(3));
    let words = "could not get credentials for https://127.0.0.1";
    assert!(run.log.contains(words), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

/// Our own plugin, whose tokens say that they are good for two seconds, and a server that takes
/// none older than five: a day's worth of renewals within one build.
#[test]
fn a_build_outlives_its_tokens() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"token_seconds":5}"#);
    let minted = cluster.file("minted");
    let plugin = cluster.file("plugin");
    let program = cluster.program();
    let text = format!(
        "#!/bin/sh\necho x >> '{}'\nsoon=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         '{}' eks-token --cluster builders --region eu-west-1 |\n  \
         sed \"s/\\\"expirationTimestamp\\\":\\\"[^\\\"]*\\\"/\\\"expirationTimestamp\\\":\\\"$soon\\\"/\"\n",
        minted.display(),
        program.display()
    );
    std::fs::write(&plugin, text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&plugin, executable).unwrap();
    let text = cluster.kubeconfig("kubeconfig-eks");
    let (head, _) = text.split_once("      command: aws").unwrap();
    let kubeconfig = format!("{head}      command: {}\n", plugin.display());
    let run = cluster.run(&[
        ("kubeconfig", &kubeconfig),
        ("allow-exec", "true"),
        ("build-args", "SECONDS=14"),
    ]);
    run.succeeded();
    let refused = std::fs::read_to_string(cluster.file("unauthorized")).unwrap_or_default();
    assert_eq!(refused, "", "{}", run.log);
    let minted = std::fs::read_to_string(minted).unwrap().lines().count();
    assert!(minted >= 5, "{minted} tokens");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_cluster_of_eks_needs_its_name_only() {
    let cluster = Cluster::stand_in();
    let run = |name, role| {
        cluster.run(&[
            ("kubeconfig", ""),
            ("eks-cluster", name),
            ("aws-region", "eu-west-1"),
            ("driver", role),
        ])
    };
    run("builders", "kubernetes").succeeded();
    assert_eq!(run("builders", "auto").output("driver"), "kubernetes");
    let missing = run("nowhere", "kubernetes");
    assert_eq!(missing.code, Some(3));
    let words = "could not describe the EKS cluster `nowhere`";
    assert!(missing.log.contains(words), "{}", missing.log);
    assert!(missing.log.contains("in this account and `aws-region`?"));
    let private = run("private", "kubernetes");
    assert_eq!(private.code, Some(3));
    let words = "could not reach the Kubernetes API at https://127.0.0.1:1";
    assert!(private.log.contains(words), "{}", private.log);
    assert!(private.log.contains("hint: its API endpoint is private"));
    assert_eq!(run("private", "auto").output("driver"), "docker");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn an_evicted_pod_ends_the_build_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"evicted"}"#);
    let begun = Instant::now();
    let run = cluster.run(&[("build-args", "SECONDS=60")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "was lost during the build: its pod failed: Evicted";
    assert!(run.log.contains(words), "{}", run.log);
    assert!(begun.elapsed() < POD + Duration::from_millis(1500) + Duration::from_secs(10));
    assert_eq!(cluster.stop(), [""; 0]);
}

/// buildx 0.29, which the rig has, waits for such a stream without end.
#[test]
fn a_cut_stream_ends_the_build_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"cut_exec_after_ms":3000}"#);
    let begun = Instant::now();
    let run = cluster.run(&[("build-args", "SECONDS=60")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "was lost during the build: its connection through the Kubernetes API was cut";
    assert!(run.log.contains(words), "{}", run.log);
    let took = begun.elapsed();
    assert!(took < POD + Duration::from_secs(3 + 10 + 1), "{took:?}");
    assert_eq!(cluster.stop(), [""; 0]);
}

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
                  - tolerations=key=arm,operator=Exists,effect=NoSchedule\n  buildkitd-flags: --debug\n";
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

#[test]
fn with_auto_this_machine_takes_over() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"quota"}"#);
    let run = cluster.run(&[("driver", "auto")]);
    run.succeeded();
    assert_eq!(run.output("driver"), "docker");
    assert!(
        run.log
            .contains("the cluster can't build, this machine does")
    );
    assert!(run.log.contains("exceeded quota"));
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
    let near = |what: &str, measured: f64, real: f64, more: f64| {
        assert!(
            measured > real - 0.1 && measured < real + more,
            "{what}: {measured} s, by hand {real} s: {}",
            image["timeline"]
        );
    };
    let phase = |name: &str| seconds(&image["phases"][name]["partition_ms"]);
    near("build", phase("build"), 7.0, 1.0);
    // The probe finds a container ready a second after its start.
    let boot = 0.7 + 2.0 + 0.6 + 1.0;
    near("builder", phase("builder"), boot, 1.5);
    let stage = |name: &str| {
        let stages = image["boot"].as_array().unwrap().iter();
        let found = stages.filter(|stage| stage["name"].as_str().unwrap().contains(name));
        found
            .map(|stage| seconds(&stage["duration_ms"]))
            .sum::<f64>()
    };
    near("wait for a node", stage("wait for a node"), 0.7, 0.5);
    // Events are read once a second: where the pull begins is known that well, where it ends better.
    near(
        "pull and start",
        stage("prepare the pod") + stage("pull the"),
        2.6,
        0.5,
    );
    near("wait for BuildKit", stage("wait for BuildKit"), 1.0, 0.5);
    let phases = image["phases"].as_object().unwrap().values();
    let sum: f64 = phases.map(|phase| seconds(&phase["partition_ms"])).sum();
    let total = seconds(&image["total_ms"]);
    assert!((sum - total).abs() < 0.001, "{sum} of {total}");
    near("total", took, total, 1.0);
    // Nothing of the rest is unknown: what is left is getting ready, pushing and cleaning up.
    assert!(phase("other") < 0.02 * total, "{}", image["phases"]);
    assert_eq!(cluster.stop(), [""; 0]);
}
