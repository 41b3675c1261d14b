//! What holds on every cluster.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Cluster, Run};

/// As it stands in somebody's setup-buildx workflow, but for the namespace, which is the cluster's.
const BLOCK: &str = "replicas=1\nnamespace=buildx\nrequests.cpu=2\nrequests.memory=7Gi\nlimits.cpu=2\nrequests.memory=7Gi";

/// The stages of a boot, as the summary names them.
const STAGES: [&str; 4] = [
    "ask the cluster for a builder",
    "wait for a node",
    "pull the builder's image, start its container",
    "wait for BuildKit",
];

#[test]
fn the_block_of_a_setup_buildx_workflow_builds_and_pushes() {
    let cluster = Cluster::any();
    let block = BLOCK.replace("buildx", cluster.namespace());
    let run = cluster.run(&[("driver-opts", &block)]);
    run.succeeded();
    let repeated = "`driver-opts` names `requests.memory` more than once: the last one counts";
    assert!(run.log.contains(repeated), "{}", run.log);
    assert_eq!(run.output("driver"), "kubernetes");
    assert!(run.output("digest").starts_with("sha256:"));
    let builder = run.output("builder");
    assert!(
        run.log
            .contains(&format!("builder `{builder}` is ready on "))
    );
    for stage in STAGES {
        let mut rows = run.summary.lines().filter(|line| line.starts_with('|'));
        let row = rows.find(|line| line.contains(stage));
        let row = row.unwrap_or_else(|| panic!("no `{stage}` in {}", run.summary));
        // Non-breaking spaces stand between numbers and units.
        assert!(row.contains("\u{a0}s |"), "{row}");
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn four_legs_of_a_matrix_have_four_builders() {
    let cluster = Cluster::any();
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let legs: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|leg| {
                let cluster = &cluster;
                scope.spawn(move || {
                    let tag = cluster.tag(leg);
                    // One of them ends long after the others have removed theirs.
                    let seconds = if leg == "d" { "SECONDS=8" } else { "SECONDS=1" };
                    cluster.run_with(
                        &[("tags", &tag), ("build-args", seconds)],
                        &[("GITHUB_JOB", "image"), ("GITHUB_RUN_ID", "7")],
                    )
                })
            })
            .collect();
        legs.into_iter().map(|leg| leg.join().unwrap()).collect()
    });
    let mut builders: Vec<String> = runs
        .iter()
        .map(|run| {
            run.succeeded();
            assert!(
                !run.log.contains("removed the orphaned builder"),
                "{}",
                run.log
            );
            run.output("builder")
        })
        .collect();
    builders.sort();
    builders.dedup();
    assert_eq!(builders.len(), 4);
    assert_eq!(cluster.stop(), [""; 0]);
}

/// A daemon's configuration, which makes the run have a ConfigMap, too.
const CONFIG: (&str, &str) = (
    "buildkitd-config-inline",
    "[worker.oci]\nmax-parallelism = 4\n",
);

