//! The nodes of a builder in a cluster: platforms, volumes, `append`.

use super::*;
use crate::inputs::driver_options::DriverOption;

#[test]
fn each_architecture_has_a_node_of_its_own_kind() {
    let shape = |pairs: Pairs<'_>| -> Vec<String> {
        let plan = in_cluster(pairs).unwrap();
        let nodes = &kubernetes(&plan).nodes;
        nodes
            .iter()
            .map(|node| {
                let selector = node.node_selector.get("kubernetes.io/arch");
                let selector = selector.map_or("-", String::as_str);
                format!("{} {selector} {}", node.name, node.platforms.join(","))
            })
            .collect()
    };
    assert_eq!(shape(&[]), ["fast-ecr-push-x1 - "]);
    assert_eq!(
        shape(&[("platforms", "linux/arm64")]),
        ["fast-ecr-push-x1 arm64 linux/arm64"]
    );
    assert_eq!(
        shape(&[(
            "platforms",
            "linux/amd64,linux/arm64,linux/arm/v7,linux/amd64"
        )]),
        [
            "fast-ecr-push-x1-amd64 amd64 linux/amd64",
            "fast-ecr-push-x1-arm64 arm64 linux/arm64,linux/arm/v7"
        ]
    );
    let both = ("platforms", "linux/amd64,linux/arm64");
    let emulated = ("driver-opts", "qemu.install=true");
    assert_eq!(shape(&[both, emulated]), ["fast-ecr-push-x1 - "]);
}

#[test]
fn nodes_of_a_builder_do_not_overwrite_each_others_cache() {
    let both = ("platforms", "linux/amd64,linux/arm64");
    let told = |plan: &Plan, words: &str| plan.notices.iter().any(|notice| notice.contains(words));
    let kind = |plan: &Plan| plan.images[0].cache.kind;
    assert_eq!(kind(&in_cluster(&[]).unwrap()), CacheKind::Registry);
    let several = in_cluster(&[both]).unwrap();
    assert_eq!(kind(&several), CacheKind::Inline);
    assert!(told(&several, "every platform has a BuildKit of its own"));
    let asked = in_cluster(&[both, ("cache", "registry")]).unwrap();
    assert_eq!(kind(&asked), CacheKind::Registry);
    assert!(told(&asked, "`cache: inline` keeps all"));
    let kept = in_cluster(&[("builder", "team")]).unwrap();
    assert_eq!(kind(&kept), CacheKind::Inline);
}

#[test]
fn each_pod_has_a_volume_of_its_own_in_a_workload_that_this_buildx_finds() {
    let volume = "persistent-volume-claim.requests.storage=9Gi";
    let several = "persistent-volume-claim.requests.storage=9Gi\nreplicas=2";
    let (named, options) = (("builder", "cache"), |text| ("driver-opts", text));
    for (pairs, kept, workload) in [
        (&[named, options(volume)][..], true, Workload::Deployment),
        (&[options(volume)], false, Workload::Deployment),
        (&[options(several)], false, Workload::Deployment),
        (&[named, options(several)], true, Workload::StatefulSet),
    ] {
        let plan = in_cluster(pairs).unwrap();
        let node = &kubernetes(&plan).nodes[0];
        assert_eq!(node.workload, workload, "{pairs:?}");
        assert_eq!(kubernetes(&plan).kept, kept);
        assert!(node.config.as_ref().unwrap().contains("maxUsedSpace"));
        let of_claims = |option: &DriverOption| option.name.contains("claim");
        assert!(!plan.builder.options.iter().any(of_claims));
    }
    let old = Version::new(0, 29, 1);
    let pairs = [named, options(several)];
    let Err(PlanError::Inputs(errors)) = in_cluster_with(&pairs, old.clone()) else {
        panic!("that buildx does not find it");
    };
    let error = errors[0].to_string();
    assert!(error.contains("`persistent-volume-claim.requests.storage=9Gi` given"));
    let words = "expected `replicas=1`, or buildx 0.34 or newer (this one is 0.29.1)";
    assert!(error.contains(words), "{error}");
    assert!(in_cluster_with(&[named, options(volume)], old).is_ok());
}

#[test]
fn appended_nodes_have_options_and_platforms_of_their_own() {
    let both = ("platforms", "linux/amd64,linux/arm64,linux/arm/v7");
    let arm = "- driver-opts: [requests.cpu=4, '\"tolerations=key=arm,operator=Exists\"']\n  \
               platforms: linux/arm64,linux/arm/v7\n  buildkitd-flags: --debug\n";
    let plan = in_cluster(&[both, ("driver-opts", "requests.cpu=2"), ("append", arm)]).unwrap();
    let [first, second] = kubernetes(&plan).nodes.as_slice() else {
        panic!("{plan:?}");
    };
    assert_eq!(first.name, "fast-ecr-push-x1");
    assert_eq!(first.platforms, ["linux/amd64"]);
    assert_eq!(first.requests["cpu"], "2");
    assert_eq!(second.name, "fast-ecr-push-x1-arm64");
    assert_eq!(second.platforms, ["linux/arm64", "linux/arm/v7"]);
    assert_eq!(second.requests["cpu"], "4");
    assert_eq!(second.node_selector["kubernetes.io/arch"], "arm64");
    assert_eq!(second.tolerations.len(), 1);
    assert_eq!(second.buildkitd_flags, ["--debug"]);
    let option = |node: &Node, name: &str| {
        let mut options = node.options.iter();
        let found = options.find(|other| other.name == name);
        found.map(|option| option.value.clone())
    };
    for (node, architecture) in [(first, "amd64"), (second, "arm64")] {
        assert_eq!(option(node, "namespace").as_deref(), Some("team"));
        let selector = format!("kubernetes.io/arch={architecture}");
        assert_eq!(option(node, "nodeselector"), Some(selector));
    }
    assert_eq!(option(second, "requests.cpu").as_deref(), Some("4"));
}

