//! Each rule with a recorded build that fires it and one that does not.

use std::time::Duration;

use super::{Facts, RULES, Rule, advise};
use super::{cache, cluster, context, export, layers as layer, order, pull, registry};
use crate::registry::pushed::Layer;
use crate::report::observed::Entry;
use crate::timings::tests::recording::Recording;
use crate::timings::{BootStage, BuildTimings, Phase, Traffic};

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

fn texts(facts: &Facts<'_>) -> String {
    let texts: Vec<String> = advise(facts)
        .into_iter()
        .map(|advice| advice.text)
        .collect();
    texts.join("\n")
}

/// A build on a builder whose boot had these stages, one after the other (seconds).
fn booted(stages: &[(&str, u64)]) -> BuildTimings {
    let mut timings = Recording::open("cold-push").timings();
    let mut boot = Duration::ZERO;
    for (name, seconds) in stages {
        let duration = Duration::from_secs(*seconds);
        timings.boot.push(BootStage {
            name: (*name).to_owned(),
            started: boot,
            duration,
        });
        boot += duration;
    }
    timings.total += boot;
    for time in &mut timings.phases {
        if time.phase == Phase::Builder {
            (time.union, time.partition) = (boot, boot);
        }
    }
    timings
}

/// The step of the recorded build `large-export`, as the image's history has it.
const LARGE_STEP: &str = "RUN head -c 900000000 /dev/urandom > /data";

fn layers(sizes: &[u64]) -> Vec<Layer> {
    let layer = |size: &u64| Layer {
        digest: "sha256:a".to_owned(),
        size: *size,
        created_by: Some(LARGE_STEP.to_owned()),
        platform: None,
    };
    sizes.iter().map(layer).collect()
}

#[test]
fn one_layer_that_holds_most_is_named() {
    let timings = Recording::large("large-export").timings();
    let cases: [(&[u64], bool); 5] = [
        (&[30_000_000, 820_000_000, 150_000_000], true),
        (&[500_000_000, 500_000_000], false),
        (&[1_000, 90_000_000], false),
        (&[900_000_000], false),
        (&[], false),
    ];
    for (sizes, fires) in cases {
        let layers = layers(sizes);
        let text = texts(&Facts {
            layers: &layers,
            ..given(&timings)
        });
        assert_eq!(text.contains("One layer holds"), fires, "{sizes:?}: {text}");
        if fires {
            assert!(
                text.contains(&format!(
                    "82 % of the image (820.0 MB of 1.00 GB): `{LARGE_STEP}`"
                )),
                "{text}"
            );
        }
    }
}

#[test]
fn sizes_that_no_layer_has_are_added_up_without_harm() {
    let timings = Recording::large("large-export").timings();
    for sizes in [[1 << 63, 1 << 63], [u64::MAX, 1], [u64::MAX, u64::MAX]] {
        let layers = layers(&sizes);
        texts(&Facts {
            layers: &layers,
            ..given(&timings)
        });
    }
}

#[test]
fn a_layer_of_the_base_image_or_one_that_took_no_time_is_not_named() {
    let timings = Recording::large("large-export").timings();
    let large = layers(&[30_000_000, 820_000_000]);
    let named = |timings: &BuildTimings, layers: &[Layer]| {
        let facts = Facts {
            layers,
            ..given(timings)
        };
        texts(&facts).contains("One layer holds")
    };
    assert!(named(&timings, &large));
    for made in [None, Some(""), Some("RUN apt-get install cuda")] {
        let mut of_base = large.clone();
        of_base[1].created_by = made.map(str::to_owned);
        assert!(!named(&timings, &of_base), "{made:?}");
    }
    let mut cached = timings.clone();
    for step in &mut cached.steps {
        step.cached = true;
    }
    assert!(!named(&cached, &large));
    let mut unchanged = timings;
    for time in &mut unchanged.phases {
        if matches!(time.phase, Phase::Export | Phase::Push) {
            (time.union, time.partition) = (Duration::ZERO, Duration::ZERO);
        }
    }
    assert!(!named(&unchanged, &large));
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
            texts(&Facts {
                compression: Some("gzip"),
                ..given(&timings)
            }),
            "",
            "{name}"
        );
    }
}

/// A build, and what else is known of it.
struct Known {
    timings: BuildTimings,
    layers: Vec<Layer>,
    compression: &'static str,
    context: Vec<Entry>,
    bytes: Option<u64>,
    repositories: Vec<String>,
}

impl Known {
    fn of(timings: BuildTimings) -> Self {
        Self {
            timings,
            layers: Vec::new(),
            compression: "zstd",
            context: Vec::new(),
            bytes: None,
            repositories: Vec::new(),
        }
    }

    fn small(name: &str) -> Self {
        Self::of(Recording::open(name).timings())
    }

    fn large(name: &str) -> Self {
        Self::of(Recording::large(name).timings())
    }

    /// The same with so many bytes sent over a cluster's API server.
    fn over_the_api(mut self, sent: u64) -> Self {
        self.timings.api_traffic = Some(Traffic { sent, received: 0 });
        self
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            timings: &self.timings,
            layers: &self.layers,
            compression: Some(self.compression),
            context: &self.context,
            bytes: self.bytes,
            without_lifecycle_policy: &self.repositories,
        }
    }
}

