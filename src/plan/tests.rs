//! Inputs → plan, a named row per case.

use semver::Version;

use super::*;
use crate::credentials::kubeconfig::{Access, Terms};
use crate::facts::ImageStore;
use crate::inputs::Given;

type Pairs<'a> = &'a [(&'static str, &'a str)];

fn facts(store: ImageStore) -> Facts {
    Facts::example(store)
}

fn plan_with(
    pairs: Pairs<'_>,
    facts: &Facts,
    run: Option<&WorkflowRun>,
) -> Result<Plan, PlanError> {
    let mut given = Given::default();
    for (name, text) in pairs {
        given.set(name, (*text).to_owned());
    }
    let inputs = Inputs::parse(&given).unwrap();
    let place = Place {
        folder: PathBuf::from("/run"),
        id: "x1".to_owned(),
    };
    Plan::new(&inputs, run, facts, &place)
}

fn plan(pairs: Pairs<'_>) -> Plan {
    plan_with(pairs, &facts(ImageStore::Containerd), None).unwrap()
}

fn outputs(plan: &Plan) -> Vec<String> {
    plan.images[0]
        .outputs
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn refusals(pairs: Pairs<'_>) -> Vec<String> {
    match plan_with(pairs, &facts(ImageStore::Containerd), None) {
        Err(PlanError::Inputs(errors)) => errors.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn workflow() -> WorkflowRun {
    WorkflowRun {
        server_url: "https://github.com".to_owned(),
        repository: "octo/app".to_owned(),
        sha: Some("0123abc".to_owned()),
        run_id: Some("7".to_owned()),
        ..WorkflowRun::default()
    }
}

#[test]
fn the_command_line_has_build_push_actions_order() {
    let plan = plan(&[
        ("context", "app"),
        ("file", "app/Dockerfile.prod"),
        ("tags", "r.example/a:1,r.example/a:2"),
        ("build-args", "A=1\nB=x y"),
        ("cache-from", "type=registry,ref=r.example/a:cache"),
        ("cache-to", "type=inline"),
        ("labels", "k=v"),
        ("platforms", "linux/amd64,linux/arm64"),
        ("target", "prod"),
        ("no-cache", "true"),
        ("pull", "true"),
        ("sbom", "true"),
    ]);
    assert_eq!(
        plan.images[0].argv,
        [
            "buildx",
            "build",
            "--build-arg",
            "A=1",
            "--build-arg",
            "B=x y",
            "--cache-from",
            "type=registry,ref=r.example/a:cache",
            "--cache-to",
            "type=inline",
            "--file",
            "app/Dockerfile.prod",
            "--iidfile",
            "/run/image-id",
            "--label",
            "k=v",
            "--output",
            "type=image,push=true,compression=zstd,oci-mediatypes=true,store=false",
            "--platform",
            "linux/amd64,linux/arm64",
            "--attest",
            "type=provenance,disabled=true",
            "--attest",
            "type=sbom",
            "--tag",
            "r.example/a:1",
            "--tag",
            "r.example/a:2",
            "--target",
            "prod",
            "--builder",
            "default",
            "--metadata-file",
            "/run/metadata.json",
            "--no-cache",
            "--pull",
            "--progress",
            "rawjson",
            "app",
        ]
    );
}

#[test]
fn outputs_follow_push_load_and_compression() {
    const TAG: (&str, &str) = ("tags", "r.example/a:1");
    const PUSHED: &str = "type=image,push=true,compression=zstd,oci-mediatypes=true";
    let container = ("driver", "docker-container");
    let cases: &[(&str, Pairs<'_>, &[&str])] = &[
        (
            "push is the default",
            &[TAG],
            &[&format!("{PUSHED},store=false")],
        ),
        ("load alone", &[TAG, ("load", "true")], &["type=docker"]),
        (
            "load and push: the Engine keeps what it pushes",
            &[TAG, ("load", "true"), ("push", "true")],
            &[PUSHED],
        ),
        ("neither", &[TAG, ("push", "false")], &[]),
        (
            "outputs stay as they are",
            &[TAG, ("outputs", "type=local,dest=out")],
            &["type=local,dest=out"],
        ),
        (
            "push joins an image output",
            &[
                TAG,
                ("push", "true"),
                ("outputs", "type=image,annotation.a=b"),
            ],
            &["type=image,annotation.a=b,push=true"],
        ),
        (
            "push beside other outputs",
            &[TAG, ("push", "true"), ("outputs", "type=local,dest=out")],
            &["type=local,dest=out", &format!("{PUSHED},store=false")],
        ),
        (
            "gzip has no media type of its own",
            &[TAG, ("compression", "gzip"), ("compression-level", "9")],
            &["type=image,push=true,compression=gzip,compression-level=9,store=false"],
        ),
        (
            "an output without compression gets the one asked for",
            &[
                TAG,
                ("compression", "uncompressed"),
                ("outputs", "type=registry"),
            ],
            &["type=registry,compression=uncompressed"],
        ),
        (
            "an output of the user's gets the level, with gzip where it names nothing",
            &[
                TAG,
                ("compression-level", "9"),
                (
                    "outputs",
                    "type=image,push=true\ntype=image,compression=zstd\ntype=image,compression-level=1",
                ),
            ],
            &[
                "type=image,push=true,compression-level=9",
                "type=image,compression=zstd,compression-level=9",
                "type=image,compression-level=1",
            ],
        ),
        (
            "BuildKit in a container stores nothing",
            &[TAG, container],
            &[&format!("{PUSHED},store=false")],
        ),
        (
            "and compresses once for both",
            &[TAG, container, ("load", "true"), ("push", "true")],
            &["type=image,push=true,compression=gzip", "type=docker"],
        ),
    ];
    for (name, pairs, expected) in cases {
        assert_eq!(outputs(&plan(pairs)), *expected, "{name}");
    }
}

#[test]
fn the_classic_image_store_gets_a_builder_in_a_container() {
    let facts = facts(ImageStore::Classic);
    let tag = ("tags", "r.example/a:1");
    let plan = plan_with(&[tag], &facts, None).unwrap();
    assert_eq!(plan.builder.driver, Driver::DockerContainer);
    assert_eq!(plan.builder.name, "fast-ecr-push-x1");
    let forced = plan_with(&[tag, ("driver", "docker")], &facts, None).unwrap();
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
fn names_come_from_repository_and_tags_or_from_full_references() {
    let cases: &[(&str, Pairs<'_>, &[&str])] = &[
        (
            "own registry",
            &[("repository", "team/app"), ("tags", "1,2")],
            &[
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:2",
            ],
        ),
        (
            "another registry",
            &[
                ("registry", "localhost:5000"),
                ("repository", "app"),
                ("tags", "1"),
            ],
            &["localhost:5000/app:1"],
        ),
        (
            "a repository as GitHub spells it",
            &[
                ("registry", "ghcr.io"),
                ("repository", "Octo/App"),
                ("tags", "V1"),
            ],
            &["ghcr.io/octo/app:V1"],
        ),
        (
            "a registry as people write it",
            &[
                ("registry", "https://ghcr.io/"),
                ("repository", "octo/app"),
                ("tags", "1"),
            ],
            &["ghcr.io/octo/app:1"],
        ),
        (
            "Docker Hub under its older name",
            &[
                ("registry", "https://index.docker.io/v1/"),
                ("repository", "octo/app"),
                ("tags", "1"),
            ],
            &["docker.io/octo/app:1"],
        ),
        (
            "a full reference beside plain tags",
            &[
                ("registry", "r.example"),
                ("repository", "app"),
                ("tags", "1,ghcr.io/o/app:2"),
            ],
            &["r.example/app:1", "ghcr.io/o/app:2"],
        ),
        (
            "no tag means latest",
            &[("tags", "r.example/app")],
            &["r.example/app:latest"],
        ),
        (
            "the same tag twice",
            &[("tags", "r.example/app:1,r.example/app:1")],
            &["r.example/app:1"],
        ),
        (
            "a local name to load",
            &[("tags", "app"), ("load", "true")],
            &["docker.io/library/app:latest"],
        ),
    ];
    for (name, pairs, expected) in cases {
        assert_eq!(plan(pairs).images[0].tags, *expected, "{name}");
    }
}

#[test]
fn conflicts_are_refused_by_name_and_together() {
    let cases: &[(&str, Pairs<'_>, &[&str])] = &[
        (
            "push without tag",
            &[],
            &["input `tags`: nothing given, expected at least one tag"],
        ),
        (
            "a plain tag without repository",
            &[("tags", "v1")],
            &["input `repository`: nothing given, expected the repository that plain tags"],
        ),
        (
            "a repository with a tag",
            &[
                ("registry", "r.example"),
                ("repository", "a:1"),
                ("tags", "x"),
            ],
            &["input `repository`: `a:1` given"],
        ),
        (
            "a repository that is none",
            &[
                ("registry", "r.example"),
                ("repository", "a//b"),
                ("tags", "x"),
            ],
            &[
                "input `repository`: `a//b` given, expected a path in the registry without host and tag, as `team/app` (`r.example/a//b` is not an image reference: ",
            ],
        ),
        (
            "a registry without repository",
            &[("registry", "r.example"), ("tags", "r.example/a:1")],
            &["input `registry`: `r.example` given, expected `repository`"],
        ),
        (
            "a digest",
            &[("tags", &format!("r.example/a@sha256:{}", "a".repeat(64)))],
            &["input `tags`: `r.example/a@sha256:"],
        ),
        (
            "push against an output",
            &[
                ("tags", "r.example/a:1"),
                ("push", "true"),
                ("outputs", "type=image,push=false"),
            ],
            &["input `outputs`: `type=image,push=false` given, expected no `push=false`"],
        ),
        (
            "gzip has nine levels",
            &[
                ("tags", "r.example/a:1"),
                ("compression", "gzip"),
                ("compression-level", "19"),
            ],
            &["input `compression-level`: `19` given, expected a level from 0 to 9"],
        ),
        (
            "uncompressed has none",
            &[
                ("tags", "r.example/a:1"),
                ("compression", "uncompressed"),
                ("compression-level", "1"),
            ],
            &["input `compression-level`: `1` given, expected nothing"],
        ),
        (
            "a level that gzip does not have",
            &[
                ("tags", "r.example/a:1"),
                ("compression-level", "15"),
                (
                    "outputs",
                    "type=image,push=true\ntype=image,compression=zstd",
                ),
            ],
            &["input `compression-level`: `15` given, expected a level from 0 to 9"],
        ),
        (
            "an unknown driver option",
            &[("tags", "r.example/a:1"), ("driver-opts", "netwrok=host")],
            &[
                "input `driver-opts`: `netwrok=host` given, expected an option of a buildx driver; did you mean `network`?",
            ],
        ),
        (
            "a value whose commas are in no quotes, and an image that is none",
            &[
                ("tags", "r.example/a:1"),
                (
                    "driver-opts",
                    "tolerations=key=a,operator=Exists\nimage=moby//buildkit",
                ),
            ],
            &[
                "input `driver-opts`: `operator=Exists` given, expected an option of a buildx driver, as `image`, `network` or `env.NAME`; one with commas in its value stands in quotes",
                "input `driver-opts`: `image=moby//buildkit` given, expected the reference of an image",
            ],
        ),
    ];
    for (name, pairs, expected) in cases {
        let texts = refusals(pairs);
        assert_eq!(texts.len(), expected.len(), "{name}: {texts:?}");
        for (text, beginning) in texts.iter().zip(*expected) {
            assert!(text.starts_with(beginning), "{name}: {text}");
        }
    }
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
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        plan.builder.options,
        [pair("image", "b:2"), pair("env.X", "1")]
    );
    assert_eq!(
        plan.notices,
        [
            "`driver-opts` names `image` more than once: the last one counts",
            "`driver-opts` of another driver are ignored by `docker-container`: `replicas`, `namespace`, `requests.memory`, `limits.cpu`"
        ]
    );
}

#[test]
fn without_a_context_the_workflows_commit_is_built_with_its_token() {
    let run = workflow();
    let pairs: Pairs<'_> = &[
        ("tags", "r.example/a:1"),
        ("github-token", "hidden"),
        ("provenance", "mode=max"),
    ];
    let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap();
    let argv = plan.images[0].argv.join(" ");
    assert!(
        argv.ends_with(" https://github.com/octo/app.git#0123abc"),
        "{argv}"
    );
    assert!(
        argv.contains("--secret id=GIT_AUTH_TOKEN.github.com,src=/run/git-token"),
        "{argv}"
    );
    assert!(
        argv.contains(
            "type=provenance,mode=max,builder-id=https://github.com/octo/app/actions/runs/7"
        ),
        "{argv}"
    );
    assert!(!argv.contains("hidden"));
    let subfolder: Pairs<'_> = &[
        ("tags", "r.example/a:1"),
        ("context", "{{defaultContext}}:docker"),
    ];
    let plan = plan_with(subfolder, &facts(ImageStore::Containerd), Some(&run)).unwrap();
    assert_eq!(
        plan.images[0].context.argument(),
        "https://github.com/octo/app.git#0123abc:docker"
    );
}

#[test]
fn rules_make_tags_and_labels_from_the_run() {
    let run = WorkflowRun {
        git_ref: Some("refs/tags/v1.2.3".to_owned()),
        event_name: "push".to_owned(),
        payload: serde_json::json!({"head_commit": {"id": "0123abc", "timestamp": "2026-01-02T03:04:05Z"}}),
        ..workflow()
    };
    let pairs: Pairs<'_> = &[
        ("registry", "r.example"),
        ("repository", "team/app"),
        (
            "tags",
            "type=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}\nghcr.io/o/app:x",
        ),
        ("labels", "auto\nteam=a"),
    ];
    let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap();
    let image = &plan.images[0];
    assert_eq!(
        image.tags,
        [
            "r.example/team/app:1.2.3",
            "r.example/team/app:1.2",
            "r.example/team/app:latest",
            "ghcr.io/o/app:x"
        ]
    );
    assert_eq!(image.version, "1.2.3");
    for label in [
        "org.opencontainers.image.created=2026-01-02T03:04:05.000Z",
        "org.opencontainers.image.version=1.2.3",
        "org.opencontainers.image.revision=0123abc",
        "team=a",
    ] {
        assert!(
            image.labels.iter().any(|other| other == label),
            "{label}: {:?}",
            image.labels
        );
        assert!(image.argv.iter().any(|other| other == label), "{label}");
    }
    assert_eq!(image.json["tags"][0], "r.example/team/app:1.2.3");
}

#[test]
fn annotations_stand_as_given_or_at_the_levels_that_the_variable_names() {
    let run = WorkflowRun {
        git_ref: Some("refs/heads/main".to_owned()),
        annotation_levels: Some("manifest,index".to_owned()),
        ..workflow()
    };
    let annotations = |lines| {
        let pairs: Pairs<'_> = &[("tags", "r.example/a:1"), ("annotations", lines)];
        let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap();
        plan.images[0].annotations.clone()
    };
    assert_eq!(annotations("index:a=b\nc=d"), ["index:a=b", "c=d"]);
    let auto = annotations("auto\nteam=a");
    assert_eq!(auto.len(), 18, "{auto:?}");
    for level in ["manifest", "index"] {
        assert!(auto.contains(&format!("{level}:team=a")), "{auto:?}");
        let revision = format!("{level}:org.opencontainers.image.revision=0123abc");
        assert!(auto.contains(&revision), "{auto:?}");
    }
    let levelled = annotations("auto\nindex:team=a\nmanifest[linux/amd64]:b=x:y\nc=x:y");
    assert_eq!(levelled.len(), 20, "{levelled:?}");
    for line in [
        "index:team=a",
        "manifest[linux/amd64]:b=x:y",
        "manifest:c=x:y",
        "index:c=x:y",
    ] {
        assert!(levelled.contains(&line.to_owned()), "{levelled:?}");
    }
    let wrong = [
        ("tags", "r.example/a:1"),
        ("annotations", "auto\nlayer:team=a"),
    ];
    let errors = refusals(&wrong);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with(
            "input `annotations`: `layer:team=a` given, expected `[type[platform]:]name=value`"
        ),
        "{errors:?}"
    );
}

#[test]
fn when_no_rule_gives_a_tag_every_one_says_why() {
    let pairs: Pairs<'_> = &[
        ("repository", "app"),
        ("tags", "type=ref,event=pr\ntype=schedule"),
    ];
    let run = WorkflowRun {
        git_ref: Some("refs/heads/main".to_owned()),
        event_name: "push".to_owned(),
        ..workflow()
    };
    let error = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`type=ref,event=pr` gives no tag: "),
        "{text}"
    );
    assert!(text.contains("`type=schedule` gives no tag: "), "{text}");
}

