//! Buildx's own manifest, clocks, and what killed runs leave.

use crate::cluster::Cluster;

#[test]
fn a_manifest_that_the_cluster_refuses_gives_way_to_the_drivers_own() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"faults":[{"call":"create deployments","code":422,"times":1}]}"#);
    let run = cluster.run(&[
        ("buildkitd-config-inline", "debug = true"),
        ("driver-opts", "labels=team=ci\nannotations=a=b"),
    ]);
    run.succeeded();
    let words = "the cluster refuses our manifest (422: a fault by script): using buildx's own";
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
    assert!(
        run.log.contains("removed the orphaned builder"),
        "{}",
        run.log
    );
    assert_eq!(cluster.stop(), [""; 0]);
}
