//! Every input of docker/build-push-action, really built with: the Dockerfile itself looks whether
//! the input arrived, or the registry and the log show it.

use std::path::Path;
use std::process::Command;

use crate::registry::{get, manifest};
use crate::rig::{Action, busybox, container_options, registry};

/// A run that pushes what these lines make of busybox.
fn action(lines: &str, repository: &str) -> Action {
    Action::new(&format!("FROM {} AS base\n{lines}\n", busybox()))
        .input("tags", &format!("{}/inputs/{repository}:1", registry()))
}

fn in_a_container(action: Action) -> Action {
    let options = container_options();
    action
        .input("driver", "docker-container")
        .input("driver-opts", &options)
}

/// A name, the Dockerfile's lines after FROM, and the inputs. Lines about secrets have them with letters turned by 13: in plain
/// they would stand in the names of steps, and the runner drops outputs that hold what is masked.
type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const ROWS: &[Row] = &[
    (
        "all that steps see",
        r#"RUN grep -q '10.180.0.1.*db' /etc/hosts && grep -q '10.0.0.2.*web' /etc/hosts
ARG ONE
ARG MULTILINE
RUN [ "$ONE" = a,b ] && [ $(echo "$MULTILINE" | wc -l) = 3 ]
COPY --from=other Dockerfile /there
RUN [ -s /there ]
RUN df -k /dev/shm | grep -q 12288 && [ $(ulimit -n) = 77 ] && [ $(ulimit -H -n) = 88 ]
RUN --mount=type=secret,id=A tr a-z n-za-m </run/secrets/A | grep -qx 'o=p,q'
RUN --mount=type=secret,id=KEY [ $(wc -l </run/secrets/KEY) = 3 ] && tr a-z n-za-m </run/secrets/KEY | grep -q '^  vaqragrq '
RUN --mount=type=secret,id=B tr a-z n-za-m </run/secrets/B | grep -qx sebz-n-inevnoyr
RUN --mount=type=secret,id=C tr a-z n-za-m </run/secrets/C | grep -qx sebz-n-inevnoyr
RUN --mount=type=secret,id=D grep -q FROM /run/secrets/D
RUN --mount=type=ssh [ -S "$SSH_AUTH_SOCK" ]
RUN --mount=type=ssh,id=other [ -S "$SSH_AUTH_SOCK" ]"#,
        &[
            ("add-hosts", "db:10.180.0.1,other:10.0.0.1\nweb=10.0.0.2"),
            ("build-args", "ONE=a,b\n\"MULTILINE=aaaa\nbbbb\nccc\""),
            ("build-contexts", "other=."),
            ("cgroup-parent", "docker"),
            ("labels", "a.title=x, y\na.description=operation \"top\""),
            ("shm-size", "12m"),
            ("ulimit", "nofile=77:88\ncore=0"),
            ("secrets", "A=b=c,d\n\"KEY=first\n\n  indented \n\""),
            ("secret-envs", "B=CANARY,C=CANARY"),
            ("secret-files", "D=Dockerfile"),
            ("ssh", "default=key,other=key"),
            ("file", "./Dockerfile"),
            ("platforms", "linux/amd64"),
            ("attests", "type=provenance,false"),
            ("sbom", "false"),
        ],
    ),
    (
        "rights",
        "RUN --network=host [ $(ip link | grep -c '^[0-9]') -gt 2 ]",
        &[("allow", "network.host,security.insecure")],
    ),
    (
        "no network",
        "RUN [ $(ip link | grep -c '^[0-9]') = 1 ]",
        &[("network", "none")],
    ),
    (
        "the network of the host, and everything anew",
        "RUN [ $(ip link | grep -c '^[0-9]') -gt 2 ]",
        &[("network", "host"), ("no-cache", "true")],
    ),
    (
        "a target, and newer base images",
        "RUN touch /base\nFROM base AS failing\nRUN false\nFROM base AS wanted\nRUN [ -e /base ]",
        &[("target", "wanted"), ("pull", "true")],
    ),
    (
        "caches, out and in",
        "RUN true",
        &[
            ("cache-from", "type=registry,ref=REGISTRY/inputs/cache:1"),
            ("cache-to", "type=inline"),
        ],
    ),
];

