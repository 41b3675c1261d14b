//! The ways into a cluster of EKS.

use crate::cluster::Cluster;

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
    assert!(
        missing
            .log
            .contains("check the name, the account and `aws-region`")
    );
    let private = run("private", "kubernetes");
    assert_eq!(private.code, Some(3));
    let words = "could not reach the Kubernetes API at https://127.0.0.1:1";
    assert!(private.log.contains(words), "{}", private.log);
    assert!(private.log.contains("hint: its API endpoint is private"));
    assert_eq!(run("private", "auto").output("driver"), "docker");
    assert_eq!(cluster.stop(), [""; 0]);
}
