//! The push engine: an image that a build step of ours packs and pushes, inside BuildKit.

use std::time::Duration;

use crate::faulty::{Fault, Front, Rule};
use crate::registry::{get, manifest};
use crate::rig::{Action, busybox, container_options, registry, variable};
use crate::runner::{Ended, Runner, docker};

/// Names and values.
type Inputs<'a> = &'a [(&'a str, &'a str)];

/// What the log says where BuildKit takes over.
pub(crate) const INSTEAD: &str = "BuildKit pushes the image itself";

/// A build whose files are a megabyte that does not compress, and more. It shares no step with those for other repositories: two of
/// them at a time could leave two results.
fn action(repository: &str) -> Action {
    let dockerfile = format!(
        "FROM {}\nARG VALUE\nENV A={repository}\nWORKDIR /srv/x\nCOPY file /srv/x/\nRUN --network=none echo \"$VALUE\" > value && \
         head -c 1000000 /dev/urandom > random && ln random linked && rm /bin/vi\nUSER 1000\nCMD [\"cat\", \"value\"]\n",
        busybox()
    );
    Action::new(&dockerfile)
        .file("file", "from the context\n")
        .input("tags", &format!("{}/{repository}:1", registry()))
        .input("build-args", "VALUE=${x} 100%{y}")
        .input("labels", "com.example.a=${b}")
        .input("cache", "none")
}

pub(crate) fn is_by_engine(run: &Ended) -> bool {
    run.values.outputs.contains_key("pushed-bytes")
}

/// A run in which the engine pushes, and nothing is amiss.
pub(crate) fn by_engine(action: &Action) -> Ended {
    let run = action.run().succeeded();
    assert!(is_by_engine(&run), "{}", run.log());
    for level in ["warning", "error"] {
        assert!(run.annotations(level).is_empty(), "{}", run.log());
    }
    run
}

fn inspected(image: &str) -> serde_json::Value {
    docker(&["pull", "--quiet", image]);
    let text = docker(&["inspect", image]);
    let mut all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let config = all[0]["Config"].take();
    docker(&["image", "rm", image]);
    config
}

#[test]
fn an_image_of_the_push_engine_runs_has_buildkits_configuration_and_is_sent_once() {
    let action = action("engine/app");
    let first = action.run().succeeded();
    assert!(is_by_engine(&first), "{}", first.log());
    assert!(
        first.number("pushed-bytes") > 1_000_000.0,
        "{}",
        first.log()
    );
    for level in ["warning", "error"] {
        assert!(first.annotations(level).is_empty(), "{}", first.log());
    }
    let digest = first.output("digest").to_owned();
    assert_eq!(manifest("engine/app", "1"), manifest("engine/app", &digest));
    let image = format!("{}/engine/app@{digest}", registry());
    assert_eq!(first.output("image"), image);
    assert_eq!(docker(&["run", "--rm", &image]).trim(), "${x} 100%{y}");
    let metadata: serde_json::Value = serde_json::from_str(first.output("metadata")).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(
        metadata["containerimage.config.digest"],
        first.output("imageid")
    );
    let config = &manifest("engine/app", "1")["config"]["digest"];
    assert_eq!(config, first.output("imageid"));
    assert!(first.number("export-seconds") > 0.0 && first.number("push-seconds") > 0.0);
    assert!(
        first.values.summary.contains("Push engine: "),
        "{}",
        first.values.summary
    );

    // While another build uses the same base, BuildKit may run a step again, which makes another image.
    let mut before = digest;
    let mut again = (0..5).map(|_| action.run().succeeded());
    let same = again.find(|run| {
        let digest = run.output("digest").to_owned();
        std::mem::replace(&mut before, digest.clone()) == digest
    });
    let same = same.expect("the same image twice");
    assert_eq!(same.number("pushed-bytes"), 0.0, "{}", same.log());

    let plain = action.input("accelerate", "off").run().succeeded();
    assert!(!is_by_engine(&plain), "{}", plain.log());
    let theirs = format!("{}/engine/app@{}", registry(), plain.output("digest"));
    assert_eq!(inspected(&image), inspected(&theirs));
}

/// Two Python packages, installed at a time, and nothing else.
fn with_packages(time: &str, version: &str) -> Action {
    let site = "/usr/lib/python3/site-packages";
    let dockerfile = format!(
        "FROM {}\nARG TIME\nRUN --network=none --mount=type=bind,source=site,target=/site mkdir -p {site} && cp -r /site/. {site}/ && \
         find {site} -exec touch -d @$TIME {{}} +\n",
        busybox()
    );
    // Does not compress to less than half.
    let mut state = 1_u64;
    let digits = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{:08x}", state >> 32)
    });
    let data: String = digits.take(100_000).collect();
    Action::new(&dockerfile)
        .file("site/one/data", &data)
        .file(
            "site/one-2.0.dist-info/RECORD",
            "one/data,,\none-2.0.dist-info/RECORD,,\n",
        )
        .file("site/two.py", format!("VERSION = {version}\n"))
        .file(
            &format!("site/two-{version}.dist-info/RECORD"),
            format!("two.py,,\ntwo-{version}.dist-info/RECORD,,\n"),
        )
        .input("tags", &format!("{}/engine/python:1", registry()))
        .input("build-args", &format!("TIME={time}"))
        .input("cache", "none")
        .input("accelerate", "on")
}