#[test]
fn each_input_arrives_in_the_build() {
    for (index, (name, lines, inputs)) in ROWS.iter().enumerate() {
        let mut run = action(lines, &format!("row{index}")).variable("CANARY", "from-a-variable");
        for (input, text) in *inputs {
            run = run.input(input, &text.replace("REGISTRY", &registry()));
        }
        if inputs.iter().any(|(input, _)| *input == "ssh") {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(run.workspace().join("key"))
                .status()
                .expect("ssh-keygen is there");
            assert!(status.success());
        }
        let ended = run.run();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.log());
        let image = manifest(&format!("inputs/row{index}"), ended.output("digest"));
        if inputs.iter().any(|(input, _)| *input == "labels") {
            let config = image["config"]["digest"].as_str().unwrap();
            let (_, config) = get(&format!("/v2/inputs/row{index}/blobs/{config}"));
            let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
            let labels = &config["config"]["Labels"];
            assert_eq!(labels["a.title"], "x, y", "{labels}");
            assert_eq!(labels["a.description"], "operation \"top\"", "{labels}");
        }
    }
}

#[test]
fn a_stage_without_cache_runs_again() {
    let run = action("RUN date +%s%N > /time", "filters");
    let first = run.run().succeeded();
    assert_eq!(
        run.run().succeeded().output("digest"),
        first.output("digest")
    );
    let again = run.input("no-cache-filters", "base").run().succeeded();
    assert_ne!(again.output("digest"), first.output("digest"));
}

#[test]
fn annotations_and_attestations_are_in_the_registry() {
    let run = action("RUN true", "annotated")
        .input("annotations", "a.b=c, d\nindex:e.f=g")
        .input("attests", "type=provenance,mode=max")
        .run()
        .succeeded();
    let index = manifest("inputs/annotated", run.output("digest"));
    assert_eq!(index["annotations"]["e.f"], "g");
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2);
    assert_eq!(
        manifests[1]["annotations"]["vnd.docker.reference.type"],
        "attestation-manifest"
    );
    let image = manifest("inputs/annotated", manifests[0]["digest"].as_str().unwrap());
    assert_eq!(image["annotations"]["a.b"], "c, d");
}

/// A JSON file in a tar file.
fn in_archive(archive: &Path, name: &str) -> serde_json::Value {
    let mut tar = Command::new("tar");
    let read = tar.arg("-xOf").arg(archive).arg(name).output().unwrap();
    assert!(read.status.success(), "{read:?}");
    serde_json::from_slice(&read.stdout).unwrap()
}

#[test]
fn several_outputs_are_all_written() {
    let run = action("RUN touch /made", "several")
        .input(
            "outputs",
            "type=local,dest=out\ntype=image,push=true\ntype=oci,dest=image.tar",
        )
        .input("compression", "zstd");
    let ended = run.run().succeeded();
    assert!(run.workspace().join("out/made").exists());
    // `compression` counts for the file, too.
    let index = in_archive(&run.workspace().join("image.tar"), "index.json");
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let blob = format!("blobs/{}", digest.replace(':', "/"));
    let written = in_archive(&run.workspace().join("image.tar"), &blob);
    for image in [written, manifest("inputs/several", "1")] {
        let layers = image["layers"].as_array().unwrap();
        let new = &layers.last().unwrap()["mediaType"];
        assert_eq!(new, "application/vnd.oci.image.layer.v1.tar+zstd");
    }
    assert!(
        ended.values.outputs.contains_key("digest"),
        "{:?}",
        ended.values.outputs.keys()
    );
}

#[test]
fn a_call_prints_its_result_and_pushes_nothing() {
    let lines = "ENV A 1\nFROM base as second";
    for (call, code, printed) in [
        ("check", 1, "LegacyKeyValueFormat"),
        ("outline", 0, "TARGET: second"),
        ("targets", 0, "second (default)"),
        (
            "check,format=json",
            1,
            "\"ruleName\": \"LegacyKeyValueFormat\"",
        ),
        ("check,ignorestatus=true", 0, "LegacyKeyValueFormat"),
    ] {
        let run = action(lines, "called").input("call", call).run();
        assert_eq!(run.code, Some(code), "{call}: {}", run.log());
        assert!(run.log().contains(printed), "{call}: {}", run.log());
        assert!(
            run.values
                .summary
                .starts_with(&format!("### Called `{call}`")),
            "{}",
            run.values.summary
        );
        assert!(run.output("metadata").contains("result.json"), "{call}");
        assert!(!run.values.outputs.contains_key("image"));
        if call.starts_with("check") {
            assert!(
                run.values
                    .summary
                    .contains("the build checks found 2 warnings"),
                "{}",
                run.values.summary
            );
            let warnings = run.in_files("warning");
            assert_eq!(warnings[0].properties["file"], "Dockerfile", "{call}");
            assert_eq!(warnings[0].properties["line"], "2", "{call}");
        }
        if code == 1 {
            assert!(
                run.log()
                    .contains(&format!("`call: {call}` found 2 warnings")),
                "{}",
                run.log()
            );
        }
    }
    assert_eq!(get("/v2/inputs/called/tags/list").0, 404);
    let clean = action("RUN true", "called")
        .input("call", "check")
        .run()
        .succeeded();
    assert!(
        clean.log().contains("Check complete, no warnings found."),
        "{}",
        clean.log()
    );
}