#[test]
fn nodes_that_nothing_is_built_on_are_not_started() {
    let names = |pairs: Pairs<'_>| {
        let plan = in_cluster(pairs).unwrap();
        let names = kubernetes(&plan).nodes.iter();
        let names: Vec<String> = names.map(|node| node.name.clone()).collect();
        (names.join(" "), plan.notices.join("\n"))
    };
    let arm = ("append", "- {name: arm, platforms: linux/arm64}");
    let (started, notices) = names(&[arm]);
    assert_eq!(started, "fast-ecr-push-x1");
    assert!(notices.contains("the node `fast-ecr-push-x1-arm` of `append` is not started"));
    let (started, notices) = names(&[arm, ("platforms", "linux/arm64")]);
    assert_eq!(started, "fast-ecr-push-x1-arm");
    assert!(notices.contains("first node is not started"), "{notices}");
    let selected = (
        "append",
        "- driver-opts: ['nodeselector=kubernetes.io/arch=arm64']\n- {platforms: linux/riscv64}",
    );
    let three = (
        "platforms",
        "linux/amd64,linux/arm64,linux/riscv64,linux/386",
    );
    assert_eq!(
        names(&[selected, three, ("builder", "team")]).0,
        "team team-arm64 team-riscv64"
    );
}

/// Names of buildx's own documentation and tests among them.
#[test]
fn a_node_has_any_name_that_buildx_takes_and_its_workload_a_valid_one() {
    let long = "a".repeat(80);
    for (builder, name, expected) in [
        ("team", "aws_graviton2", "team-aws-graviton2"),
        ("team", "Mac.M2", "team-mac-m2"),
        ("team", "arm64", "team-arm64"),
        (
            "team",
            "node-with-22-letters-x",
            "team-node-with-22-letters-x",
        ),
        ("team", "a-._", "team-a"),
        (
            "team",
            &long,
            "team-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0f45e8",
        ),
        (
            "a-builder-name-of-just-forty-characters1",
            "aws_graviton2",
            "a-builder-name-of-just-forty-characters1-aw-85ff24",
        ),
    ] {
        let append = format!("- {{name: {name}, platforms: linux/arm64}}");
        let pairs = [
            ("builder", builder),
            ("append", append.as_str()),
            ("platforms", "linux/arm64"),
        ];
        let plan = in_cluster(&pairs).unwrap();
        let names: Vec<&str> = kubernetes(&plan)
            .nodes
            .iter()
            .map(|node| node.name.as_str())
            .collect();
        assert_eq!(names, [expected], "{name}");
        assert!(expected.len() <= 50, "{expected}");
    }
}

#[test]
fn what_an_appended_node_can_not_be_is_refused_in_words() {
    for (append, given, expected) in [
        (
            "{platforms: arm64, endpoint: ssh://h}",
            "`ssh://h`",
            "are pods of its cluster",
        ),
        (
            "{driver-opts: [replicas=2]}",
            "`node 2`",
            "what is built on it",
        ),
        (
            "{platforms: arm64, driver-opts: [request.cpu=2]}",
            "`request.cpu=2`",
            "`requests.cpu`",
        ),
        (
            "{platforms: arm64, driver-opts: [requests.cpu=x]}",
            "`requests.cpu=x`",
            "a quantity",
        ),
        (
            "{platforms: arm64, driver-opts: [namespace=b]}",
            "`namespace=b`",
            "of the whole builder",
        ),
        (
            "{platforms: arm64, name: 'a b'}",
            "`a b`",
            "a name of letters, digits, `.`, `_` and `-`",
        ),
        (
            "{platforms: arm64, name: _a}",
            "`_a`",
            "that begins with a letter",
        ),
        (
            "{platforms: arm64, name: a_b}\n- {platforms: amd64, name: A-b}",
            "`A-b`",
            "another name for each node",
        ),
        (
            "{platforms: arm64, driver-opts: [persistent-volume-claim.requests.storage=1Gi, buildkit-root-volume-memory=1Gi]}",
            "storage=1Gi`",
            "no `buildkit-root-volume-memory`",
        ),
    ] {
        let text = format!("- {append}");
        let Err(PlanError::Inputs(errors)) = in_cluster(&[("append", &text)]) else {
            panic!("{append}");
        };
        let error = errors[0].to_string();
        assert!(error.starts_with("input `append`: "), "{error}");
        assert!(error.contains(given) && error.contains(expected), "{error}");
    }
    let elsewhere = plan(&[
        ("tags", "r.example/a:1"),
        ("append", "- {endpoint: 'ssh://h'}"),
    ]);
    assert!(elsewhere.notices[0].contains("`append` is ignored by `docker`"));
}