#[test]
fn packages_that_are_installed_once_more_are_not_sent_again_and_changed_ones_are_named() {
    let first = with_packages("1700000000", "1.0").run().succeeded();
    assert!(first.number("pushed-bytes") > 300_000.0, "{}", first.log());
    assert!(!first.log().contains("packages:"), "{}", first.log());

    let again = with_packages("1750000001", "1.0").run().succeeded();
    assert!(again.number("pushed-bytes") < 20_000.0, "{}", again.log());
    assert!(
        again.log().contains("already in the registry"),
        "{}",
        again.log()
    );
    assert!(!again.log().contains("packages:"), "{}", again.log());

    let changed = with_packages("1760000002", "1.1").run().succeeded();
    assert!(
        changed.log().contains("packages: pip/two 1.0 → 1.1"),
        "{}",
        changed.log()
    );
    assert!(
        changed.values.summary.contains("1 package changed"),
        "{}",
        changed.values.summary
    );

    let kept = with_packages("1770000003", "1.1").input("layer-times", "keep");
    let kept = kept.run().succeeded();
    assert!(kept.number("pushed-bytes") > 300_000.0, "{}", kept.log());
    let image = format!("{}/engine/python:1", registry());
    docker(&["pull", "--quiet", &image]);
    let time = docker(&[
        "run",
        "--rm",
        &image,
        "stat",
        "-c",
        "%Y",
        "/usr/lib/python3/site-packages/two.py",
    ]);
    assert_eq!(time.trim(), "1770000003");
    docker(&["image", "rm", &image]);
}

#[test]
fn buildkit_in_a_container_takes_the_step_too_and_several_repositories_get_the_image() {
    let tags = format!(
        "{0}/engine/one:1\n{0}/engine/one:2\n{0}/engine/two:1",
        registry()
    );
    let run = action("engine/one")
        .input("driver", "docker-container")
        .input("driver-opts", &container_options())
        .input("tags", &tags)
        .input("accelerate", "on")
        .run()
        .succeeded();
    assert!(is_by_engine(&run), "{}", run.log());
    let digest = run.output("digest");
    for (repository, tag) in [
        ("engine/one", "1"),
        ("engine/one", "2"),
        ("engine/two", "1"),
    ] {
        assert_eq!(manifest(repository, tag), manifest("engine/one", digest));
    }
}

