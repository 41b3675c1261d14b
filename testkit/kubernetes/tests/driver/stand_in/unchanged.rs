//! `skip-unchanged` with a builder in a cluster: a hit asks the cluster for nothing.

use crate::cluster::Cluster;

/// Requests to the cluster and to EKS so far.
fn asked(cluster: &Cluster) -> (usize, usize) {
    let calls = |name| cluster.record(name).len();
    (calls("requests"), calls("eks"))
}

/// A build whose image may exist: the platform is set, since without one only a builder knows it.
fn run<'a>(others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut inputs = vec![
        ("skip-unchanged", "true"),
        ("platforms", "linux/amd64"),
        ("aws-region", "eu-west-1"),
    ];
    inputs.extend(others);
    inputs
}

#[test]
fn a_hit_asks_nothing_of_the_cluster_nor_of_eks() {
    let cluster = Cluster::stand_in();
    let eks = run(&[("kubeconfig", ""), ("eks-cluster", "builders")]);
    let built = cluster.run(&eks);
    built.succeeded();
    assert_eq!(built.output("driver"), "kubernetes");
    let before = asked(&cluster);
    assert!(before.0 > 0 && before.1 == 1, "{before:?}");

    let command = cluster.with_command("touch \"$(dirname \"$0\")/called\"; exit 1");
    for inputs in [
        eks,
        run(&[("kubeconfig", ""), ("eks-cluster", "nowhere")]),
        run(&[]),
        run(&[("kubeconfig", &command), ("allow-exec", "true")]),
    ] {
        let (hit, state) = cluster.run_before_post(&inputs);
        hit.succeeded();
        assert_eq!(hit.output("unchanged"), "true", "{}", hit.log);
        assert_eq!(hit.output("digest"), built.output("digest"));
        cluster.post(&state);
        assert_eq!(asked(&cluster), before, "{inputs:?}: {}", hit.log);
    }
    assert!(!cluster.file("called").exists());
    std::fs::remove_file(cluster.file("state")).unwrap();
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_miss_describes_the_cluster_and_ends_as_without_the_input_where_that_fails() {
    let cluster = Cluster::stand_in();
    let missing = [("kubeconfig", ""), ("eks-cluster", "nowhere")];
    let failed = cluster.run(&run(&missing));
    assert_eq!(failed.code, Some(3), "{}", failed.log);
    for words in [
        "`skip-unchanged` builds: `",
        "could not describe the EKS cluster `nowhere`",
        "check the name, the account and `aws-region`",
    ] {
        assert!(failed.log.contains(words), "{words}: {}", failed.log);
    }
    assert_eq!(asked(&cluster), (0, 1));

    let either = [&missing[..], &[("driver", "auto")]].concat();
    let local = cluster.run(&run(&either));
    local.succeeded();
    assert_eq!(local.output("driver"), "docker");
    let words =
        "the cluster can't build, this machine does: could not describe the EKS cluster `nowhere`";
    assert!(local.log.contains(words), "{}", local.log);
    let hit = cluster.run(&run(&either));
    assert_eq!(hit.output("unchanged"), "true", "{}", hit.log);
    assert_eq!(asked(&cluster), (0, 2));
    assert_eq!(cluster.stop(), [""; 0]);
}
