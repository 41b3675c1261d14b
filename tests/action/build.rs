//! A build that goes well: its command line, its order, its log.

use crate::engine::Store;
use crate::runner::{Runner, recorded};

#[test]
fn the_engines_own_buildkit_pushes_without_storing() {
    let ran = Runner::new().run().exits(0);
    assert_eq!(
        ran.calls,
        [
            "version",
            "build --iidfile [ROOT]/temp/fast-ecr-push-[ID]/image-id-0 \
             --output type=image,push=true,compression=zstd,compression-level=1,oci-mediatypes=true,store=false \
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
            "TMPDIR=[ROOT]/temp/fast-ecr-push-[ID]/tmp",
        ]
    );
}

/// That of the run is gone when another build uses the same cache.
#[test]
fn an_argument_or_secret_that_is_called_tmpdir_has_the_jobs_value() {
    for (input, item) in [("build-args", "TMPDIR"), ("secret-envs", "a=TMPDIR")] {
        let runner = Runner::new().input(input, item);
        let temp = runner.path("given");
        std::fs::create_dir(&temp).unwrap();
        let ran = runner.variable("TMPDIR", temp).run().exits(0);
        let mut variables = ran.build_environment.lines();
        let value = variables.find(|line| line.starts_with("TMPDIR="));
        assert_eq!(value, Some("TMPDIR=[ROOT]/given"), "{item}");
    }
    let ran = Runner::new()
        .input("build-args", "TMPDIR=/a")
        .run()
        .exits(0);
    assert!(
        ran.build_environment
            .contains("TMPDIR=[ROOT]/temp/fast-ecr-push-[ID]/tmp")
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
