//! When the push engine pushes, and why it does not.

use super::*;

const TAG: (&str, &str) = ("tags", "r.example/team/app:1");
const NO_CACHE: (&str, &str) = ("cache", "none");

fn reason(pairs: Pairs<'_>, facts: &Facts) -> Option<String> {
    match &plan_with(pairs, facts, None).unwrap().images[0].acceleration {
        Acceleration::Plain(reason) => Some(
            reason
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        ),
        Acceleration::Engine(_) => None,
    }
}

fn engine(pairs: Pairs<'_>) -> EnginePlan {
    let facts = facts(ImageStore::Containerd);
    match &plan_with(pairs, &facts, None).unwrap().images[0].acceleration {
        Acceleration::Engine(engine) => (**engine).clone(),
        Acceleration::Plain(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn buildkit_pushes_where_the_engine_can_not_or_would_not_help() {
    let container = ("driver", "docker-container");
    let cases: &[(Pairs<'_>, Option<&str>)] = &[
        (&[TAG], None),
        (&[TAG, NO_CACHE], None),
        (&[TAG, NO_CACHE, container], None),
        (&[TAG, NO_CACHE, ("compression", "gzip")], None),
        (&[TAG, NO_CACHE, ("platforms", "linux/amd64")], None),
        (&[TAG, NO_CACHE, ("provenance", "false")], None),
        (&[TAG, NO_CACHE, ("annotations", "a=b\nmanifest:c=d")], None),
        // Nothing is pushed, or nothing was asked for: no word about it.
        (&[TAG, ("push", "false")], Some("")),
        (&[TAG, ("load", "true")], Some("")),
        (&[TAG, ("accelerate", "off")], Some("")),
        (&[TAG, ("call", "check")], Some("")),
        (
            &[TAG, NO_CACHE, ("outputs", "type=image,push=true")],
            Some("`outputs` says"),
        ),
        (
            &[TAG, NO_CACHE, ("load", "true"), ("push", "true")],
            Some("`load` takes"),
        ),
        (
            &[TAG, NO_CACHE, ("provenance", "mode=max")],
            Some("attestations"),
        ),
        (&[TAG, NO_CACHE, ("sbom", "true")], Some("attestations")),
        (
            &[TAG, NO_CACHE, ("platforms", "linux/amd64,linux/arm64")],
            None,
        ),
        (
            &[
                TAG,
                NO_CACHE,
                container,
                ("platforms", "linux/amd64,linux/arm64"),
            ],
            None,
        ),
        (
            &[
                TAG,
                NO_CACHE,
                (
                    "platforms",
                    "linux/amd64,linux/arm64,linux/arm/v7,linux/s390x,linux/ppc64le",
                ),
            ],
            Some("for 5 platforms"),
        ),
        (
            &[TAG, NO_CACHE, ("compression", "estargz")],
            Some("`compression: estargz`"),
        ),
        (
            &[TAG, NO_CACHE, ("cgroup-parent", "x")],
            Some("`cgroup-parent`"),
        ),
        (&[("tags", "team/app:1"), NO_CACHE], None),
        (&[TAG, ("cache", "inline")], Some("the inline cache")),
        (
            &[TAG, ("cache-to", "type=inline")],
            Some("the inline cache"),
        ),
        (&[TAG, ("cache", "registry")], Some("for the cache")),
        (&[TAG, container], Some("for the cache")),
        (
            &[TAG, NO_CACHE, container, ("buildkitd-flags", "--debug")],
            Some("`network.host`"),
        ),
        (
            &[
                TAG,
                NO_CACHE,
                container,
                ("driver-opts", "image=moby/buildkit:v0.32.2-rootless"),
            ],
            None,
        ),
    ];
    for (pairs, expected) in cases {
        let found = reason(pairs, &facts(ImageStore::Containerd));
        match (&found, expected) {
            (Some(found), Some(expected)) => {
                assert!(found.contains(expected), "{pairs:?}: {found}");
                assert_eq!(found.is_empty(), expected.is_empty(), "{pairs:?}: {found}");
            }
            (None, None) => {}
            _ => panic!("{pairs:?}: {found:?}"),
        }
    }
}

#[test]
fn several_platforms_are_an_image_each_and_an_index_of_them() {
    let annotations = ("annotations", "a=b\nindex:c=d\nmanifest[linux/arm64]:e=f");
    let platforms = ("platforms", "linux/amd64,linux/arm64,linux/amd64");
    let engine = engine(&[TAG, NO_CACHE, platforms, annotations]);
    let parts: Vec<(&str, Vec<&str>)> = engine
        .parts
        .iter()
        .map(|part| {
            let names = part.annotations.iter().map(|(name, _)| &**name);
            (part.platform.as_deref().unwrap(), names.collect())
        })
        .collect();
    assert_eq!(
        parts,
        [("linux/amd64", vec!["a"]), ("linux/arm64", vec!["a", "e"])]
    );
    assert_eq!(engine.index_annotations, [("c".to_owned(), "d".to_owned())]);
    let classic = facts(ImageStore::Classic);
    let found = reason(&[TAG, NO_CACHE, platforms, ("driver", "docker")], &classic);
    assert!(
        found
            .as_ref()
            .is_some_and(|found| found.contains("classic image store")),
        "{found:?}"
    );
}

#[test]
fn a_step_gets_its_share_of_a_limited_memory() {
    let shares = |plan: &Plan| -> Vec<Option<u64>> {
        match &plan.images[0].acceleration {
            Acceleration::Engine(engine) => engine.parts.iter().map(|part| part.memory).collect(),
            Acceleration::Plain(reason) => panic!("{reason:?}"),
        }
    };
    let both = ("platforms", "linux/amd64,linux/arm64");
    let one = ("platforms", "linux/amd64");
    let on = ("accelerate", "on");
    let container = ("driver", "docker-container");
    let mib = |number: u64| Some(number << 20);
    for (options, platforms, expected) in [
        ("", one, vec![None]),
        ("memory=0", one, vec![None]),
        ("memory=512m", one, vec![mib(512)]),
        ("memory=512m", both, vec![mib(256), mib(256)]),
        ("memory=1g", both, vec![mib(512), mib(512)]),
    ] {
        let inputs = [TAG, on, container, platforms, ("driver-opts", options)];
        let plan = plan_with(&inputs, &facts(ImageStore::Containerd), None).unwrap();
        assert_eq!(shares(&plan), expected, "{options} {platforms:?}");
    }
    let appended = "- {name: arm, platforms: linux/arm64, driver-opts: limits.memory=1Gi}";
    for (options, append, platforms, expected) in [
        ("", "", one, vec![None]),
        ("limits.memory=512Mi", "", one, vec![mib(512)]),
        (
            "limits.memory=512Mi",
            appended,
            both,
            vec![mib(512), mib(1024)],
        ),
    ] {
        let inputs = [on, platforms, ("driver-opts", options), ("append", append)];
        let plan = in_cluster(&inputs).unwrap();
        assert_eq!(shares(&plan), expected, "{options} {append} {platforms:?}");
    }
}

#[test]
fn a_limit_below_what_buildkit_needs_is_a_warning() {
    let appended = "- {name: arm, platforms: linux/arm64, driver-opts: limits.memory=64Mi}";
    let about_memory = |plan: Plan| -> Vec<String> {
        let is_about = |warning: &String| warning.contains("less memory than BuildKit needs");
        plan.warnings.into_iter().filter(is_about).collect()
    };
    for (options, expected) in [("memory=95m", 1), ("memory=96m", 0), ("memory=0", 0)] {
        let inputs = [
            TAG,
            ("driver", "docker-container"),
            ("driver-opts", options),
        ];
        let plan = plan_with(&inputs, &facts(ImageStore::Containerd), None).unwrap();
        let found = about_memory(plan);
        assert_eq!(found.len(), expected, "{options}: {found:?}");
    }
    for (options, append, expected) in [
        ("limits.memory=100M", "", 1),
        ("limits.memory=512m", "", 1),
        ("limits.memory=2Gi", "", 0),
        ("limits.memory=2Gi", appended, 1),
    ] {
        let plan = in_cluster(&[
            ("platforms", "linux/amd64,linux/arm64"),
            ("driver-opts", options),
            ("append", append),
        ])
        .unwrap();
        let found = about_memory(plan);
        assert_eq!(found.len(), expected, "{options} {append}: {found:?}");
    }
}

#[test]
fn a_platform_that_is_not_its_nodes_may_be_emulated() {
    let emulated = |plan: &Plan| -> Vec<bool> {
        match &plan.images[0].acceleration {
            Acceleration::Engine(engine) => {
                engine.parts.iter().map(|part| part.is_emulated).collect()
            }
            Acceleration::Plain(reason) => panic!("{reason:?}"),
        }
    };
    let on = [TAG, ("accelerate", "on"), ("platforms", "linux/arm64")];
    let plan = plan_with(&on, &facts(ImageStore::Containerd), None).unwrap();
    assert_eq!(emulated(&plan), [false]);
    let both = "linux/amd64,linux/arm64";
    let appended = "- {name: arm, platforms: linux/arm64, driver-opts: qemu.install=true}";
    for (options, append, platforms, expected) in [
        ("", "", "linux/arm64", vec![false]),
        ("", "", "linux/arm/v7", vec![true]),
        ("", "", both, vec![false, false]),
        ("", appended, both, vec![false, true]),
        (
            "nodeselector=kubernetes.io/arch=amd64",
            "",
            both,
            vec![false, true],
        ),
        ("qemu.install=true", "", "linux/arm64", vec![true]),
        ("rootless=true", "", "linux/arm64", vec![false]),
    ] {
        let plan = in_cluster(&[
            ("accelerate", "on"),
            ("platforms", platforms),
            ("driver-opts", options),
            ("append", append),
        ]);
        let found = emulated(&plan.unwrap());
        assert_eq!(found, expected, "{options} {append} {platforms}");
    }
}

#[test]
fn nodes_that_can_not_run_the_step_leave_the_push_to_buildkit() {
    let arm = |option: &str| format!("- {{name: arm, platforms: linux/arm64, {option}}}");
    for (option, expected) in [
        ("driver-opts: replicas=2", "several pods"),
        ("buildkitd-flags: --debug", "`network.host`"),
    ] {
        let append = arm(option);
        let inputs = [
            ("accelerate", "auto"),
            ("builder", "team"),
            ("platforms", "linux/amd64,linux/arm64"),
            ("append", append.as_str()),
        ];
        let plan = in_cluster(&inputs).unwrap();
        let Acceleration::Plain(Some(reason)) = &plan.images[0].acceleration else {
            panic!("{option}: {:?}", plan.images[0].acceleration);
        };
        assert!(reason.to_string().contains(expected), "{option}: {reason}");
    }
}

#[test]
fn the_engines_classic_store_takes_the_engine_and_its_layers_are_not_of_gzip() {
    let pairs = [TAG, ("driver", "docker")];
    let facts = facts(ImageStore::Classic);
    let plan = plan_with(&pairs, &facts, None).unwrap();
    let Acceleration::Engine(engine) = &plan.images[0].acceleration else {
        panic!("{:?}", plan.images[0].acceleration);
    };
    assert_eq!(
        engine.engine.as_ref(),
        Some(&facts.engine.as_ref().unwrap().address)
    );
    assert_eq!(engine.compression, protocol::Compression::Zstd { level: 1 });
    let is_about_gzip = |notice: &String| notice.contains("gzip instead of zstd");
    assert!(
        !plan.notices.iter().any(is_about_gzip),
        "{:?}",
        plan.notices
    );
    let off = [TAG, ("driver", "docker"), ("accelerate", "off")];
    let plan = plan_with(&off, &facts, None).unwrap();
    assert!(plan.notices.iter().any(is_about_gzip), "{:?}", plan.notices);
}

#[test]
fn what_is_missing_is_a_reason_too() {
    let mut old = facts(ImageStore::Containerd);
    old.buildx.version = Version::new(0, 28, 0);
    assert!(
        reason(&[TAG], &old)
            .unwrap()
            .contains("buildx 0.29.0 or newer")
    );
    let mut bare = facts(ImageStore::Containerd);
    bare.step = None;
    assert!(reason(&[TAG], &bare).unwrap().contains("not installed"));
    let mut other = facts(ImageStore::Containerd);
    other.step.as_mut().unwrap().architectures = ["arm64".to_owned()].into();
    let found = reason(&[TAG], &other).unwrap();
    assert!(found.contains("not installed for amd64"), "{found}");
    other.engine.as_mut().unwrap().platform = "linux/arm64".to_owned();
    assert_eq!(reason(&[TAG], &other), None);
}

#[test]
fn on_makes_a_reason_an_error_and_a_cache_none() {
    let facts = facts(ImageStore::Containerd);
    let wrong = [TAG, ("accelerate", "on"), ("sbom", "true")];
    let error = plan_with(&wrong, &facts, None).unwrap_err().to_string();
    assert!(
        error.contains("accelerate") && error.contains("attestations"),
        "{error}"
    );
    assert_eq!(
        reason(&[TAG, ("accelerate", "on"), ("cache", "registry")], &facts),
        None
    );
    // A build that pushes nothing needs no engine.
    assert!(reason(&[TAG, ("accelerate", "on"), ("push", "false")], &facts).is_some());
}

#[test]
fn each_repository_gets_its_tags() {
    let tags = (
        "tags",
        "r.example/a:1\nr.example/b:1\nr.example/a:2\nlocalhost:5000/a:1",
    );
    let engine = engine(&[
        tags,
        ("annotations", "a=b\nmanifest:c=d=e"),
        ("compression-level", "5"),
    ]);
    let destinations: Vec<(&str, &str, Vec<&str>, bool)> = engine
        .destinations
        .iter()
        .map(|to| {
            let tags = to.tags.iter().map(String::as_str).collect();
            (&*to.registry, &*to.repository, tags, to.is_plain)
        })
        .collect();
    assert_eq!(
        destinations,
        [
            ("r.example", "a", vec!["1", "2"], false),
            ("r.example", "b", vec!["1"], false),
            ("localhost:5000", "a", vec!["1"], true),
        ]
    );
    let annotations = [("a", "b"), ("c", "d=e")];
    let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(engine.parts[0].annotations, annotations);
    assert_eq!(engine.compression, protocol::Compression::Zstd { level: 5 });
}
