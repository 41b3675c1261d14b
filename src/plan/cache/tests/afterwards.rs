//! The command of its own that writes the cache.

use super::*;
use crate::buildx::command;

#[test]
fn a_builder_of_ours_writes_the_registrys_cache_when_the_image_is_there() {
    let cases: &[(&str, Pairs<'_>, bool)] = &[
        ("a container", &[TAG, CONTAINER], true),
        (
            "the Engine's own BuildKit",
            &[TAG, ("cache", "registry")],
            false,
        ),
        ("built anew", &[TAG, CONTAINER, ("no-cache", "true")], false),
        (
            "a stage built anew",
            &[TAG, CONTAINER, ("no-cache-filters", "a")],
            false,
        ),
        ("not pushed", &[TAG, CONTAINER, ("push", "false")], false),
        (
            "in the image",
            &[TAG, CONTAINER, ("cache", "inline")],
            false,
        ),
        (
            "as given",
            &[
                TAG,
                CONTAINER,
                ("cache-to", "type=registry,ref=r.example/a:c"),
            ],
            false,
        ),
    ];
    for (name, pairs, expected) in cases {
        let plan = of(pairs, None);
        let image = image(&plan);
        let second = command::export_cache(image, "b").unwrap_or_default();
        assert_eq!(!second.is_empty(), *expected, "{name}");
        let exports = |argv: &[String]| argv.iter().filter(|word| *word == "--cache-to").count();
        let all = exports(&command::build(image, "b")) + exports(&second);
        assert_eq!(all, image.cache_to.len(), "{name}");
    }
}

/// All that decides on steps, in its order: else they would be done again.
#[test]
fn the_cache_is_written_by_the_same_build_without_its_image() {
    let pairs: Pairs<'_> = &[
        TAG,
        CONTAINER,
        ("build-args", "A=1"),
        ("build-contexts", "b=./b"),
        ("labels", "l=1"),
        ("annotations", "n=1"),
        ("secrets", "S=1"),
        ("target", "t"),
        ("platforms", "linux/amd64"),
        ("pull", "true"),
        ("sbom", "true"),
        ("network", "none"),
        ("context", "./app"),
    ];
    let plan = of(pairs, None);
    let image = image(&plan);
    let arguments = command::export_cache(image, &plan.builder.name).unwrap();
    let words = arguments[1..].join(" ");
    let export = image.cache_to[0].to_string();
    let expected = format!(
        "--build-arg A=1 --build-context b=./b {} --label l=1 --platform linux/amd64 \
         --secret id=S,src=/run/secret-0 --target t --builder fast-ecr-push-x1 --network none --progress rawjson \
         --cache-to {export} --output type=cacheonly --provenance false ./app",
        texts(&image.cache_from)
            .iter()
            .map(|cache| format!("--cache-from {cache}"))
            .collect::<Vec<_>>()
            .join(" ")
    );
    assert_eq!(words, expected);
}