/// A rule, a build that fires it, what it says then, and a build that does not fire it.
fn cases() -> Vec<(Rule, Known, &'static [&'static str], Known)> {
    let entry = |name: &str, bytes| Entry {
        name: name.to_owned(),
        bytes,
    };
    let ecr = "1.dkr.ecr.eu-west-1.amazonaws.com/app".to_owned();
    vec![
        (
            layer::one_layer_holds_most,
            Known {
                layers: layers(&[30_000_000, 820_000_000, 150_000_000]),
                ..Known::large("large-export")
            },
            &[
                "82 % of the image",
                "`RUN head -c 900000000 /dev/urandom > /data`",
                "split its step",
            ],
            Known {
                layers: layers(&[400_000_000, 300_000_000, 300_000_000]),
                ..Known::large("large-export")
            },
        ),
        (
            order::dependencies_behind_the_whole_context,
            Known::large("dependencies-behind-context"),
            &[
                "`RUN pip install -r requirements.txt",
                "because it comes after `COPY . .`",
            ],
            Known::large("dependencies-before-context"),
        ),
        (
            export::export_longer_than_build,
            Known::large("large-export"),
            &["longer than building it", "`compression-level`"],
            Known::large("dependencies-before-context"),
        ),
        (
            export::zstd_would_save,
            Known {
                compression: "gzip",
                ..Known::large("large-export")
            },
            &["`compression: zstd` would have saved about"],
            Known::large("large-export"),
        ),
        (
            pull::builder_boot,
            Known::large("slow-boot"),
            &["of it pulling BuildKit's image", "`driver-opts: image=…`"],
            Known::small("container-boot"),
        ),
        (
            pull::base_image,
            Known::large("large-base"),
            &[
                "Pulling took",
                "`registry.test/timings/large",
                "(`builder`)",
            ],
            Known::large("large-export"),
        ),
        (
            cache::export_costs_more_than_it_gains,
            Known::large("costly-cache"),
            &["Writing the cache took", "remove `cache-to`"],
            Known::small("registry-cache-export"),
        ),
        (
            context::large_context,
            Known {
                context: vec![entry("data/", 200_000_000), entry(".git/", 9_000_000)],
                ..Known::large("large-context")
            },
            &[
                "The build context is 2",
                "Largest: `data/` 200.0 MB, `.git/` 9.0 MB.",
                "`.dockerignore`",
            ],
            Known::small("cold-push"),
        ),
        (
            cluster::over_the_api,
            Known::large("large-context").over_the_api(620_000_000),
            &["620.0 MB went to the builder", "`.dockerignore`"],
            Known::small("cold-push").over_the_api(20_000_000),
        ),
        (
            registry::no_lifecycle_policy,
            Known {
                bytes: Some(367_200_000),
                repositories: vec![ecr.clone()],
                ..Known::small("cold-push")
            },
            &[
                "`1.dkr.ecr.eu-west-1.amazonaws.com/app` has no lifecycle policy",
                "up to 367.2 MB",
                "put-lifecycle-policy",
            ],
            Known {
                bytes: Some(20_000_000),
                repositories: vec![ecr],
                ..Known::small("cold-push")
            },
        ),
    ]
}

#[test]
fn each_rule_fires_on_one_build_with_a_number_and_is_silent_on_another() {
    let cases = cases();
    assert_eq!(cases.len(), RULES.len());
    for (rule, fires, words, silent) in &cases {
        let advice = rule(&fires.facts()).unwrap_or_else(|| panic!("silent: {words:?}"));
        for word in *words {
            assert!(advice.text.contains(word), "{word}: {}", advice.text);
        }
        assert!(
            advice.text.contains(|sign: char| sign.is_ascii_digit()),
            "{}",
            advice.text
        );
        assert!(advise(&fires.facts()).contains(&advice), "{}", advice.text);
        assert_eq!(rule(&silent.facts()), None);
    }
}

#[test]
fn advice_on_a_pods_boot_is_about_its_longest_stage() {
    let (ask, node, pull, ready) = (
        "ask the cluster for a builder",
        "wait for a node",
        "pull the builder's image, start its container (linux/arm64)",
        "wait for BuildKit",
    );
    let cases = [
        (
            vec![(ask, 1), (node, 2), (pull, 20), (ready, 1)],
            "20.0 s of it pulling BuildKit's image",
        ),
        (
            vec![(ask, 1), (node, 40), (pull, 5), (ready, 1)],
            "40.0 s of it waiting for a node",
        ),
        // Nothing of it that can be changed.
        (vec![(ask, 1), (node, 2), (pull, 2), (ready, 20)], ""),
        // Quick.
        (vec![(node, 2), (pull, 1)], ""),
    ];
    for (stages, expected) in cases {
        let timings = booted(&stages);
        let text = texts(&given(&timings));
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.contains(" to boot"), !expected.is_empty(), "{text}");
    }
}
