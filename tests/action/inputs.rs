//! Wrong inputs: all of them at once, each with what is expected, and nothing was started.

use std::fs;
use std::path::Path;

use crate::engine::Store;
use crate::runner::{Runner, TAG};

/// The names and defaults that `action.yml` declares, which the runner passes on.
pub(crate) fn declared_defaults() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("\ninputs:\n").unwrap();
    let (inputs, _) = rest.split_once("\noutputs:\n").unwrap();
    let mut declared: Vec<(String, String)> = Vec::new();
    for line in inputs.lines() {
        if let Some(default) = line.strip_prefix("    default: ") {
            let default = default.trim_matches('\'').replace("''", "'");
            declared.last_mut().unwrap().1 = default;
        } else if let Some(name) = line
            .strip_prefix("  ")
            .filter(|name| !name.starts_with(' '))
        {
            declared.push((name.trim_end_matches(':').to_owned(), String::new()));
        }
    }
    assert!(declared.len() > 20, "{declared:?}");
    declared
}

#[test]
fn each_wrong_input_is_one_clear_error_and_nothing_is_started() {
    let cases = [
        (
            "an unknown driver",
            "driver",
            "podman",
            "input `driver`: `podman` given, expected one of `auto`, `local`, `docker`, `docker-container`",
        ),
        (
            "a reference that can't be read",
            "tags",
            "registry.test/Team/App:1",
            "input `tags`: `registry.test/Team/App:1` is not an image reference: repository `Team/App` has upper-case letters",
        ),
        (
            "an output that can't be read",
            "outputs",
            "type=",
            "input `outputs`: `type=` given, expected `type=<exporter>[,name=value…]`",
        ),
        (
            "a level that no compression has",
            "compression-level",
            "23",
            "input `compression-level`: `23` given, expected a whole number from 0 to 22",
        ),
        (
            "a level that this compression has not",
            "compression-level",
            "-1",
            "input `compression-level`: `-1` given, expected a whole number from 0 to 22",
        ),
        (
            "a compression nobody knows",
            "compression",
            "brotli",
            "input `compression`: `brotli` given, expected one of `auto`, `gzip`",
        ),
        (
            "a boolean that is none",
            "push",
            "yes",
            "input `push`: `yes` given, expected `true` or `false`",
        ),
        (
            "an option that no driver has",
            "driver-opts",
            "netwrok=host",
            "input `driver-opts`: `netwrok=host` given, expected an option of a buildx driver; did you mean `network`?",
        ),
        (
            "a platform that can't be read",
            "platforms",
            "linux/amd64/v2/x",
            "input `platforms`: `linux/amd64/v2/x` given, expected `os/architecture[/variant]`",
        ),
        (
            "no tag at all",
            "tags",
            "",
            "input `tags`: nothing given, expected at least one tag, since the image is to be pushed",
        ),
        (
            "a list whose quotes don't close",
            "cache-from",
            "\"type=registry",
            "input `cache-from`: ",
        ),
    ];
    for (name, input, value, expected) in cases {
        let ran = Runner::new().input(input, value).run().exits(2);
        let errors = ran.annotations("error");
        assert_eq!(errors.len(), 1, "{name}: {}", ran.log);
        assert!(errors[0].contains(expected), "{name}: {}", errors[0]);
        ran.started_nothing();
    }
}

#[test]
fn all_wrong_inputs_are_reported_together() {
    let ran = Runner::new()
        .input("driver", "podman")
        .input("tags", "registry.test/Team/App:1")
        .input("outputs", "type=")
        .input("compression-level", "99")
        .input("push", "yes")
        .run()
        .exits(2);
    let errors = ran.annotations("error");
    assert_eq!(errors.len(), 1, "{}", ran.log);
    for input in ["driver", "tags", "outputs", "compression-level", "push"] {
        assert!(
            errors[0].contains(&format!("input `{input}`: ")),
            "{input}: {}",
            errors[0]
        );
    }
    ran.started_nothing();
}

