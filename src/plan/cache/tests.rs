//! Inputs, builder and run → cache, a named row per case.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::facts::{Facts, ImageStore};
use crate::github::workflow::WorkflowRun;
use crate::image::Mutability;
use crate::inputs::{Given, Inputs};
use crate::plan::{ImagePlan, Place, Plan, PlanError};

type Pairs<'a> = &'a [(&'static str, &'a str)];

/// Name, inputs, whether in a workflow; the kind, what is read, what is written.
type Row<'a> = (
    &'a str,
    Pairs<'a>,
    bool,
    &'a str,
    &'a [&'a str],
    &'a [&'a str],
);

const COMMIT: &str = "0123abc456def";
const TAG: (&str, &str) = ("tags", "r.example/a:1");
const CONTAINER: (&str, &str) = ("driver", "docker-container");

fn plan(pairs: Pairs<'_>, run: Option<&WorkflowRun>, facts: &Facts) -> Result<Plan, PlanError> {
    let mut given = Given::default();
    for (name, text) in pairs {
        given.set(name, (*text).to_owned());
    }
    let place = Place {
        folder: PathBuf::from("/run"),
        id: "x1".to_owned(),
    };
    Plan::new(&Inputs::parse(&given).unwrap(), run, facts, &place)
}

fn of(pairs: Pairs<'_>, run: Option<&WorkflowRun>) -> Plan {
    plan(pairs, run, &Facts::example(ImageStore::Containerd)).unwrap()
}

fn image(plan: &Plan) -> &ImagePlan {
    &plan.images[0]
}

fn run_on(event: &str, git_ref: &str, payload: Value) -> WorkflowRun {
    WorkflowRun {
        server_url: "https://github.com".to_owned(),
        repository: "octo/app".to_owned(),
        sha: Some(COMMIT.to_owned()),
        event_name: event.to_owned(),
        git_ref: Some(git_ref.to_owned()),
        payload,
        ..WorkflowRun::default()
    }
}

fn on_main() -> WorkflowRun {
    run_on(
        "push",
        "refs/heads/main",
        json!({"repository": {"default_branch": "main"}}),
    )
}

fn pull_request_of(repository: &str) -> WorkflowRun {
    run_on(
        "pull_request",
        "refs/pull/7/merge",
        json!({
            "repository": {"default_branch": "main"},
            "pull_request": {
                "head": {"ref": "fix", "repo": {"full_name": repository}},
                "base": {"ref": "next"},
            },
        }),
    )
}

const EXPORT: &str =
    "mode=max,image-manifest=true,oci-mediatypes=true,compression=zstd,ignore-error=true";

#[test]
fn auto_takes_what_suits_the_builder() {
    let cases: &[Row<'_>] = &[
        (
            "a runner's disk is new",
            &[TAG],
            true,
            "registry",
            &["type=registry,ref=r.example/a:buildcache"],
            &[&format!(
                "type=registry,ref=r.example/a:buildcache,{EXPORT}"
            )],
        ),
        (
            "a person's Engine keeps its disk",
            &[TAG],
            false,
            "inline",
            &["type=registry,ref=r.example/a:1"],
            &["type=inline"],
        ),
        (
            "a container of this run alone",
            &[TAG, CONTAINER],
            false,
            "registry",
            &["type=registry,ref=r.example/a:buildcache"],
            &[&format!(
                "type=registry,ref=r.example/a:buildcache,{EXPORT}"
            )],
        ),
        (
            "what is not pushed writes none",
            &[TAG, ("push", "false")],
            true,
            "registry",
            &["type=registry,ref=r.example/a:buildcache"],
            &[],
        ),
        (
            "a name of this machine",
            &[("tags", "app:1"), ("load", "true")],
            true,
            "none",
            &[],
            &[],
        ),
        (
            "no name at all",
            &[("push", "false")],
            true,
            "none",
            &[],
            &[],
        ),
        (
            "what no cache is wanted for",
            &[TAG, ("cache", "none")],
            true,
            "none",
            &[],
            &[],
        ),
        (
            "the raw inputs win",
            &[TAG, ("cache-from", "type=gha")],
            true,
            "given",
            &["type=gha"],
            &[],
        ),
        (
            "every step is built anew, and kept",
            &[TAG, ("no-cache", "true")],
            true,
            "registry",
            &[],
            &[&format!(
                "type=registry,ref=r.example/a:buildcache,{EXPORT}"
            )],
        ),
    ];
    for (name, pairs, in_workflow, kind, from, to) in cases {
        let run = on_main();
        let plan = of(pairs, in_workflow.then_some(&run));
        let found = image(&plan);
        assert_eq!(
            serde_json::to_value(found.cache.kind).unwrap(),
            *kind,
            "{name}"
        );
        assert_eq!(found.cache_from, *from, "{name}");
        assert_eq!(found.cache_to, *to, "{name}");
        assert_eq!(
            found.tags.len(),
            found.argv.iter().filter(|word| *word == "--tag").count(),
            "{name}"
        );
    }
}

