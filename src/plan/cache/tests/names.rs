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

#[test]
fn stages_and_legs_of_an_index_do_not_overwrite_each_other() {
    let written = |pairs: Pairs<'_>| {
        let plan = of(&[&[("cache", "registry")], pairs].concat(), None);
        image(&plan).cache.written.clone().unwrap().to_string()
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
