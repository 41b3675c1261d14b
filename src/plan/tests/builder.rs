//! The builder beside an Engine: which, and with which options.

use super::*;

#[test]
fn the_classic_image_store_gets_a_builder_in_a_container() {
    let facts = facts(ImageStore::Classic);
    let tag = ("tags", "r.example/a:1");
    let plan = plan_with(&[tag], &facts, None).unwrap();
    assert_eq!(plan.builder.driver, Driver::DockerContainer);
    assert_eq!(plan.builder.name, "fast-ecr-push-x1");
    let forced = [tag, ("driver", "docker"), ("accelerate", "off")];
    let forced = plan_with(&forced, &facts, None).unwrap();
    assert_eq!(outputs(&forced), ["type=image,push=true"]);
    assert_eq!(forced.notices.len(), 1);
    let refused = plan_with(
        &[tag, ("driver", "docker"), ("compression", "zstd")],
        &facts,
        None,
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("input `compression`: `zstd` given")
    );
}

#[test]
fn after_a_cluster_that_can_not_build_the_engines_own_buildkit_does_where_it_can() {
    for (store, driver) in [
        (ImageStore::Containerd, Driver::Docker),
        (ImageStore::Classic, Driver::DockerContainer),
    ] {
        let pairs: Pairs<'_> = &[
            ("tags", "r.example/a:1"),
            ("driver", "kubernetes"),
            ("fallback", "local"),
        ];
        // The cluster is none of the facts any more.
        let plan = plan_with(pairs, &facts(store), None).unwrap();
        assert_eq!(plan.builder.driver, driver);
        let by_digest = "type=image,name=r.example/a,push-by-digest=true,push=true";
        let pairs = [pairs, &[("outputs", by_digest)]].concat();
        let plan = plan_with(&pairs[1..], &facts(store), None).unwrap();
        assert_eq!(plan.builder.driver, Driver::DockerContainer);
    }
}

#[test]
fn driver_options_may_be_shared_by_a_matrix_and_repeated() {
    let block = "replicas=1\nnamespace=buildx\nrequests.memory=7Gi\nlimits.cpu=2\nrequests.memory=7Gi\nimage=a:1\nimage=b:2\nenv.X=1";
    let plan = plan(&[
        ("tags", "r.example/a:1"),
        ("driver", "docker-container"),
        ("driver-opts", block),
    ]);
    let options: Vec<String> = plan
        .builder
        .options
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(options, ["image=b:2", "env.X=1"]);
    assert_eq!(
        plan.notices,
        [
            "`driver-opts` names `image` more than once: the last one counts",
            "`driver-opts` of another driver are ignored by `docker-container`: `replicas`, `namespace`, `requests.memory`, `limits.cpu`"
        ]
    );
}
