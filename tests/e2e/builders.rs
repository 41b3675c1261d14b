//! Which builder builds, and that none stays behind.

use std::path::PathBuf;

use crate::registry::manifest;
use crate::rig::{Action, Classic, busybox, container_options, registry};
use crate::runner::{Ended, Runner, docker};

fn container_action(dockerfile: &str, tag: &str) -> Action {
    container_action_with(dockerfile, tag, "namespace=ignored")
}

/// The same with an option of the driver.
pub(crate) fn container_action_with(dockerfile: &str, tag: &str, option: &str) -> Action {
    Action::new(dockerfile)
        .input("tags", &format!("{}/{tag}", registry()))
        .input("driver", "docker-container")
        .input(
            "driver-opts",
            &format!(
                "image={}/rig/buildkit:latest\nnetwork=host\n{option}",
                registry()
            ),
        )
}

/// The builder of a run is nowhere: neither its container nor its volume.
pub(crate) fn is_gone(run: &Ended) {
    let name = format!("name=buildx_buildkit_{}", run.output("builder"));
    for args in [
        &["ps", "--all", "--quiet"][..],
        &["volume", "ls", "--quiet"],
    ] {
        let listed = docker(&[args, &["--filter", &name]].concat());
        assert_eq!(listed, "", "{name}");
    }
}

fn booted_and_gone(run: &Ended) {
    assert_eq!(run.output("driver"), "docker-container");
    assert!(run.output("builder").starts_with("fast-ecr-push-"));
    assert!(run.number("builder-seconds") > 0.0);
}

#[test]
fn a_builder_in_a_container_builds_and_leaves_nothing() {
    let built = format!("FROM {}\nCOPY . .\n", busybox());
    let run = container_action(&built, "builders/container:1")
        .run()
        .succeeded();
    booted_and_gone(&run);
    assert!(
        run.log()
            .contains("`driver-opts` of another driver are ignored"),
        "{}",
        run.log()
    );
    manifest("builders/container", run.output("digest"));
    is_gone(&run);

    let failing = format!("FROM {}\nCOPY missing .\n", busybox());
    let run = container_action(&failing, "builders/container:2").run();
    assert_eq!(run.code, Some(1), "{}", run.log());
    is_gone(&run);

    let run = container_action(&built, "builders/container:3")
        .input(
            "driver-opts",
            &format!("image={}/rig/no-such-image:1", registry()),
        )
        .run();
    assert_eq!(run.code, Some(3), "{}", run.log());
    assert!(
        run.log().contains("could not start the builder"),
        "{}",
        run.log()
    );
    is_gone(&run);
}

#[test]
fn an_engine_with_the_classic_store_gets_a_builder_in_a_container() {
    let classic = Classic::alone();
    let run = Action::new(&format!("FROM {}\nCOPY . .\n", busybox()))
        .engine(&classic.host)
        .input("tags", &format!("{}/builders/classic:1", registry()))
        .input("driver-opts", &container_options())
        .run()
        .succeeded();
    booted_and_gone(&run);
    let layers = manifest("builders/classic", run.output("digest"));
    let last = layers["layers"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
}

#[test]
fn the_docker_driver_pushes_from_the_classic_store_too() {
    let classic = Classic::alone();
    let run = Action::new(&format!("FROM {}\nCOPY . .\n", busybox()))
        .engine(&classic.host)
        .input("driver", "docker")
        .input("tags", &format!("{}/builders/dockerd:1", registry()))
        .run()
        .succeeded();
    assert_eq!(run.output("driver"), "docker");
    assert!(run.log().contains("gzip instead of zstd"), "{}", run.log());
    manifest("builders/dockerd", "1");
}

/// Bytes of the build context that a run sent to the builder, by BuildKit's own count.
fn sent(run: &Ended) -> u64 {
    let timings: serde_json::Value = serde_json::from_str(run.output("timings")).unwrap();
    let steps = timings["images"][0]["steps"].as_array().unwrap();
    let context = steps
        .iter()
        .find(|step| {
            step["name"]
                .as_str()
                .unwrap()
                .ends_with("load build context")
        })
        .expect("a step that sends the context");
    context["bytes"].as_u64().unwrap()
}

#[test]
fn a_builder_that_lives_on_gets_only_what_changed_of_the_context() {
    // A repository of its own: builds of one at the same time don't share what was sent.
    let action = Action::new(&format!("FROM {}\nCOPY . .\n", busybox()))
        .variable("GITHUB_REPOSITORY", "octo/lives-on")
        .file("large", vec![b'x'; 8_000_000])
        .input("driver", "docker")
        .input("timings-file", "timings.json")
        .input("tags", &format!("{}/builders/lives-on:1", registry()));
    let first = action.run().succeeded();
    assert!(sent(&first) > 8_000_000, "{}", first.log());
    std::fs::write(action.workspace().join("small"), "new").unwrap();
    let second = action.run().succeeded();
    assert!(sent(&second) < 100_000, "{}", second.log());
    assert_ne!(first.output("digest"), second.output("digest"));
}

#[test]
fn a_step_that_pushes_what_another_has_loaded_runs_no_step_again() {
    let dockerfile = format!(
        "FROM {} AS build\nRUN --network=none date +%s%N > /built\nFROM {0}\nCOPY --from=build /built /\nCOPY Dockerfile /\n",
        busybox()
    );
    let runner = Runner::new().file("Dockerfile", dockerfile);
    let options = container_options();
    let step = |tag: &str| {
        let step = runner.step().input("context", ".").input("tags", tag);
        step.input("driver", "docker-container")
            .input("driver-opts", &options)
    };
    // The post steps of a job begin when its last step has ended.
    let loaded = step("e2e/tested:1")
        .input("load", "true")
        .main_alone()
        .succeeded();
    let tag = format!("{}/tested/app:1", registry());
    let pushed = step(&tag).run().succeeded();
    assert_eq!(loaded.output("cached-steps"), "0", "{}", loaded.log());
    assert_eq!(
        pushed.output("cached-steps"),
        pushed.output("total-steps"),
        "{}",
        pushed.log()
    );
    let built = |image: &str| docker(&["run", "--rm", image, "cat", "/built"]);
    assert_eq!(built("e2e/tested:1"), built(&tag));
    assert_eq!(runner.leftovers(), Vec::<PathBuf>::new());
    assert_eq!(runner.containers(), "");
    docker(&["image", "rm", "e2e/tested:1", &tag]);
}