#[test]
fn buildkit_pushes_what_the_engine_can_not_and_says_why() {
    let base = format!("{}/engine/trigger:1", registry());
    Action::new(&format!("FROM {}\nONBUILD RUN touch /made\n", busybox()))
        .input("tags", &base)
        .input("accelerate", "off")
        .run()
        .succeeded();
    let on_folder = "FROM tools\nCOPY Dockerfile /\n";
    let busybox = format!("FROM {}\nRUN touch /a\n", busybox());
    let on_trigger = format!("FROM {base}\nRUN touch /a\n");
    let cases: [(&str, &str, Inputs<'_>, &str); 5] = [
        (
            "folder",
            on_folder,
            &[("build-contexts", "tools=.")],
            "the image starts from the context `tools`, which is no image",
        ),
        (
            "onbuild",
            &on_trigger,
            &[],
            "the base image has ONBUILD instructions",
        ),
        (
            "attested",
            &busybox,
            &[("provenance", "true")],
            "BuildKit makes attestations when it exports an image",
        ),
        (
            "cached",
            &busybox,
            &[("cache", "registry")],
            "BuildKit has to compress the layers anyway for the cache",
        ),
        (
            "unpacked",
            &busybox,
            &[("compression", "uncompressed")],
            "does not make layers of `compression: uncompressed`",
        ),
    ];
    for (name, dockerfile, inputs, reason) in cases {
        let mut action = Action::new(dockerfile)
            .input("tags", &format!("{}/engine/{name}:1", registry()))
            .input("cache", "none");
        for (input, value) in inputs {
            action = action.input(input, value);
        }
        let run = action.run().succeeded();
        assert!(run.log().contains(reason), "{name}: {}", run.log());
        assert!(!is_by_engine(&run), "{name}");
        manifest(&format!("engine/{name}"), "1");
        if name == "cached" {
            continue;
        }
        let run = action.input("accelerate", "on").run();
        assert!(matches!(run.code, Some(1 | 2)), "{name}: {}", run.log());
        assert!(run.log().contains(reason), "{name}: {}", run.log());
    }
}

#[test]
fn a_failing_step_of_the_users_fails_as_it_does_without_the_engine() {
    let dockerfile = format!("FROM {}\nRUN echo so it goes; false\n", busybox());
    let runs = ["auto", "off"].map(|accelerate| {
        Action::new(&dockerfile)
            .input("tags", &format!("{}/engine/fails:1", registry()))
            .input("cache", "none")
            .input("accelerate", accelerate)
            .run()
    });
    for run in &runs {
        assert_eq!(run.code, Some(1), "{}", run.log());
        assert!(!run.log().contains(INSTEAD), "{}", run.log());
    }
    let errors = runs
        .each_ref()
        .map(|run| run.annotations("error")[0].message.clone());
    assert_eq!(errors[0], errors[1]);
    let (status, _) = get("/v2/engine/fails/manifests/1");
    assert_eq!(status, 404);
}

#[test]
fn faults_of_the_registry_are_survived_or_leave_no_tag() {
    const ENGINE: &str = "fast-ecr-push/";
    let cases: [(&str, Rule, bool); 7] = [
        (
            "an upload is not begun once",
            rule(&[ENGINE, "POST /v2/"], 1, Fault::Status(500)),
            true,
        ),
        (
            "an upload is throttled twice",
            rule(&[ENGINE, "POST /v2/"], 2, Fault::Status(429)),
            true,
        ),
        (
            "a blob ends in the middle",
            rule(&[ENGINE, "_state="], 1, Fault::ResetAfter(100_000)),
            true,
        ),
        (
            "a question fails",
            rule(&[ENGINE, "HEAD /v2/"], 2, Fault::Status(503)),
            true,
        ),
        (
            "the manifest fails once",
            rule(&[ENGINE, "PUT /v2/", "/manifests/"], 1, Fault::Status(502)),
            true,
        ),
        (
            "uploads are refused to the engine",
            rule(&[ENGINE, "POST /v2/"], 1000, Fault::Status(403)),
            false,
        ),
        (
            "manifests are refused to the engine",
            rule(
                &[ENGINE, "PUT /v2/", "/manifests/"],
                1000,
                Fault::Status(403),
            ),
            false,
        ),
    ];
    for (index, (name, rule, by_engine)) in cases.into_iter().enumerate() {
        let times = rule.times;
        let front = Front::new(rule);
        let repository = format!("engine/fault{index}");
        let run = action(&repository)
            .input("tags", &format!("{}/{repository}:1", front.address))
            .run();
        assert!(
            front.left() < times,
            "{name}: nothing was broken\n{}",
            run.log()
        );
        assert_eq!(run.code, Some(0), "{name}: {}", run.log());
        assert_eq!(is_by_engine(&run), by_engine, "{name}: {}", run.log());
        assert_eq!(
            run.log().contains(INSTEAD),
            !by_engine,
            "{name}: {}",
            run.log()
        );
        assert_eq!(
            manifest(&repository, "1"),
            manifest(&repository, run.output("digest")),
            "{name}"
        );
    }
}

#[test]
fn a_layer_whose_start_is_forgotten_is_packed_once_more() {
    // More than the step keeps of a layer that it sends.
    let dockerfile = format!(
        "FROM {}\nRUN --network=none head -c 90000000 /dev/urandom > /random\n",
        busybox()
    );
    let front = Front::new(rule(
        &["fast-ecr-push/", "PATCH /v2/"],
        1,
        Fault::ResetAfter(70_000_000),
    ));
    let run = Action::new(&dockerfile)
        .input("tags", &format!("{}/engine/again:1", front.address))
        .input("cache", "none")
        .run()
        .succeeded();
    assert_eq!(front.left(), 0, "nothing was broken\n{}", run.log());
    assert!(is_by_engine(&run), "{}", run.log());
    assert_eq!(
        manifest("engine/again", "1"),
        manifest("engine/again", run.output("digest"))
    );
}

#[test]
fn a_registry_that_refuses_everybody_gets_no_tag() {
    let front = Front::new(rule(&["POST /v2/"], 1000, Fault::Status(403)));
    let run = action("engine/refused")
        .input("tags", &format!("{}/engine/refused:1", front.address))
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    let (status, _) = get("/v2/engine/refused/manifests/1");
    assert_eq!(status, 404);
}

pub(crate) fn rule(words: &'static [&'static str], times: usize, fault: Fault) -> Rule {
    Rule {
        words,
        times,
        fault,
    }
}

#[test]
fn a_run_that_is_cancelled_while_the_engine_pushes_leaves_no_tag() {
    let dockerfile = format!(
        "FROM {}\nRUN --network=none head -c 400000000 /dev/urandom > /random\n",
        busybox()
    );
    let runner = Runner::new().file("Dockerfile", dockerfile);
    let run = runner
        .step()
        .input("context", ".")
        .input("cache", "none")
        .input("tags", &format!("{}/engine/cancelled:1", registry()))
        .cancelled_at("differ from the base image", 1, Duration::ZERO)
        .run();
    assert_eq!(run.code, Some(130), "{}", run.log());
    let (status, _) = get("/v2/engine/cancelled/manifests/1");
    assert_eq!(status, 404);
    assert_eq!(runner.containers(), "");
}

#[test]
fn a_machine_without_the_step_pushes_with_buildkit() {
    let run = action("engine/none")
        .variable("FAST_ECR_PUSH_STEP", "/nowhere")
        .run()
        .succeeded();
    assert!(
        run.log()
            .contains("the build step of the push engine is not installed"),
        "{}",
        run.log()
    );
    assert!(std::path::Path::new(&variable("STEP")).is_file());
}
