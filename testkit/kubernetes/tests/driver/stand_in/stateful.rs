//! Kept builders of several pods with a volume each, where something is in the way.

use crate::cluster::{Cluster, Run};

const NAME: &str = "fast-ecr-push-pods";
const OPTIONS: &str = "persistent-volume-claim.requests.storage=1Gi\nreplicas=2";

/// A run; none where this buildx can't find such a builder, which is refused in words.
fn run(cluster: &Cluster, options: &str) -> Option<Run> {
    let inputs = [
        ("builder", NAME),
        ("driver-opts", options),
        ("builder-timeout", "20"),
    ];
    let run = cluster.run(&inputs);
    if options == OPTIONS && !cluster.has_buildx_since((0, 34)) {
        assert_eq!(run.code, Some(2), "{}", run.log);
        assert!(run.log.contains("or buildx 0.34 or newer"), "{}", run.log);
        return None;
    }
    Some(run)
}

#[test]
fn a_stateful_set_that_may_make_no_pods_says_why() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"quota"}"#);
    if let Some(run) = run(&cluster, OPTIONS) {
        assert_eq!(run.code, Some(3), "{}", run.log);
        let words = "cannot start: the cluster refuses its pod: create Pod fast-ecr-push-pods-0 in StatefulSet";
        assert!(run.log.contains(words), "{}", run.log);
        let hint = "raise the namespace's ResourceQuota";
        assert!(run.log.contains(hint), "{}", run.log);
        cluster.objects().delete_builder(NAME);
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn rights_for_stateful_sets_are_looked_at_where_there_is_to_be_one() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"denied":["get statefulsets","create statefulsets"]}"#);
    if let Some(run) = run(&cluster, OPTIONS) {
        assert_eq!(run.code, Some(3), "{}", run.log);
        let words = "lacks rights in the namespace `buildx`: get statefulsets, create statefulsets";
        assert!(run.log.contains(words), "{}", run.log);
        assert!(run.log.contains("resources: [statefulsets]"), "{}", run.log);
    }
    // One pod needs none of them.
    let one = "persistent-volume-claim.requests.storage=1Gi";
    run(&cluster, one).unwrap().succeeded();
    cluster.objects().delete_builder(NAME);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_stateful_set_that_the_cluster_refuses_gives_way_to_the_drivers_own() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"faults":[{"call":"create statefulsets","code":422,"times":1}]}"#);
    if let Some(run) = run(&cluster, OPTIONS) {
        run.succeeded();
        let words = "(422: a fault by script): buildx's own is used";
        assert!(run.log.contains(words), "{}", run.log);
        let made = &cluster.record("workloads")[0];
        assert_eq!(made["kind"], "StatefulSet");
        let metadata = &made["metadata"];
        assert_eq!(metadata["annotations"]["stand-in/made-by"], "buildx");
        assert_eq!(metadata["labels"]["fast-ecr-push/lifetime"], "kept");
        cluster.objects().delete_builder(NAME);
    }
    // buildx's own claims bear no mark of ours: a builder that is kept is its owner's to delete.
    let left = cluster.stop();
    let of_buildx = |name: &String| name.contains("/buildkitd-fast-ecr-push-pods-");
    assert!(left.iter().all(of_buildx), "{left:?}");
}

/// What a newer buildx made, an older one does not look for.
#[test]
fn a_kept_stateful_set_and_an_older_buildx() {
    let cluster = Cluster::stand_in();
    cluster.objects().create_stateful_set(NAME);
    let one = "persistent-volume-claim.requests.storage=1Gi";
    let run = run(&cluster, one).unwrap();
    if cluster.has_buildx_since((0, 34)) {
        run.succeeded();
        let words = "was not created by this action: it is used as it is";
        assert!(run.log.contains(words), "{}", run.log);
    } else {
        assert_eq!(run.code, Some(3), "{}", run.log);
        let words = "is a StatefulSet, which buildx 0.";
        assert!(run.log.contains(words), "{}", run.log);
        assert!(
            run.log.contains("install buildx 0.34 or newer"),
            "{}",
            run.log
        );
    }
    cluster.objects().delete_builder(NAME);
    assert_eq!(cluster.stop(), [""; 0]);
}
