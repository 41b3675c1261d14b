//! The action on a Kubernetes builder: buildx's real driver and a real BuildKit, against the API
//! stand-in. Needs the rig: `rig exec -- cargo test --package kubernetes-stand-in --test driver`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod cluster;

use std::time::{Duration, Instant};

use cluster::{Cluster, Run};

/// As it stands in somebody's setup-buildx workflow.
const BLOCK: &str = "replicas=1\nnamespace=buildx\nrequests.cpu=2\nrequests.memory=7Gi\nlimits.cpu=2\nrequests.memory=7Gi";

/// What the default script takes from the Deployment to its ready pod.
const POD: Duration = Duration::from_millis(50 + 100 + 100 + 1000);

#[test]
fn the_block_of_a_setup_buildx_workflow_builds_and_pushes() {
    let cluster = Cluster::start();
    let run = cluster.run(&[("driver-opts", BLOCK)]);
    run.succeeded();
    assert!(
        run.log
            .contains("`driver-opts` names `requests.memory` more than once: the last one counts")
    );
    assert_eq!(run.output("driver"), "kubernetes");
    let builder = run.output("builder");
    assert!(
        run.log
            .contains(&format!("builder `{builder}` is up on ip-10-0-1-23"))
    );
    let workload = cluster.record("workloads");
    assert_eq!(workload.len(), 1);
    let pod = &workload[0]["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["resources"],
        serde_json::json!({
            "requests": { "cpu": "2", "memory": "7Gi" }, "limits": { "cpu": "2" },
        })
    );
    // buildx found it: it made none of its own, and dialed once for the build.
    assert_eq!(cluster.calls("create deployments"), 1);
    assert_eq!(cluster.calls("create pods/exec"), 1);
    let ours = Duration::from_secs_f64(run.output("builder-seconds").parse().unwrap()) - POD;
    assert!(ours < Duration::from_secs(1), "our part took {ours:?}");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn every_trouble_has_its_words_and_leaves_nothing() {
    let cluster = Cluster::start();
    for (script, seconds, words, hint) in [
        (
            r#"{"trouble":"unschedulable"}"#,
            8,
            "was not ready within 3 s: no node takes it: 0/5 nodes are available: 2 node(s) had",
            "lower `requests` in `driver-opts`, or add nodes",
        ),
        (
            r#"{"trouble":"never-ready"}"#,
            8,
            "its container runs and is not ready",
            "raise `builder-timeout`",
        ),
        (
            r#"{"trouble":"crash-loop"}"#,
            8,
            "BuildKit ends as soon as it starts (exit code 1)",
            "its log above says why",
        ),
        (
            r#"{"trouble":"quota"}"#,
            8,
            "exceeded quota: builders",
            "raise the namespace's ResourceQuota",
        ),
        (
            r#"{"namespaces":["default"]}"#,
            8,
            "namespaces \"buildx\" not found",
            "kubectl create namespace",
        ),
        (
            r#"{"denied":["create pods/exec"]}"#,
            8,
            "lacks rights in the namespace `buildx`: create pods/exec",
            "kind: Role",
        ),
        (
            r#"{"faults":[{"call":"create deployments","code":401,"times":1}]}"#,
            8,
            "refuses the credentials (401)",
            "aws eks create-access-entry",
        ),
    ] {
        cluster.script(script);
        let begun = Instant::now();
        let run = cluster.run(&[("namespace", "buildx"), ("builder-timeout", "3")]);
        assert_eq!(run.code, Some(3), "{script}: {}", run.log);
        assert!(run.log.contains(words), "{script}: {}", run.log);
        assert!(run.log.contains(hint), "{script}: {}", run.log);
        assert!(begun.elapsed() < Duration::from_secs(seconds), "{script}");
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn what_keeps_a_pod_is_said_at_once() {
    let cluster = Cluster::start();
    cluster.script(r#"{"trouble":"image-pull"}"#);
    let run = cluster.run(&[("namespace", "buildx"), ("builder-timeout", "3")]);
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
    let cluster = Cluster::start();
    cluster.script(
        r#"{"scheduled_ms":200,"pulled_ms":2500,"ready_ms":2500,"denied":["watch pods","list events","get pods/log","patch deployments","list deployments"]}"#,
    );
    let run = cluster.run(&[("namespace", "buildx")]);
    run.succeeded();
    assert!(run.log.contains("builder scheduled on"));
    assert_eq!(cluster.calls("watch pods"), 1);
    let seconds: f64 = run.output("builder-seconds").parse().unwrap();
    // Once a second, and some at the beginning and for buildx.
    let lists = u32::try_from(cluster.calls("list pods")).unwrap();
    assert!(f64::from(lists) < seconds + 8.0, "{lists} in {seconds} s");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn an_api_that_stumbles_is_asked_again() {
    let cluster = Cluster::start();
    cluster.script(
        r#"{"faults":[{"call":"list pods","code":503,"times":2},{"call":"watch pods","code":410,"times":1},
            {"call":"get deployments","code":500,"times":1}]}"#,
    );
    cluster.run(&[("namespace", "buildx")]).succeeded();
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn four_legs_of_a_matrix_have_four_builders() {
    let cluster = Cluster::start();
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let legs: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|leg| {
                let cluster = &cluster;
                scope.spawn(move || {
                    let tag = cluster.tag(leg);
                    cluster.run(&[("namespace", "buildx"), ("tags", &tag)])
                })
            })
            .collect();
        legs.into_iter().map(|leg| leg.join().unwrap()).collect()
    });
    let mut builders: Vec<String> = runs
        .iter()
        .map(|run| {
            run.succeeded();
            run.output("builder")
        })
        .collect();
    builders.sort();
    builders.dedup();
    assert_eq!(builders.len(), 4);
    assert_eq!(cluster.calls("delete deployments"), 4);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_killed_run_is_cleaned_up_by_its_post_step() {
    let cluster = Cluster::start();
    let state = cluster.run_and_kill();
    assert_eq!(cluster.calls("delete deployments"), 0);
    let post = cluster.post(&state);
    assert!(post.contains("removed the builder"), "{post}");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_killed_run_without_a_post_step_is_removed_by_a_later_one_and_no_sooner() {
    let cluster = Cluster::start();
    cluster.run_and_kill();
    cluster.run(&[("namespace", "buildx")]).succeeded();
    assert_eq!(cluster.calls("delete deployments"), 1);
    cluster.script(r#"{"seconds_ahead":310}"#);
    let run = cluster.run(&[("namespace", "buildx")]);
    run.succeeded();
    assert!(run.log.contains("of a run that is gone"), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_kubeconfig_of_awss_own_cli_works_without_it() {
    let cluster = Cluster::start();
    let kubeconfig = cluster.kubeconfig("kubeconfig-eks");
    let pairs = [("namespace", "buildx"), ("kubeconfig", kubeconfig.as_str())];
    cluster.run(&pairs).succeeded();
    let run = cluster.run_with(&pairs, &[("AWS_ACCESS_KEY_ID", "")]);
    assert_eq!(run.code, Some(3));
    assert!(
        run.log
            .contains("could not get credentials for https://127.0.0.1")
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_cluster_of_eks_needs_its_name_only() {
    let cluster = Cluster::start();
    let run = |name, role| {
        cluster.run(&[
            ("namespace", "buildx"),
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
    assert!(
        missing
            .log
            .contains("could not describe the EKS cluster `nowhere`")
    );
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
    let cluster = Cluster::start();
    cluster.script(r#"{"trouble":"evicted"}"#);
    let begun = Instant::now();
    let run = cluster.run(&[("namespace", "buildx"), ("build-args", "SECONDS=60")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "was lost during the build: its pod failed: Evicted";
    assert!(run.log.contains(words), "{}", run.log);
    assert!(begun.elapsed() < POD + Duration::from_millis(1500) + Duration::from_secs(10));
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn two_platforms_have_two_native_nodes() {
    let cluster = Cluster::start_with_two_buildkits();
    cluster.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n");
    let platforms = ("platforms", "linux/amd64,linux/arm64");
    let run = cluster.run(&[("namespace", "buildx"), platforms]);
    run.succeeded();
    let selectors: Vec<_> = cluster
        .record("workloads")
        .iter()
        .map(|workload| workload["spec"]["template"]["spec"]["nodeSelector"].to_string())
        .collect();
    assert_eq!(
        selectors,
        [
            r#"{"kubernetes.io/arch":"amd64"}"#,
            r#"{"kubernetes.io/arch":"arm64"}"#
        ]
    );
    // Each node was built on.
    let mut pods: Vec<_> = cluster
        .record("execs")
        .iter()
        .map(|exec| exec["pod"].to_string())
        .collect();
    pods.sort();
    pods.dedup();
    assert_eq!(pods.len(), 2, "{}", run.log);
    let seconds: f64 = run.output("builder-seconds").parse().unwrap();
    assert!(
        seconds < 2.0 * POD.as_secs_f64(),
        "one after the other: {seconds} s"
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_named_builder_is_kept_and_changed_only_when_told_to() {
    let cluster = Cluster::start();
    let volume = "persistent-volume-claim.requests.storage=10Gi";
    let more = format!("{volume}\nlimits.memory=7Gi");
    let tags = std::sync::atomic::AtomicUsize::new(0);
    let run = |options: &str, replace: &str| {
        let number = tags.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tag = cluster.tag(&format!("image-{number}"));
        let run = cluster.run(&[
            ("namespace", "buildx"),
            ("tags", &tag),
            ("builder", "team-cache"),
            ("driver-opts", options),
            ("replace", replace),
        ]);
        run.succeeded();
        assert_eq!(run.output("builder"), "team-cache");
        run
    };
    run(volume, "");
    let again = run(volume, "");
    assert!(!again.log.contains("differs"), "{}", again.log);
    assert!(again.output("builder-seconds").parse::<f64>().unwrap() < 1.0);
    let differs = "the builder `team-cache` differs from what is asked for";
    let limit = "`template.spec.containers[0].resources.limits.memory` is null, not \"7Gi\"";
    let other = run(&more, "");
    assert!(
        other.log.contains(differs) && other.log.contains(limit),
        "{}",
        other.log
    );
    assert_eq!(cluster.calls("create deployments"), 1);
    let replaced = run(&more, "true");
    assert!(replaced.log.contains("and is replaced"), "{}", replaced.log);
    assert_eq!(cluster.calls("create deployments"), 2);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| run(&more, ""));
        }
    });
    assert_eq!(cluster.calls("create deployments"), 2);
    let left = cluster.stop();
    let kinds: Vec<&str> = left
        .iter()
        .map(|name| name.split('/').next().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "configmaps",
            "deployments",
            "persistentvolumeclaims",
            "pods"
        ]
    );
}

#[test]
fn with_auto_this_machine_takes_over() {
    let cluster = Cluster::start();
    cluster.script(r#"{"trouble":"quota"}"#);
    let run = cluster.run(&[("namespace", "buildx"), ("driver", "auto")]);
    run.succeeded();
    assert_eq!(run.output("driver"), "docker");
    assert!(
        run.log
            .contains("the cluster can't build, this machine does")
    );
    assert!(run.log.contains("exceeded quota"));
    assert_eq!(cluster.stop(), [""; 0]);
}
