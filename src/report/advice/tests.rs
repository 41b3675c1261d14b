//! Each rule with a recorded build that fires it and one that does not.

use super::{Facts, advise};
use crate::push::Layer;
use crate::report::around::Entry;
use crate::timings::BuildTimings;
use crate::timings::tests::recording::Recording;

fn given(timings: &BuildTimings) -> Facts<'_> {
    Facts {
        timings,
        layers: &[],
        compression: Some("zstd"),
        context: &[],
        bytes: None,
        without_lifecycle_policy: &[],
    }
}

fn told(facts: &Facts<'_>) -> String {
    let texts: Vec<String> = advise(facts)
        .into_iter()
        .map(|advice| advice.text)
        .collect();
    texts.join("\n")
}

fn layers(sizes: &[u64]) -> Vec<Layer> {
    let layer = |size: &u64| Layer {
        digest: "sha256:a".to_owned(),
        size: *size,
        created_by: Some("RUN pip install torch".to_owned()),
        platform: None,
    };
    sizes.iter().map(layer).collect()
}

#[test]
fn one_layer_that_holds_most_is_named() {
    let timings = Recording::open("cold-push").timings();
    let cases: [(&[u64], bool); 5] = [
        (&[30_000_000, 820_000_000, 150_000_000], true),
        (&[500_000_000, 500_000_000], false),
        (&[1_000, 90_000_000], false),
        (&[900_000_000], false),
        (&[], false),
    ];
    for (sizes, fires) in cases {
        let layers = layers(sizes);
        let text = told(&Facts {
            layers: &layers,
            ..given(&timings)
        });
        assert_eq!(text.contains("One layer holds"), fires, "{sizes:?}: {text}");
        if fires {
            assert!(
                text.contains("82 % of the image (820.0 MB of 1.00 GB): `RUN pip install torch`"),
                "{text}"
            );
        }
    }
}

#[test]
fn quick_builds_get_no_advice() {
    for name in [
        "cold-push",
        "cached-push",
        "failing-run",
        "inline-cache-import",
        "container-boot",
        "two-platforms",
        "warnings",
    ] {
        let timings = Recording::open(name).timings();
        assert_eq!(
            told(&Facts {
                compression: Some("gzip"),
                ..given(&timings)
            }),
            "",
            "{name}"
        );
    }
}

#[test]
fn dependencies_behind_the_whole_context_are_named() {
    let timings = Recording::large("dependencies-behind-context").timings();
    let text = told(&given(&timings));
    assert!(
        text.contains("`RUN pip install -r requirements.txt"),
        "{text}"
    );
    assert!(
        text.contains("because `COPY . .` stands before it"),
        "{text}"
    );
    let timings = Recording::large("dependencies-before-context").timings();
    assert_eq!(told(&given(&timings)), "");
}

#[test]
fn an_export_longer_than_the_build_is_named_with_what_zstd_saves() {
    let timings = Recording::large("large-export").timings();
    let text = told(&Facts {
        compression: Some("gzip"),
        ..given(&timings)
    });
    assert!(text.contains("longer than building it"), "{text}");
    assert!(text.contains("would have saved about"), "{text}");
    let text = told(&given(&timings));
    assert!(!text.contains("would have saved"), "zstd it was: {text}");
}

#[test]
fn a_large_base_image_is_named() {
    let timings = Recording::large("large-base").timings();
    let text = told(&given(&timings));
    assert!(text.contains("Pulling took"), "{text}");
    assert!(text.contains("`registry.test/timings/large"), "{text}");
}

#[test]
fn a_cache_that_costs_more_than_it_gains_is_named() {
    let timings = Recording::large("costly-cache").timings();
    let text = told(&given(&timings));
    assert!(text.contains("Writing the cache took"), "{text}");
}

#[test]
fn a_large_context_is_named_with_its_largest_entries() {
    let timings = Recording::large("large-context").timings();
    let context = [("data/", 200_000_000), (".git/", 9_000_000)].map(|(name, bytes)| Entry {
        name: name.to_owned(),
        bytes,
    });
    let text = told(&Facts {
        context: &context,
        ..given(&timings)
    });
    assert!(text.contains("The build context is 2"), "{text}");
    assert!(
        text.contains("Largest: `data/` 200.0 MB, `.git/` 9.0 MB."),
        "{text}"
    );
}

#[test]
fn a_boot_that_waits_for_its_image_is_named() {
    let timings = Recording::large("slow-boot").timings();
    let text = told(&given(&timings));
    assert!(text.contains("of it pulling BuildKit's image"), "{text}");
}

#[test]
fn a_repository_that_keeps_everything_is_named() {
    let timings = Recording::open("cold-push").timings();
    let one = ["1.dkr.ecr.eu-west-1.amazonaws.com/app".to_owned()];
    let cases: [(&[String], Option<u64>, bool); 4] = [
        (&one, Some(367_200_000), true),
        (&one, Some(20_000_000), false),
        (&one, None, false),
        (&[], Some(367_200_000), false),
    ];
    for (repositories, bytes, fires) in cases {
        let text = told(&Facts {
            bytes,
            without_lifecycle_policy: repositories,
            ..given(&timings)
        });
        assert_eq!(text.contains("has no lifecycle policy"), fires, "{text}");
        if fires {
            assert!(
                text.starts_with("`1.dkr.ecr.eu-west-1.amazonaws.com/app` has"),
                "{text}"
            );
            assert!(text.contains("up to 367.2 MB"), "{text}");
        }
    }
}