#[test]
fn the_registrys_cache_is_compressed_as_the_image() {
    let cases: &[(Pairs<'_>, &str)] = &[
        (
            &[("compression", "gzip"), ("compression-level", "9")],
            ",compression=gzip,compression-level=9,",
        ),
        (
            &[("compression", "zstd"), ("compression-level", "7")],
            ",compression=zstd,compression-level=7,",
        ),
        (
            &[("outputs", "type=image,push=true,compression=estargz")],
            ",compression=estargz,",
        ),
        (&[("cache-mode", "min")], ",mode=min,"),
    ];
    for (more, words) in cases {
        let pairs = [&[TAG, ("cache", "registry")], *more].concat();
        let plan = of(&pairs, None);
        let to = &image(&plan).cache_to[0];
        assert!(to.contains(words), "{to}");
        assert!(to.ends_with("ignore-error=true"), "{to}");
    }
}

#[test]
fn branches_have_caches_of_their_own_and_fall_back() {
    let refs = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| format!("type=registry,ref=r.example/a:{name}"))
            .collect()
    };
    let branch = run_on(
        "push",
        "refs/heads/fix",
        json!({"repository": {"default_branch": "main"}}),
    );
    let cases: [(_, &[&str], Option<&str>); 3] = [
        (
            branch,
            &["buildcache-fix", "buildcache"],
            Some("r.example/a:buildcache-fix"),
        ),
        (
            pull_request_of("octo/app"),
            &["buildcache-fix", "buildcache-next", "buildcache"],
            Some("r.example/a:buildcache-fix"),
        ),
        (
            pull_request_of("eve/app"),
            &["buildcache-next", "buildcache"],
            None,
        ),
    ];
    for (run, from, written) in cases {
        let plan = of(&[TAG], Some(&run));
        assert_eq!(image(&plan).cache_from, refs(from));
        assert_eq!(image(&plan).cache.written.as_deref(), written);
        assert_eq!(image(&plan).cache_to.len(), usize::from(written.is_some()));
        let told = plan
            .notices
            .iter()
            .any(|notice| notice.contains("read and not written"));
        assert_eq!(told, written.is_none(), "{:?}", plan.notices);
    }
}

