//! The command line: `plan`, `--help`, flags.

use crate::runner::Runner;

const FACTS: [&str; 4] = ["--fact", "buildx=0.37.1", "--fact", "store=containerd"];

fn plan(arguments: &[&str]) -> Runner {
    let all: Vec<&str> = [&["plan"], arguments].concat();
    // Neither buildx nor Docker, nor AWS.
    Runner::bare().variable("PATH", "/nowhere").arguments(&all)
}

#[test]
fn a_plan_with_given_facts_needs_nothing_around_it() {
    let ran = plan(
        &[
            &FACTS[..],
            &[
                "--tags",
                "registry.test/team/app:1",
                "--cache-to",
                "type=inline",
            ],
        ]
        .concat(),
    )
    .run()
    .exits(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.log).unwrap();
    for name in ["builder", "images", "warnings"] {
        assert!(plan.get(name).is_some(), "{name}: {plan}");
    }
    for name in ["driver", "name", "options"] {
        assert!(plan["builder"].get(name).is_some(), "{name}: {plan}");
    }
    let image = &plan["images"][0];
    for name in [
        "argv",
        "tags",
        "labels",
        "annotations",
        "cache_from",
        "cache_to",
        "outputs",
    ] {
        assert!(image[name].is_array(), "{name}: {image}");
    }
    let argv: Vec<&str> = image["argv"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    assert_eq!(argv[..2], ["buildx", "build"]);
    assert!(
        argv.windows(2)
            .any(|pair| pair == ["--tag", "registry.test/team/app:1"])
    );
    assert!(
        argv.windows(2)
            .any(|pair| pair == ["--cache-to", "type=inline"])
    );
    assert_eq!(argv.last(), Some(&"."));
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_plan_for_the_accounts_own_registry_needs_no_aws_when_it_is_told() {
    let ran = plan(
        &[
            &FACTS[..],
            &[
                "--fact",
                "registry=123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "--repository",
                "team/app",
                "--tags",
                "1",
            ],
        ]
        .concat(),
    )
    .run()
    .exits(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.log).unwrap();
    assert_eq!(
        plan["images"][0]["tags"][0],
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1"
    );
}

#[test]
fn a_plan_shows_whether_the_push_engine_pushes_where_there_is_none() {
    for (step, expected) in [
        ("step=amd64,arm64", None),
        (
            "step=arm64",
            Some("not installed for amd64, the builder's architecture"),
        ),
        ("step=none", Some("is not installed")),
    ] {
        let asked = [
            "--fact",
            step,
            "--tags",
            "registry.test/a:1",
            "--cache",
            "none",
        ];
        let ran = plan(&[&FACTS[..], &asked].concat()).run().exits(0);
        let plan: serde_json::Value = serde_json::from_str(&ran.log).unwrap();
        let decision = &plan["images"][0]["acceleration"];
        match expected {
            None => assert_eq!(decision["engine"]["required"], false, "{decision}"),
            Some(reason) => {
                let found = decision["plain"].as_str().unwrap();
                assert!(found.contains(reason), "{found}");
            }
        }
    }
}

#[test]
fn facts_change_the_plan() {
    let classic = plan(&[
        "--fact",
        "buildx=0.37.1",
        "--fact",
        "store=classic",
        "--tags",
        "registry.test/a:1",
    ])
    .run()
    .exits(0);
    let value: serde_json::Value = serde_json::from_str(&classic.log).unwrap();
    assert_eq!(value["builder"]["driver"], "docker-container");
    let none = plan(&[
        "--fact",
        "buildx=0.37.1",
        "--fact",
        "engine=none",
        "--tags",
        "registry.test/a:1",
    ])
    .run()
    .exits(3);
    assert!(
        none.stderr
            .contains("no builder: the fact `engine=none` was given"),
        "{}",
        none.stderr
    );
    let old = plan(&[
        "--fact",
        "buildx=0.12.0",
        "--fact",
        "store=containerd",
        "--tags",
        "registry.test/a:1",
    ])
    .run()
    .exits(3);
    assert!(
        old.stderr.contains("buildx 0.12.0 is too old"),
        "{}",
        old.stderr
    );
    let unknown = plan(&["--fact", "weather=fine"]).run().exits(2);
    assert!(
        unknown.stderr.contains("fact `weather=fine`: expected "),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_plan_for_a_cluster_needs_no_aws_when_it_is_told() {
    let cluster = [
        "--fact",
        "cluster=builders",
        "--driver",
        "kubernetes",
        "--eks-cluster",
        "builders",
        "--driver-opts",
        "namespace=buildx",
        "--tags",
        "registry.test/a:1",
    ];
    let ran = plan(&[&FACTS[..], &cluster].concat()).run().exits(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.log).unwrap();
    assert_eq!(plan["builder"]["driver"], "kubernetes");
    let kubernetes = &plan["builder"]["kubernetes"];
    assert_eq!(kubernetes["context"], "builders");
    assert_eq!(kubernetes["namespace"], "buildx");
}

#[test]
fn what_is_wrong_about_a_builder_is_said_before_the_cluster_is_asked() {
    for (flag, given, expected) in [
        (
            "--driver-opts",
            "namspace=buildx",
            "input `driver-opts`: `namspace=buildx` given, expected an option of a buildx driver; did you mean `namespace`?",
        ),
        (
            "--append",
            "[{platforms: linux/arm64, driver-opts: [requests.cpu=x]}]",
            "input `append`: `requests.cpu=x` given, expected ",
        ),
        (
            "--buildkitd-config-inline",
            "debug = yes",
            "input `buildkitd-config-inline`: `debug = yes` given, expected TOML",
        ),
    ] {
        let arguments = [
            "--eks-cluster",
            "builders",
            "--tags",
            "registry.test/a:1",
            flag,
            given,
        ];
        let ran = plan(&[&FACTS[..], &arguments].concat()).run().exits(2);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(!ran.stderr.contains("EKS"), "{}", ran.stderr);
    }
}

#[test]
fn a_plan_that_can_not_be_made_says_all_that_is_wrong_on_standard_error() {
    let ran = plan(
        &[
            &FACTS[..],
            &["--tags", "registry.test/A:1", "--compression-level", "99"],
        ]
        .concat(),
    )
    .run()
    .exits(2);
    assert_eq!(ran.log, "");
    for input in ["tags", "compression-level"] {
        assert!(
            ran.stderr.contains(&format!("input `{input}`: ")),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn on_a_runner_standard_output_is_the_plans_alone() {
    let on_runner = |tags: &str| {
        plan(&[&FACTS[..], &["--tags", tags, "--driver-opts", "image=a:1"]].concat())
            .variable("GITHUB_ACTIONS", "true")
            .input("github-token", "canary-of-the-plan")
    };
    let ran = on_runner("registry.test/team/app:1").run().exits(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.log).expect(&ran.log);
    assert!(plan["images"][0]["argv"].is_array(), "{plan}");
    // The runner reads both.
    assert_eq!(ran.stderr, "::add-mask::canary-of-the-plan\n");
    let ran = on_runner("registry.test/A:1").run().exits(2);
    assert_eq!(ran.log, "");
    assert!(
        ran.stderr
            .contains("::error title=fast-ecr-push::input `tags`: "),
        "{}",
        ran.stderr
    );
}

#[test]
fn help_lists_every_input_and_an_unknown_flag_is_refused() {
    let help = Runner::bare().arguments(&["--help"]).run().exits(0);
    for (name, _) in crate::inputs::declared_defaults() {
        assert!(help.log.contains(&format!("--{name}")), "{name}");
    }
    assert!(
        help.log.contains("--github-token-file"),
        "a secret is given by file"
    );
    for arguments in [
        &["--tag", "x"][..],
        &["--github-token", "x"],
        &["plna"],
        &["plan", "--nope"],
    ] {
        let ran = Runner::bare().arguments(arguments).run().exits(2);
        assert!(
            ran.stderr.contains("error: "),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert_eq!(ran.log, "");
    }
}

#[test]
fn a_laptop_run_prints_its_outputs_and_leaves_the_log_to_standard_error() {
    let ran = Runner::bare()
        .engine(crate::engine::Store::Containerd)
        .stream(&crate::runner::recorded("cold-push"))
        .arguments(&["--tags", "registry.test/team/app:1", "--context", "."])
        .run()
        .exits(0);
    assert!(
        ran.log.contains("image=registry.test/team/app@sha256:"),
        "{}",
        ran.log
    );
    assert!(
        ran.log.lines().all(|line| line.contains('=')),
        "{}",
        ran.log
    );
    assert!(ran.stderr.contains("== Build"), "{}", ran.stderr);
}
