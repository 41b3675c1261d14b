//! A build that goes well: its command line, its order, its log.

use crate::engine::Store;
use crate::runner::{Runner, TAG, recorded};

#[test]
fn the_engines_own_buildkit_pushes_without_storing() {
    let ran = Runner::new().run().exits(0);
    assert_eq!(
        ran.calls,
        [
            "version",
            "build --iidfile [ROOT]/temp/fast-ecr-push-[ID]/image-id-0 \
             --output type=image,push=true,compression=zstd,oci-mediatypes=true,store=false \
             --attest type=provenance,disabled=true --tag registry.test/team/app:1 \
             --builder default --metadata-file [ROOT]/temp/fast-ecr-push-[ID]/metadata-0.json \
             --progress rawjson .",
        ]
        .into_iter()
        .chain(ran.calls.iter().skip(2).map(String::as_str))
        .collect::<Vec<_>>()
    );
    assert_eq!(
        ran.verbs(),
        ["version", "build", "imagetools", "imagetools"]
    );
}

#[test]
fn a_build_gets_the_private_configuration_and_the_engine() {
    let ran = Runner::new().run().exits(0);
    let mut variables: Vec<&str> = ran.build_environment.lines().collect();
    variables.sort_unstable();
    assert_eq!(
        variables,
        [
            "BUILDX_METADATA_WARNINGS=1",
            "DOCKER_CONFIG=[ROOT]/temp/fast-ecr-push-[ID]/docker",
            "DOCKER_HOST=unix://[ROOT]/containerd",
            "FAST_ECR_PUSH_TOKENS=[ROOT]/temp/fast-ecr-push-[ID]/tokens",
        ]
    );
}

#[test]
fn the_classic_image_store_gets_a_builder_of_its_own_that_is_removed() {
    let ran = Runner::new()
        .engine(Store::Classic)
        .input(
            "driver-opts",
            "image=mirror.test/moby/buildkit:v0.26.0\nnetwork=host",
        )
        .run()
        .exits(0);
    assert_eq!(
        ran.verbs(),
        ["version", "create", "build", "imagetools", "imagetools"]
    );
    assert_eq!(
        ran.calls[1],
        "create --name fast-ecr-push-[ID] --driver docker-container \
         --driver-opt image=mirror.test/moby/buildkit:v0.26.0 --driver-opt network=host \
         --buildkitd-flags '--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host' \
         --config [ROOT]/temp/fast-ecr-push-[ID]/buildkitd.toml --bootstrap"
    );
    assert!(
        ran.calls[2].contains(" --builder fast-ecr-push-[ID] "),
        "{}",
        ran.calls[2]
    );
    assert_eq!(
        ran.buildkitd_config,
        "[system]\nmaxRegistryConcurrency = 16\n"
    );
    ran.removed_its_builder();
    assert_eq!(ran.outputs["driver"], "docker-container");
}

#[test]
fn the_log_can_be_read_and_holds_no_json() {
    let ran = Runner::new().run().exits(0);
    ran.says("::group::Build\n")
        .says(" RUN sleep 1; head -c 40000000 /dev/urandom > packages; echo installed\n")
        .says(" [TIME] installed\n")
        .says(" pushing layers done in [TIME] s\n")
        .says("::endgroup::\n");
    no_json(&ran.log);
}

#[test]
fn a_stream_that_is_cut_and_broken_still_leaves_a_log_without_json() {
    let stream = recorded("cold-push");
    let mut lines: Vec<String> = stream.lines().map(str::to_owned).collect();
    let middle = lines.len() / 2;
    let half: String = lines[middle].chars().take(120).collect();
    lines[middle] = half;
    lines.insert(
        middle,
        "0\t{\"vertexes\":7,\"logs\":{},\"new\":[null]}".to_owned(),
    );
    let ran = Runner::new()
        .stream(&(lines.join("\n") + "\n"))
        .run()
        .exits(0);
    no_json(&ran.log);
}

#[track_caller]
fn no_json(log: &str) {
    let found: Vec<&str> = log.lines().filter(|line| line.contains("{\"")).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn steps_from_the_cache_are_counted() {
    let ran = Runner::new()
        .stream(&recorded("cached-push"))
        .run()
        .exits(0);
    ran.says(" cached\n");
    let counts = |outputs: &std::collections::BTreeMap<String, String>| {
        (
            outputs["cached-steps"].clone(),
            outputs["total-steps"].clone(),
        )
    };
    assert_eq!(counts(&ran.outputs), ("5".to_owned(), "5".to_owned()));
    let cold = Runner::new().run().exits(0);
    assert_eq!(counts(&cold.outputs), ("0".to_owned(), "5".to_owned()));
}

/// A build log is foreign text: whatever it prints, the runner must not take it for a command.
#[test]
fn nothing_in_a_build_log_is_a_command_to_the_runner() {
    let hostile = [
        "::set-output name=digest::sha256:evil",
        "::add-mask::a",
        "  ::error::not ours",
        "##[error]not ours",
        "a ##[add-mask]b",
        "progress\r::add-mask::c",
        "\u{1b}[31m::add-mask::d\u{1b}[0m",
        "\u{85}::add-mask::e",
        "x\u{2028}::add-mask::f",
        "::stop-commands::token",
    ];
    let text = hostile.join("\n") + "\n";
    let base = 1_795_459_260;
    let mut stream = format!("{base}.0\tstart\n");
    let name = "[1/1] RUN evil\n::add-mask::g\r::add-mask::h";
    for status in [
        serde_json::json!({"vertexes": [{"digest": "sha256:1", "name": name, "started": "2026-11-23T18:41:00Z"}]}),
        serde_json::json!({"logs": [{"vertex": "sha256:1", "stream": 1, "data": base64(&text), "timestamp": "2026-11-23T18:41:01Z"}]}),
        serde_json::json!({"statuses": [{"id": "::add-mask::i\r##[error]j", "vertex": "sha256:1", "started": "2026-11-23T18:41:01Z", "completed": "2026-11-23T18:41:02Z"}]}),
        serde_json::json!({"vertexes": [{"digest": "sha256:1", "name": name, "started": "2026-11-23T18:41:00Z", "completed": "2026-11-23T18:41:02Z", "error": "::add-mask::k\n::add-mask::l"}]}),
    ] {
        stream += &format!("{base}.0\t{status}\n");
    }
    // Text beside the stream, with line ends that only some readers see.
    for line in hostile {
        stream += &format!("{base}.0\t{line}\n");
    }
    for code in [0, 1] {
        let ran = Runner::new()
            .stream(&format!("{stream}{base}.0\texit {code}\n"))
            .input("labels", "\"title=x\r::add-mask::m\"")
            .input("tags", TAG)
            .run()
            .exits(code);
        let masked = crate::runner::GITHUB_TOKEN;
        // The runner reads lines that end in CR, LF or both, and looks behind leading space.
        for line in ran.log.split(['\r', '\n']) {
            let ours = [
                "::group::",
                "::endgroup::",
                "::notice title=fast-ecr-push::",
            ]
            .iter()
            .any(|command| line.starts_with(command))
                || line == format!("::add-mask::{masked}")
                || (code == 1 && line.starts_with("::error title=fast-ecr-push::"));
            assert!(
                ours || !line.trim_start().starts_with("::"),
                "a command in the log: {line:?}"
            );
            assert!(
                ours || !line.contains("##["),
                "an old command in the log: {line:?}"
            );
            assert!(
                !line.contains('\u{1b}'),
                "a terminal's code in the log: {line:?}"
            );
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