#[test]
fn the_inline_cache_is_found_under_tags_that_move() {
    let run = on_main();
    let seed = format!("r.example/a:gha-{COMMIT}\nr.example/a:gha-cache");
    let unique = format!("r.example/a:gha-{COMMIT}");
    let cases: &[(&str, Pairs<'_>, &[&str], Option<&str>)] = &[
        (
            "as in the seed's jobs",
            &[("tags", &seed)],
            &["r.example/a:gha-cache"],
            None,
        ),
        (
            "the same, by name",
            &[("tags", &seed), ("cache-ref", "r.example/a:gha-cache")],
            &["r.example/a:gha-cache"],
            None,
        ),
        (
            "a name that the image has not",
            &[("tags", &unique), ("cache-ref", "r.example/a:gha-cache")],
            &["r.example/a:gha-cache"],
            Some("r.example/a:gha-cache"),
        ),
        (
            "no tag that moves",
            &[("tags", &unique)],
            &["r.example/a:inlinecache"],
            Some("r.example/a:inlinecache"),
        ),
    ];
    for (name, pairs, from, tag) in cases {
        let pairs = [&[("cache", "inline")], *pairs].concat();
        let plan = of(&pairs, Some(&run));
        let from: Vec<String> = from
            .iter()
            .map(|name| format!("type=registry,ref={name}"))
            .collect();
        assert_eq!(image(&plan).cache_from, from, "{name}");
        assert_eq!(image(&plan).cache_to, ["type=inline"], "{name}");
        assert_eq!(image(&plan).cache.tag.as_deref(), *tag, "{name}");
        if let Some(tag) = tag {
            let argv = &image(&plan).argv;
            assert!(
                argv.windows(2).any(|pair| pair == ["--tag", tag]),
                "{name}: {argv:?}"
            );
            assert!(!image(&plan).tags.contains(&(*tag).to_owned()));
        }
    }
}

#[test]
fn a_cache_has_the_name_that_it_is_given() {
    let own = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let run = run_on(
        "push",
        "refs/heads/fix",
        json!({"repository": {"default_branch": "main"}}),
    );
    let cases: &[(Pairs<'_>, &str)] = &[
        (
            &[TAG, ("cache-ref", "r.example/cache")],
            "r.example/cache:buildcache-fix",
        ),
        (
            &[TAG, ("cache-ref", "r.example/cache:x")],
            "r.example/cache:x",
        ),
        (
            &[
                ("repository", "team/app"),
                ("tags", "1"),
                ("cache-ref", "team/cache"),
            ],
            &format!("{own}/team/cache:buildcache-fix"),
        ),
        (
            &[
                ("repository", "team/app"),
                ("tags", "1"),
                ("cache-ref", "ghcr.io/a/b:c"),
            ],
            "ghcr.io/a/b:c",
        ),
    ];
    for (pairs, expected) in cases {
        let plan = of(pairs, Some(&run));
        assert_eq!(image(&plan).cache.written.as_deref(), Some(*expected));
        assert!(image(&plan).cache_from[0].ends_with(expected));
    }
    let facts = Facts::example(ImageStore::Containerd);
    let refused: &[(Pairs<'_>, &str)] = &[
        (
            &[TAG, ("cache-ref", "R/X")],
            "input `cache-ref`: `R/X` given, expected a repository",
        ),
        (
            &[TAG, ("cache", "gha"), ("cache-ref", "r.example/a:c")],
            "nothing beside `cache: gha`",
        ),
        (
            &[TAG, ("cache", "inline"), ("cache-mode", "max")],
            "input `cache-mode`: `max` given",
        ),
    ];
    for (pairs, words) in refused {
        let error = plan(pairs, None, &facts).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn stages_and_legs_of_an_index_do_not_overwrite_each_other() {
    let written = |pairs: Pairs<'_>| {
        let plan = of(&[&[("cache", "registry")], pairs].concat(), None);
        image(&plan).cache.written.clone().unwrap()
    };
    let leg = (
        "outputs",
        "type=image,name=r.example/a,push-by-digest=true,push=true",
    );
    let names = [
        written(&[TAG]),
        written(&[TAG, ("target", "test")]),
        written(&[leg, ("platforms", "linux/amd64")]),
        written(&[leg, ("platforms", "linux/arm64")]),
    ];
    assert_eq!(names[0], "r.example/a:buildcache");
    for (index, name) in names.iter().enumerate() {
        assert!(
            names.iter().skip(index + 1).all(|other| other != name),
            "{names:?}"
        );
    }
    // Where one run builds all platforms, there is one cache.
    assert_eq!(
        written(&[TAG, ("platforms", "linux/amd64,linux/arm64")]),
        names[0]
    );
}

#[test]
fn where_no_other_cache_can_be_written_it_is_the_images_own() {
    let facts = Facts::example(ImageStore::Classic);
    for kind in ["auto", "registry", "gha"] {
        let run = WorkflowRun {
            cache_service: true,
            ..on_main()
        };
        let plan = plan(
            &[TAG, ("driver", "docker"), ("cache", kind)],
            Some(&run),
            &facts,
        )
        .unwrap();
        assert_eq!(image(&plan).cache_to, ["type=inline"], "{kind}");
        let told = plan
            .notices
            .iter()
            .any(|notice| notice.contains("only with containerd's image store"));
        assert!(told, "{:?}", plan.notices);
    }
}

#[test]
fn an_immutable_repository_freezes_no_cache() {
    let name = "r.example/a".to_owned();
    let with = |mutability: Mutability, pairs: Pairs<'_>| {
        let mut facts = Facts::example(ImageStore::Containerd);
        facts.repositories.insert(name.clone(), mutability);
        plan(pairs, Some(&on_main()), &facts).unwrap()
    };
    let tags = format!("r.example/a:{COMMIT}\nr.example/a:latest");
    let except = |filter: &str| Mutability::ImmutableExcept(vec![filter.to_owned()]);

    let frozen = with(Mutability::Immutable, &[("tags", &tags)]);
    assert!(image(&frozen).cache_to.is_empty());
    let [warning] = frozen.warnings.as_slice() else {
        panic!("{:?}", frozen.warnings);
    };
    for words in [
        "no cache is written",
        "`r.example/a` are immutable",
        "`buildcache*`",
        "`cache-ref`",
    ] {
        assert!(warning.contains(words), "{warning}");
    }

    let excluded = with(except("buildcache*"), &[("tags", &tags)]);
    assert_eq!(
        image(&excluded).cache.written.as_deref(),
        Some("r.example/a:buildcache")
    );
    assert!(excluded.warnings.is_empty());

    let latest = with(except("latest"), &[("tags", &tags)]);
    assert_eq!(image(&latest).cache_to, ["type=inline"]);
    assert_eq!(
        image(&latest).cache_from,
        ["type=registry,ref=r.example/a:latest"]
    );
    assert!(
        latest
            .notices
            .iter()
            .any(|notice| notice.contains("kept in the image"))
    );

    let elsewhere = with(
        Mutability::Immutable,
        &[("tags", &tags), ("cache-ref", "r.example/cache")],
    );
    assert_eq!(
        image(&elsewhere).cache.written.as_deref(),
        Some("r.example/cache:buildcache")
    );

    let inline = with(
        Mutability::Immutable,
        &[
            ("tags", &format!("r.example/a:{COMMIT}")),
            ("cache", "inline"),
        ],
    );
    assert_eq!(image(&inline).cache.tag, None);
    assert!(
        inline.warnings[0].contains("`r.example/a:inlinecache` is not pushed"),
        "{:?}",
        inline.warnings
    );
}

#[test]
fn githubs_cache_service_is_used_where_there_is_one() {
    let gha = [TAG, ("cache", "gha")];
    let served = WorkflowRun {
        cache_service: true,
        ..on_main()
    };
    let found = of(&gha, Some(&served));
    assert_eq!(image(&found).cache_from, ["type=gha,scope=a"]);
    assert_eq!(
        image(&found).cache_to,
        ["type=gha,mode=max,ignore-error=true,scope=a"]
    );
    let second = [("ACTIONS_CACHE_SERVICE_V2".to_owned(), "true".to_owned())];
    assert_eq!(image(&found).variables, second);

    let own_server = WorkflowRun {
        server_url: "https://ghe.example.com".to_owned(),
        ..served.clone()
    };
    assert!(image(&of(&gha, Some(&own_server))).variables.is_empty());
    let residency = WorkflowRun {
        server_url: "https://octo.ghe.com".to_owned(),
        ..served.clone()
    };
    assert_eq!(image(&of(&gha, Some(&residency))).variables, second);
    let raw = of(&[TAG, ("cache-to", "type=gha,mode=min")], Some(&served));
    assert_eq!(image(&raw).variables, second);
    assert!(image(&of(&[TAG], Some(&served))).variables.is_empty());

    for run in [None, Some(on_main())] {
        let without = of(&gha, run.as_ref());
        assert!(image(&without).cache_to.is_empty());
        assert!(
            without
                .notices
                .iter()
                .any(|notice| notice.contains("ACTIONS_RUNTIME_TOKEN"))
        );
    }
}
