//! What caches are called, and where they are looked for.

use serde_json::json;

use super::*;
use crate::plan::tests::tags;

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
        assert_eq!(texts(&image(&plan).cache_from), refs(from));
        assert_eq!(
            text(image(&plan).cache.written.as_ref()).as_deref(),
            written
        );
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
        assert_eq!(texts(&image(&plan).cache_from), from, "{name}");
        assert_eq!(texts(&image(&plan).cache_to), ["type=inline"], "{name}");
        assert_eq!(
            text(image(&plan).cache.tag.as_ref()).as_deref(),
            *tag,
            "{name}"
        );
        if let Some(tag) = tag {
            let argv = argv(&plan);
            assert!(
                argv.windows(2).any(|pair| pair == ["--tag", tag]),
                "{name}: {argv:?}"
            );
            assert!(!tags(&plan).contains(&(*tag).to_owned()));
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
        assert_eq!(
            text(image(&plan).cache.written.as_ref()).as_deref(),
            Some(*expected)
        );
        assert!(texts(&image(&plan).cache_from)[0].ends_with(expected));
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

fn written(pairs: Pairs<'_>, run: Option<&WorkflowRun>) -> String {
    let plan = of(&[&[("cache", "registry")], pairs].concat(), run);
    image(&plan).cache.written.clone().unwrap().to_string()
}

#[test]
fn legs_of_a_matrix_do_not_overwrite_each_other() {
    let leg = (
        "outputs",
        "type=image,name=r.example/a,push-by-digest=true,push=true",
    );
    let argument = |value: &'static str| -> [(&'static str, &'static str); 2] {
        [
            ("build-args", value),
            ("matrix", r#"{"python": ["3.11", "3.12"]}"#),
        ]
    };
    let (old, new) = (argument("PYTHON=3.11"), argument("PYTHON=3.12"));
    let legs: &[Pairs<'_>] = &[
        &[],
        &[("target", "test")],
        &[("platforms", "linux/amd64")],
        &[("platforms", "linux/arm64")],
        &[("platforms", "linux/amd64,linux/arm64")],
        &[("file", "a.Dockerfile")],
        &[("file", "b.Dockerfile")],
        &[("file", "https://example.com/Dockerfile")],
        &[("context", "a")],
        &[("context", "b")],
        &[("context", "b"), ("target", "test")],
        &[("context", "https://example.com/b.git")],
        &old,
        &new,
    ];
    let run = on_main();
    for workflow in [None, Some(&run)] {
        let mut names: Vec<String> = legs
            .iter()
            .map(|pairs| written(&[&[TAG], *pairs].concat(), workflow))
            .chain([written(&[leg, ("platforms", "linux/386")], workflow)])
            .collect();
        assert_eq!(names[0], "r.example/a:buildcache");
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}

/// Else every run would begin with an empty cache.
#[test]
fn what_changes_with_every_run_is_in_no_name() {
    let matrix = ("matrix", r#"{"python": "3.12", "day": 30}"#);
    let runs: &[&[Pairs<'_>]] = &[
        &[
            &[("build-args", "COMMIT=0123abc\nBUILD_DATE=2026-11-30")],
            &[("build-args", "COMMIT=4567def\nBUILD_DATE=2026-12-01")],
            &[],
        ],
        &[
            &[
                matrix,
                (
                    "build-args",
                    "COMMIT=0123abc\nBUILD_DATE=2026-11-30T1:2:3Z\nPYTHON=3.12",
                ),
            ],
            &[
                matrix,
                (
                    "build-args",
                    "PYTHON=3.12\nCOMMIT=4567def\nBUILD_DATE=2026-12-01",
                ),
            ],
            &[matrix, ("build-args", "PYTHON=3.12")],
        ],
        &[
            &[("context", "https://example.com/a.git#0123abc:app")],
            &[("context", "https://x:hush@example.com/a.git#4567def:app")],
        ],
        &[
            &[("platforms", "linux/amd64,linux/arm64")],
            &[("platforms", "arm64,amd64")],
        ],
    ];
    for (index, runs) in runs.iter().enumerate() {
        let of_run = |pairs: &Pairs<'_>| written(&[&[TAG], *pairs].concat(), None);
        let names: Vec<String> = runs.iter().map(of_run).collect();
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        assert_eq!(index == 0, names[0] == "r.example/a:buildcache");
    }
}

#[test]
fn a_name_shows_no_value_and_differs_between_repositories() {
    let argument = [
        ("build-args", "SECRET=hunter2"),
        ("matrix", r#"{"x": "hunter2"}"#),
    ];
    let run = on_main();
    let other = WorkflowRun {
        repository: "octo/other".to_owned(),
        ..on_main()
    };
    let [ours, theirs] =
        [run, other].map(|run| written(&[&[TAG], &argument[..]].concat(), Some(&run)));
    assert_ne!(ours, theirs);
    assert!(ours.starts_with("r.example/a:buildcache-args-"), "{ours}");
    assert!(
        !ours.contains("hunter2") && !ours.contains("SECRET"),
        "{ours}"
    );
}

#[test]
fn caches_under_former_names_are_still_read() {
    let served = WorkflowRun {
        cache_service: true,
        ..run_on(
            "push",
            "refs/heads/fix",
            json!({"repository": {"default_branch": "main"}}),
        )
    };
    let read = |pairs: Pairs<'_>| {
        let plan = of(&[&[TAG], pairs].concat(), Some(&served));
        texts(&image(&plan).cache_from)
    };
    let name = |tag: &str| format!("type=registry,ref=r.example/a:{tag}");
    // The own branch and the default branch, today's names first.
    let found = read(&[("file", "docker/api.Dockerfile"), ("target", "test")]);
    assert_eq!(found.len(), 4, "{found:?}");
    for (index, start) in [
        "buildcache-test.docker-api.Dockerfile.fix-",
        "buildcache-test.docker-api.Dockerfile-",
        "buildcache-test.fix-",
        "buildcache-test-",
    ]
    .iter()
    .enumerate()
    {
        assert!(found[index].starts_with(&name(start)), "{found:?}");
    }
    let found = read(&[("platforms", "linux/arm64")]);
    assert_eq!(found[2..], [name("buildcache-fix"), name("buildcache")]);
    // Names that did not change are read once.
    assert_eq!(read(&[("target", "test")]).len(), 2);

    let found = read(&[("cache", "gha"), ("context", "app")]);
    assert!(found[0].starts_with("type=gha,scope=a-app-"), "{found:?}");
    assert_eq!(found[1..], ["type=gha,scope=a"]);
    assert_eq!(
        read(&[("cache", "gha"), ("target", "test")]),
        ["type=gha,scope=a-test"]
    );
    // A name of the user's own is what it is.
    let found = read(&[("cache-ref", "r.example/c:x"), ("context", "app")]);
    assert_eq!(found, ["type=registry,ref=r.example/c:x"]);
}
