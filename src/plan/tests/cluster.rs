//! The builder in a cluster: how it is reached, what is said of its options, its configuration.

use super::*;

#[test]
fn the_block_of_a_setup_buildx_workflow_is_taken_as_it_is() {
    let block = "replicas=1\nnamespace=buildx\nrequests.cpu=2\nrequests.memory=7Gi\nlimits.cpu=2\n\
                 requests.memory=7Gi\n";
    let plan = in_cluster(&[("driver-opts", block)]).unwrap();
    assert_eq!(
        plan.notices,
        ["`driver-opts` names `requests.memory` more than once: the last one counts"]
    );
    let kubernetes = kubernetes(&plan);
    assert_eq!(kubernetes.namespace, "buildx");
    assert_eq!(kubernetes.timeout_seconds, 300);
    assert_eq!(kubernetes.nodes.len(), 1);
    let node = &kubernetes.nodes[0];
    assert_eq!(node.requests["memory"], "7Gi");
    assert_eq!(node.limits["cpu"], "2");
    assert_eq!(plan.builder.name, node.name);
    let shown = serde_json::to_string(&plan).unwrap() + &format!("{plan:?}");
    assert!(!shown.contains("hidden"));
    assert_eq!(
        kubernetes.run.as_deref(),
        Some("https://github.com/octo/app/actions/runs/7")
    );
}

#[test]
fn a_cluster_needs_no_engine_but_loading_does() {
    let plan = in_cluster(&[]).unwrap();
    assert_eq!(plan.builder.driver, Driver::Kubernetes);
    assert_eq!(
        outputs(&plan),
        [
            "type=image,push=true,compression=zstd,compression-level=1,oci-mediatypes=true,store=false"
        ]
    );
    let Err(PlanError::Inputs(errors)) = in_cluster(&[("load", "true")]) else {
        panic!("loads into nothing");
    };
    assert_eq!(
        errors[0].to_string(),
        "input `load`: `true` given, expected a Docker Engine to load the image into"
    );
}

#[test]
fn the_namespace_and_the_timeout_come_from_the_nearest_that_says_so() {
    for (pairs, namespace, timeout) in [
        (&[][..], "team", 300),
        (&[("driver-opts", "namespace=a\ntimeout=2m")], "a", 120),
        (&[("namespace", "b")], "b", 300),
        (
            &[
                ("driver-opts", "namespace=a\ntimeout=2m"),
                ("namespace", "a"),
                ("builder-timeout", "9"),
            ],
            "a",
            9,
        ),
    ] {
        let plan = in_cluster(pairs).unwrap();
        let kubernetes = kubernetes(&plan);
        assert_eq!(kubernetes.namespace, namespace, "{pairs:?}");
        assert_eq!(kubernetes.timeout_seconds, timeout, "{pairs:?}");
        let option = |name: &str| {
            let found = plan
                .builder
                .options
                .iter()
                .filter(|other| other.name == name);
            let values: Vec<&str> = found.map(|option| option.value.as_str()).collect();
            values.join(" ")
        };
        assert_eq!(option("namespace"), namespace);
        assert_eq!(option("timeout"), format!("{timeout}s"));
    }
    let two = [("driver-opts", "namespace=a"), ("namespace", "b")];
    assert!(matches!(in_cluster(&two), Err(PlanError::Inputs(_))));
}

#[test]
fn an_option_that_is_misspelled_or_of_another_driver_is_said() {
    let Err(PlanError::Inputs(errors)) = in_cluster(&[("driver-opts", "request.cpu=2")]) else {
        panic!("taken");
    };
    assert!(
        errors[0]
            .to_string()
            .contains("did you mean `requests.cpu`?")
    );
    let plan = in_cluster(&[("driver-opts", "network=host")]).unwrap();
    assert_eq!(
        plan.notices,
        ["`driver-opts` of another driver are ignored by `kubernetes`: `network`"]
    );
}

#[test]
fn of_two_ways_into_a_cluster_the_kubeconfig_wins() {
    let plan = in_cluster(&[("kubeconfig", KUBECONFIG), ("eks-cluster", "c")]).unwrap();
    assert_eq!(
        plan.notices,
        ["`eks-cluster` is ignored: `kubeconfig` names the cluster"]
    );
}

#[test]
fn the_daemons_configuration_is_checked_and_reaches_every_node() {
    let text = "debug = true";
    let config = ("buildkitd-config-inline", text);
    let plan = in_cluster(&[config, ("platforms", "linux/amd64,linux/arm64")]).unwrap();
    assert!(
        !plan
            .notices
            .iter()
            .any(|notice| notice.contains("buildkitd"))
    );
    for node in &kubernetes(&plan).nodes {
        let config = node.config.as_deref().unwrap();
        assert!(
            config.contains(text) && config.contains("maxRegistryConcurrency"),
            "{config}"
        );
    }
    let file = plan.builder.buildkitd_config.unwrap();
    assert_eq!(file, PathBuf::from("/run/buildkitd.toml"));
    let volume = "persistent-volume-claim.requests.storage=9Gi";
    let plan = in_cluster(&[config, ("builder", "b"), ("driver-opts", volume)]).unwrap();
    let made = kubernetes(&plan).nodes[0].config.clone().unwrap();
    assert!(
        made.contains("debug = true") && made.contains("maxUsedSpace"),
        "{made}"
    );
    let broken = ("buildkitd-config-inline", "debug = true\n[worker.oci\n");
    let container = ("driver", "docker-container");
    for refused in [
        in_cluster(&[broken]),
        plan_with(
            &[broken, container, ("push", "false")],
            &facts(ImageStore::Containerd),
            None,
        ),
    ] {
        let Err(PlanError::Inputs(errors)) = refused else {
            panic!("taken");
        };
        let error = errors[0].to_string();
        let start = "input `buildkitd-config-inline`: `[worker.oci` given, expected TOML (line 2: ";
        assert!(error.starts_with(start), "{error}");
    }
}