#[test]
fn a_killed_run_is_cleaned_up_by_its_post_step() {
    let cluster = Cluster::any();
    let state = cluster.run_and_kill(&[CONFIG]);
    let names = cluster.objects().names();
    assert_eq!(names.len(), 3, "{names:?}");
    let post = cluster.post(&state);
    assert!(post.contains("removed the builder"), "{post}");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_killed_run_without_a_post_step_is_removed_by_a_later_one_and_no_sooner() {
    let cluster = Cluster::any();
    cluster.run_and_kill(&[CONFIG]);
    let objects = cluster.objects();
    let left = objects.names();
    assert_eq!(left.len(), 3, "Deployment, ConfigMap, pod: {left:?}");
    cluster.run(&[]).succeeded();
    let still = objects.names();
    assert!(left.iter().all(|name| still.contains(name)), "{still:?}");
    objects.make_heartbeats_old();
    let run = cluster.run(&[]);
    run.succeeded();
    assert!(
        run.log.contains("removed the orphaned builder"),
        "{}",
        run.log
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_pod_that_no_node_takes_says_why_and_leaves_nothing() {
    let cluster = Cluster::any();
    let begun = Instant::now();
    let run = cluster.run(&[
        (
            "driver-opts",
            "nodeselector=fast-ecr-push/no-such-label=true",
        ),
        ("builder-timeout", "5"),
    ]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let words = "was not ready within 5 s: no node takes its pod: 0/";
    assert!(run.log.contains(words), "{}", run.log);
    let hint = "hint: is there a node with the labels `fast-ecr-push/no-such-label=true` of";
    assert!(run.log.contains(hint), "{}", run.log);
    // Where the time went is told of a boot that failed, too.
    let mut rows = run.summary.lines().filter(|line| line.starts_with('|'));
    let row = rows.find(|line| line.contains("wait for a node"));
    let row = row.unwrap_or_else(|| panic!("{}", run.summary));
    let seconds = row.split('|').find(|cell| cell.contains("\u{a0}s"));
    assert!(seconds.is_some_and(|cell| !cell.contains(" 0")), "{row}");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_pod_that_goes_away_ends_the_build_within_ten_seconds() {
    let cluster = Cluster::any();
    let run = std::thread::scope(|scope| {
        let (cluster, objects) = (&cluster, cluster.objects());
        let run = scope.spawn(move || {
            let run = cluster.run(&[("build-args", "SECONDS=90")]);
            (run, Instant::now())
        });
        let is_ready = || {
            let deployments = objects.deployments();
            deployments
                .iter()
                .any(|one| one["status"]["readyReplicas"] == 1)
        };
        while !is_ready() {
            assert!(!run.is_finished(), "{}", run.join().unwrap().0.log);
            std::thread::sleep(Duration::from_millis(200));
        }
        // The build is on its way by then.
        std::thread::sleep(Duration::from_secs(5));
        let deleted = Instant::now();
        objects.delete_pods();
        let (run, ended) = run.join().unwrap();
        let took = ended.duration_since(deleted);
        assert!(took < Duration::from_secs(10), "{took:?}: {}", run.log);
        run
    });
    assert_eq!(run.code, Some(3), "{}", run.log);
    assert!(
        run.log.contains("was lost during the build: "),
        "{}",
        run.log
    );
    assert!(run.log.contains("hint: "), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let cluster = Cluster::any();
    let run = cluster.run(&[("namespace", "fast-ecr-push-nowhere")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "namespaces \"fast-ecr-push-nowhere\" not found";
    assert!(run.log.contains(words), "{}", run.log);
    assert!(run.log.contains("kubectl create namespace"), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_named_builder_is_kept_and_changed_only_when_told_to() {
    let cluster = Cluster::any();
    let name = "fast-ecr-push-test";
    let volume = "persistent-volume-claim.requests.storage=10Gi\ntimeout=5m";
    let more = format!("{volume}\nlimits.memory=7Gi");
    let tags = std::sync::atomic::AtomicUsize::new(0);
    let run = |options: &str, replace: &str| {
        let number = tags.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tag = cluster.tag(&format!("image-{number}"));
        let run = cluster.run(&[
            ("tags", &tag),
            ("builder", name),
            ("driver-opts", options),
            ("replace", replace),
            CONFIG,
        ]);
        run.succeeded();
        assert_eq!(run.output("builder"), name);
        run
    };
    let objects = cluster.objects();
    let uid = || objects.deployments()[0]["metadata"]["uid"].clone();
    run(volume, "");
    let first = uid();
    let deployment = &objects.deployments()[0];
    // buildx's driver mounts no configuration beside a volume; ours does.
    let mounts = &deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(
        [&mounts[0]["mountPath"], &mounts[1]["mountPath"]],
        ["/var/lib/buildkit", "/etc/buildkit"]
    );
    let config = objects.buildkitd_config(name);
    assert!(config.contains("max-parallelism = 4") && config.contains("maxUsedSpace"));
    let again = run(volume, "");
    assert!(!again.log.contains("differs"), "{}", again.log);
    assert!(again.seconds("builder-seconds") < 2.0, "{}", again.outputs);
    let differs = format!("the builder `{name}` differs from the inputs");
    let limit = "`template.spec.containers[0].resources.limits.memory` is null, not \"7Gi\"";
    let other = run(&more, "");
    assert!(
        other.log.contains(&differs) && other.log.contains(limit),
        "{}",
        other.log
    );
    assert_eq!(uid(), first);
    let replaced = run(&more, "true");
    assert!(replaced.log.contains("and is replaced"), "{}", replaced.log);
    let second = uid();
    assert_ne!(second, first);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| run(&more, ""));
        }
    });
    assert_eq!(uid(), second);
    // A new builder has the same volume, so none is made for its sake.
    let larger = run(&more.replace("10Gi", "20Gi"), "true");
    let volume = format!(
        "the volume of the builder `{name}` differs from the inputs, but is kept: \
         `resources.requests.storage` is \"10Gi\", not \"20Gi\""
    );
    assert!(larger.log.contains(&volume), "{}", larger.log);
    assert_eq!(uid(), second);
    assert_eq!(
        objects.kinds(),
        [
            "deployments",
            "configmaps",
            "persistentvolumeclaims",
            "pods"
        ]
    );
    objects.delete_builder(name);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_named_builder_runs_the_push_engines_step_and_nothing_is_sent_twice() {
    let cluster = Cluster::any();
    let name = "fast-ecr-push-engine";
    let step = cluster.step();
    let tag = cluster.tag("engine");
    let run = || {
        let inputs = [("tags", &*tag), ("builder", name), ("accelerate", "on")];
        let env = [("FAST_ECR_PUSH_STEP", step.to_str().unwrap())];
        let run = cluster.run_with(&inputs, &env);
        run.succeeded();
        run
    };
    let (first, second) = (run(), run());
    assert_ne!(first.output("pushed-bytes"), "0", "{}", first.log);
    assert_eq!(second.output("pushed-bytes"), "0", "{}", second.log);
    assert_eq!(first.output("digest"), second.output("digest"));
    cluster.objects().delete_builder(name);
    assert_eq!(cluster.stop(), [""; 0]);
}

/// Since 0.34 buildx's driver looks for a StatefulSet where there is a volume.
#[test]
fn several_pods_that_are_kept_have_a_volume_each() {
    let cluster = Cluster::any_with_two_buildkits();
    // The stand-in's second BuildKit has no network for steps.
    let unique = cluster.tag("several-pods");
    cluster.dockerfile(&format!("RUN --network=none echo {unique}\n"));
    let name = "fast-ecr-push-pods";
    let volumes = "persistent-volume-claim.requests.storage=1Gi\nreplicas=2";
    let run = |options: &str, replace: &str| {
        cluster.run(&[
            ("builder", name),
            ("driver-opts", options),
            ("replace", replace),
            CONFIG,
        ])
    };
    let objects = cluster.objects();
    let first = run(volumes, "");
    if !cluster.has_buildx_since((0, 34)) {
        assert_eq!(first.code, Some(2), "{}", first.log);
        let words = "input `driver-opts`: `persistent-volume-claim.requests.storage=1Gi` given, expected \
                     `replicas=1`, or buildx 0.34 or newer (this one is ";
        assert!(first.log.contains(words), "{}", first.log);
        assert_eq!(cluster.stop(), [""; 0]);
        return;
    }
    first.succeeded();
    assert_eq!(first.output("builder"), name);
    assert!(!first.has_cached("echo"), "{}", first.log);
    let uid = || objects.stateful_sets()[0]["metadata"]["uid"].clone();
    let (before, claims) = (uid(), objects.claims());
    let names: Vec<&str> = claims.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [0, 1].map(|pod| format!("buildkitd-{name}-{pod}"));
    assert_eq!(names, expected);
    assert!(objects.buildkitd_config(name).contains("maxUsedSpace"));
    // The same context leads to the same pod.
    let again = run(volumes, "");
    again.succeeded();
    assert!(!again.log.contains("differs"), "{}", again.log);
    assert!(again.has_cached("echo"), "{}", again.log);
    assert!(again.seconds("builder-seconds") < 2.0, "{}", again.outputs);
    let limited = format!("{volumes}\nlimits.memory=7Gi");
    let replaced = run(&limited, "true");
    replaced.succeeded();
    let limit = "`template.spec.containers[0].resources.limits.memory` is null, not \"7Gi\"";
    assert!(replaced.log.contains(limit), "{}", replaced.log);
    assert_ne!(uid(), before);
    // New pods of the same names, on the volumes of those before.
    assert_eq!(objects.claims(), claims);
    assert!(replaced.has_cached("echo"), "{}", replaced.log);
    // One pod is another kind of builder; it is used as it is.
    let one = run("persistent-volume-claim.requests.storage=1Gi", "");
    one.succeeded();
    let kind = "`kind` is \"StatefulSet\", not \"Deployment\"";
    assert!(one.log.contains(kind), "{}", one.log);
    let random = format!("{limited}\nloadbalance=random");
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (cluster, random) = (&cluster, &random);
            scope.spawn(move || {
                let tag = cluster.tag(&format!("at-once-{number}"));
                let inputs = [
                    ("builder", name),
                    ("driver-opts", random),
                    ("tags", &tag),
                    CONFIG,
                ];
                cluster.run(&inputs).succeeded();
            });
        }
    });
    assert_eq!(
        objects.kinds(),
        [
            "statefulsets",
            "configmaps",
            "persistentvolumeclaims",
            "persistentvolumeclaims",
            "pods",
            "pods"
        ]
    );
    objects.delete_builder(name);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn the_volume_of_a_builder_of_one_run_goes_with_it() {
    let cluster = Cluster::any();
    let volume = "persistent-volume-claim.requests.storage=1Gi";
    cluster.run_and_kill(&[("driver-opts", volume)]);
    let objects = cluster.objects();
    assert_eq!(objects.claims().len(), 1);
    objects.make_heartbeats_old();
    cluster.run(&[("driver-opts", volume)]).succeeded();
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn what_goes_over_the_api_is_counted() {
    let cluster = Cluster::any();
    let (sent, loaded) = (6_000_000, 3_000_000);
    let bytes: Vec<u8> = (0..sent)
        .map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    std::fs::write(cluster.context("data"), bytes).unwrap();
    cluster.dockerfile(&format!(
        "COPY data /data\nRUN head -c {loaded} /dev/urandom > /y\n"
    ));
    let timings = cluster.file("timings.json").display().to_string();
    let output = format!("type=tar,dest={}", cluster.file("image.tar").display());
    let run = cluster.run(&[
        ("outputs", &output),
        ("tags", ""),
        ("timings-file", &timings),
    ]);
    run.succeeded();
    let text = std::fs::read_to_string(timings).unwrap();
    let counted = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["images"][0]["kubernetes_api_bytes"];
    let bytes = |name: &str| counted[name].as_u64().unwrap();
    let image = std::fs::metadata(cluster.file("image.tar")).unwrap().len();
    // Headers, TLS and the calls beside it are little.
    let near = |counted: u64, real: u64| counted >= real && counted < real + real / 20 + 1_000_000;
    assert!(near(bytes("sent"), u64::from(sent)), "{counted}");
    assert!(near(bytes("received"), image), "{counted}, {image}");
    assert!(run.log.contains("over the Kubernetes API: "), "{}", run.log);
    assert!(
        run.summary.contains("| Kubernetes API | "),
        "{}",
        run.summary
    );
    assert_ne!(counted, &json!(null));
    assert_eq!(cluster.stop(), [""; 0]);
}