#[test]
fn build_checks_become_annotations_on_the_dockerfile() {
    let lines = "ENV A 1\n".repeat(12);
    let run =
        action("RUN true", "checks").file("app.Dockerfile", format!("FROM {}\n{lines}", busybox()));
    let run = run.input("file", "app.Dockerfile");
    let ended = run.run().succeeded();
    let annotations = ended.in_files("warning");
    assert_eq!(annotations.len(), 10, "{}", ended.log());
    let first = annotations[0];
    assert_eq!(first.properties["file"], "app.Dockerfile");
    assert_eq!(first.properties["line"], "2");
    let title = &first.properties["title"];
    assert!(title.starts_with("Legacy key/value format"), "{title}");
    assert!(
        first.message.contains("LegacyKeyValueFormat: "),
        "{}",
        first.message
    );
    assert!(
        ended.log().contains("more build checks with findings: 2"),
        "{}",
        ended.log()
    );
    assert!(
        ended
            .values
            .summary
            .contains("the build checks found 12 warnings"),
        "{}",
        ended.values.summary
    );
    let silent = run
        .variable("DOCKER_BUILD_CHECKS_ANNOTATIONS", "false")
        .run()
        .succeeded();
    assert_eq!(silent.in_files("warning").len(), 0, "{}", silent.log());
    assert!(
        silent.log().contains("build checks with findings: 12"),
        "{}",
        silent.log()
    );
}

#[test]
fn a_secret_stands_nowhere_but_behind_its_masks() {
    let lines = "RUN --mount=type=secret,id=KEY test -s /run/secrets/KEY";
    for (case, lines, code) in [
        ("built", lines.to_owned(), 0),
        ("failed", format!("{lines} && false"), 1),
    ] {
        let run = action(&lines, "secret")
            .input("secrets", "\"KEY=canary-first\ncanary-second\"")
            .input("provenance", "mode=max")
            .variable("RUNNER_DEBUG", "1")
            .run();
        assert_eq!(run.code, Some(code), "{case}: {}", run.log());
        for mask in ["canary-first", "canary-second"] {
            assert!(run.log.masks.contains(&mask.to_owned()), "{case}");
        }
        let raw = run.log.raw.join("\n");
        assert!(!raw.contains("canary"), "{case}: {raw}");
        // What masks hide, they show as this; outputs with such text are refused as it is.
        let summary = &run.values.summary;
        assert!(!summary.contains("***"), "{case}: {summary}");
    }
}

#[test]
fn what_buildkit_refuses_has_a_hint() {
    let run = action("RUN --network=host true", "hints")
        .input("allow", "security.insecure")
        .run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    let hint = "hint: a step needs this entitlement: grant it with `allow: network.host`";
    assert!(run.log().contains(hint), "{}", run.log());
}

#[test]
fn a_builder_of_its_own_pushes_by_digest_and_has_its_settings() {
    let settings = "[worker.oci]\n  max-parallelism = 2\n";
    let run = in_a_container(Action::new(&format!("FROM {}\nCOPY . .\n", busybox())))
        .input("registry", &registry())
        .input("repository", "inputs/by-digest")
        .input("cache", "none")
        .input(
            "outputs",
            "type=image,push-by-digest=true,name-canonical=true,push=true",
        )
        .input("buildkitd-flags", "--debug")
        .input("buildkitd-config-inline", settings)
        .run()
        .succeeded();
    let digest = run.output("digest");
    manifest("inputs/by-digest", digest);
    assert_eq!(
        run.output("image"),
        format!("{}/inputs/by-digest@{digest}", registry())
    );
    assert!(!run.values.outputs.contains_key("tags"));
    let (_, tags) = get("/v2/inputs/by-digest/tags/list");
    let tags: serde_json::Value = serde_json::from_slice(&tags).unwrap();
    assert!(tags["tags"].as_array().is_none_or(Vec::is_empty), "{tags}");
}