#[test]
fn wrong_inputs_are_reported_even_where_there_is_no_engine() {
    let ran = Runner::new()
        .variable("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .input("tags", "registry.test/Team/App:1")
        .run()
        .exits(2);
    ran.says("input `tags`: ").started_nothing();
}

#[test]
fn a_missing_context_or_dockerfile_lists_the_visible_roots() {
    let cases = [
        (
            "context",
            "missing",
            "input `context`: `missing` given, expected a folder below ",
        ),
        (
            "file",
            "docker/Dockerfile",
            "input `file`: `docker/Dockerfile` given, expected a Dockerfile below ",
        ),
        (
            "timings-file",
            "reports/t.json",
            "input `timings-file`: `reports/t.json` given, expected a path in a folder that exists below ",
        ),
        (
            "context",
            "/etc/nowhere",
            "input `context`: `/etc/nowhere` given, expected a folder below ",
        ),
    ];
    for (input, value, expected) in cases {
        let ran = Runner::new().input(input, value).run().exits(2);
        let errors = ran.annotations("error");
        assert_eq!(errors.len(), 1, "{}", ran.log);
        assert!(errors[0].contains(expected), "{}", errors[0]);
        for root in ["[ROOT]/workspace", "[ROOT]/temp", "[ROOT]/home"] {
            assert!(
                errors[0].contains(&format!("`{root}`")),
                "{root}: {}",
                errors[0]
            );
        }
        ran.started_nothing();
    }
}

#[test]
fn all_missing_paths_are_reported_together() {
    let ran = Runner::new()
        .input("file", "docker/Dockerfile")
        .input("timings-file", "reports/t.json")
        .run()
        .exits(2);
    ran.says("input `file`: `docker/Dockerfile` given")
        .says("%0Ainput `timings-file`: `reports/t.json` given")
        .started_nothing();
}

#[test]
fn an_engine_that_can_not_be_reached_is_named_with_a_hint() {
    let ran = Runner::new()
        .variable("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .run()
        .exits(3);
    ran.says("no builder: could not reach the Docker Engine at `unix:///nowhere/docker.sock`: ")
        .says("hint: start Docker Engine, or set DOCKER_HOST")
        .started_nothing();
}

#[test]
fn a_branch_with_repository_is_refused_before_anything_starts() {
    for branch in [
        "feature/login",
        "15/merge",
        "Feature/Login",
        "release-1.2/fix",
        "refs/heads/main",
    ] {
        let ran = Runner::new()
            .input("repository", "team/app")
            .input("tags", branch)
            .run()
            .exits(2);
        ran.says(&format!("input `tags`: `{branch}` is not a tag"))
            .says(&format!("`type=raw,value={branch}`"))
            .started_nothing();
    }
}

#[test]
fn a_buildx_that_is_too_old_is_refused_with_both_versions() {
    let ran = Runner::new()
        .buildx("version", "github.com/docker/buildx v0.12.1 30feaa1a915b\n")
        .run()
        .exits(3);
    ran.says("buildx 0.12.1 is too old, at least 0.13.0 is needed")
        .says("hint: update Docker Buildx")
        .started_nothing();
}

#[test]
fn a_buildx_that_is_missing_or_broken_is_an_error_of_the_environment() {
    let missing = Runner::new().variable("PATH", "/nowhere").run().exits(3);
    missing
        .says("could not find buildx: there is no `buildx` or `docker-buildx` in PATH")
        .says("hint: install Docker Buildx");
    let broken = Runner::new().buildx("version.exit", "1").run().exits(3);
    broken
        .says("could not get buildx's version")
        .started_nothing();
    let other = Runner::new()
        .buildx("version", "Docker version 28.5.2\n")
        .run()
        .exits(3);
    other
        .says("could not parse buildx's version from `Docker version 28.5.2`")
        .started_nothing();
}

#[test]
fn a_platform_that_the_builder_does_not_offer_is_refused_before_the_build() {
    let ran = Runner::new()
        .input("platforms", "linux/amd64,linux/s390x")
        .run()
        .exits(3);
    ran.says("the builder does not support linux/s390x, only linux/amd64, linux/amd64/v2")
        .says("hint: run docker/setup-qemu-action before this step");
    assert_eq!(ran.verbs(), ["version", "inspect"]);
}

#[test]
fn the_classic_image_store_refuses_what_it_can_not_do() {
    let ran = Runner::new()
        .engine(Store::Classic)
        .input("driver", "docker")
        .input("compression", "zstd")
        .input("load", "true")
        .input("platforms", "linux/amd64,linux/arm64")
        .run()
        .exits(2);
    ran.says("input `compression`: `zstd` given")
        .says("input `load`: `true` given, expected one platform only")
        .started_nothing();
}

#[test]
fn options_of_another_driver_are_ignored_with_a_notice() {
    let ran = Runner::new()
        .input(
            "driver-opts",
            "namespace=builds\nimage=mirror.test/buildkit",
        )
        .run()
        .exits(0);
    let notices = ran.annotations("notice");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains("ignored by `docker`: `namespace`, `image`"),
        "{}",
        notices[0]
    );
}

#[test]
fn a_dry_run_shows_the_plan_and_starts_nothing() {
    let ran = Runner::new().input("dry-run", "true").run().exits(0);
    ran.says("::group::Plan").says(TAG).started_nothing();
    assert!(ran.summary.is_empty() && ran.state.is_empty());
}