#[test]
fn the_token_is_given_to_no_other_context() {
    for context in [".", "https://github.com/octo/other.git"] {
        let pairs: Pairs<'_> = &[
            ("tags", "r.example/a:1"),
            ("github-token", "x"),
            ("context", context),
        ];
        let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&workflow())).unwrap();
        assert!(plan.images[0].secrets.is_empty(), "{context}");
    }
}

#[test]
fn what_this_machine_lacks_is_no_fault_of_the_inputs() {
    let tag: Pairs<'_> = &[("tags", "r.example/a:1")];
    let mut old = facts(ImageStore::Containerd);
    old.buildx.version = Version::new(0, 12, 9);
    let error = plan_with(tag, &old, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "buildx 0.12.9 is too old, at least 0.13.0 is needed"
    );
    let mut bare = facts(ImageStore::Containerd);
    bare.engine = Err("could not reach it".to_owned());
    let error = plan_with(tag, &bare, None).unwrap_err();
    assert_eq!(error.to_string(), "no builder: could not reach it");
    assert!(error.hint().is_some());
}

#[test]
fn build_arguments_are_shown_by_name_only() {
    let plan = plan(&[("tags", "r.example/a:1"), ("build-args", "TOKEN=hidden")]);
    let text = plan.to_string();
    assert!(text.contains("TOKEN=…"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn the_same_inputs_give_the_same_plan_as_json() {
    let plan = plan(&[("tags", "r.example/a:1"), ("context", ".")]);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["builder"]["driver"], "docker");
    assert_eq!(json["builder"]["name"], "default");
    for key in [
        "argv",
        "tags",
        "labels",
        "annotations",
        "cache_from",
        "cache_to",
        "outputs",
    ] {
        assert!(json["images"][0][key].is_array(), "{key}");
    }
    assert!(json["warnings"].is_array());
}

const KUBECONFIG: &str = "{current-context: ci, clusters: [{name: c, cluster: {server: 'https://k'}}], \
    contexts: [{name: ci, context: {cluster: c, user: u, namespace: team}}], \
    users: [{name: u, user: {token: hidden}}]}";

fn in_cluster(pairs: Pairs<'_>) -> Result<Plan, PlanError> {
    in_cluster_with(pairs, facts(ImageStore::Containerd).buildx.version)
}

fn in_cluster_with(pairs: Pairs<'_>, buildx: Version) -> Result<Plan, PlanError> {
    let terms = Terms {
        context: None,
        allow_exec: false,
        may_name_files: false,
        program: Path::new("/fast-ecr-push"),
    };
    let mut facts = facts(ImageStore::Containerd);
    facts.cluster = Some(Access::read(KUBECONFIG, &terms).unwrap());
    facts.engine = Err("no Engine here".to_owned());
    facts.buildx.version = buildx;
    let mut all = vec![("driver", "kubernetes"), ("tags", "r.example/a:1")];
    all.extend(pairs);
    plan_with(&all, &facts, Some(&workflow()))
}

fn kubernetes(plan: &Plan) -> &KubernetesPlan {
    plan.builder.kubernetes.as_ref().unwrap()
}

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
    let shown = serde_json::to_string(&plan).unwrap() + &format!("{plan:?}{plan}");
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
        ["type=image,push=true,compression=zstd,oci-mediatypes=true,store=false"]
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
                .filter(|(other, _)| other == name);
            let values: Vec<&str> = found.map(|(_, value)| value.as_str()).collect();
            values.join(" ")
        };
        assert_eq!(option("namespace"), namespace);
        assert_eq!(option("timeout"), format!("{timeout}s"));
    }
    let two = [("driver-opts", "namespace=a"), ("namespace", "b")];
    assert!(matches!(in_cluster(&two), Err(PlanError::Inputs(_))));
}

#[test]
fn options_with_commas_stay_in_one_piece() {
    let option = |name: &str, value: &str| driver_opt(&(name.to_owned(), value.to_owned()));
    assert_eq!(option("replicas", "1"), "replicas=1");
    assert_eq!(
        option("nodeselector", "a=b,c=d"),
        "\"nodeselector=a=b,c=d\""
    );
    assert_eq!(option("labels", "a=\"b\""), "\"labels=a=\"\"b\"\"\"");
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
        ["`eks-cluster` is ignored beside `kubeconfig`, which leads into the cluster"]
    );
}

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
        let of_claims = |(name, _): &(String, String)| name.contains("claim");
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
        let found = options.find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone())
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
        ("{platforms: arm64, name: A_b}", "`A_b`", "in lower case"),
        (
            "{platforms: arm64, name: x}\n- {platforms: amd64, name: x}",
            "`x`",
            "of its own",
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
