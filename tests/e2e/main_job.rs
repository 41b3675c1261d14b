//! One image built, pushed, timed and found in the registry.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::registry::{get, manifest};
use crate::rig::{Action, busybox, registry, variable};

/// With a layer of a test's own: one that another test has exported keeps its compression.
fn dockerfile(test: &str) -> String {
    format!(
        "FROM {}\nRUN head -c 3000000 /dev/urandom > /{test}.data\nWORKDIR /{test}\nCOPY . .\n",
        busybox()
    )
}

#[test]
fn an_image_is_pushed_and_the_registry_serves_the_digest_that_we_output() {
    let tags = ["1", "2"].map(|tag| format!("{}/main/app:{tag}", registry()));
    let run = Action::new(&dockerfile("push"))
        .input("tags", &tags.join("\n"))
        .run()
        .succeeded();
    let digest = run.output("digest");
    let by_digest = manifest("main/app", digest);
    for tag in ["1", "2"] {
        assert_eq!(manifest("main/app", tag), by_digest);
    }
    assert_eq!(
        run.output("image"),
        format!("{}/main/app@{digest}", registry())
    );
    assert_eq!(run.output("tags"), tags.join("\n"));
    assert_eq!(run.output("registry"), registry());
    assert_eq!(run.output("driver"), "docker");
    assert_eq!(run.output("imageid"), by_digest["config"]["digest"]);
    let layers = by_digest["layers"].as_array().unwrap();
    let last = layers.last().unwrap();
    assert_eq!(
        last["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
    let blob = get(&format!(
        "/v2/main/app/blobs/{}",
        last["digest"].as_str().unwrap()
    ));
    assert_eq!(
        (blob.0, blob.1.len() as u64),
        (200, last["size"].as_u64().unwrap())
    );
    assert!(
        run.values.summary.starts_with("### Pushed "),
        "{}",
        run.values.summary
    );
    assert!(
        run.values.summary.contains(digest),
        "{}",
        run.values.summary
    );
}

#[test]
fn plain_buildx_makes_the_same_image() {
    let tag = |name: &str| format!("{}/main/{name}:1", registry());
    // The inline cache is part of the image's configuration.
    let action = Action::new(&dockerfile("plain"))
        .input("tags", &tag("ours"))
        .input("cache", "none")
        .input("accelerate", "off");
    let ours = action.run().succeeded();
    let folder = tempfile::tempdir().unwrap();
    let metadata = folder.path().join("metadata.json");
    let status = Command::new(variable("RIG_BUILDX"))
        .current_dir(action.workspace())
        .args(["build", "--builder", "default", "--provenance=false"])
        .args([
            "--output",
            "type=image,push=true,compression=zstd,compression-level=1,oci-mediatypes=true",
        ])
        .args(["--tag", &tag("plain"), "--metadata-file"])
        .arg(&metadata)
        .arg(".")
        .env("DOCKER_CONFIG", folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let plain: serde_json::Value =
        serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(ours.output("digest"), plain["containerimage.digest"]);
}

/// As on a laptop: the binary alone, with flags. Not being in a container it reaches the registry itself.
#[test]
fn the_command_line_pushes_and_reads_the_sizes_back() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), dockerfile("laptop")).unwrap();
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(variable("RIG_BUILDX"), bin.path().join("buildx")).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_fast-ecr-push"))
        .args(["--tags", &format!("{}/main/laptop:1", registry())])
        .args(["--timings-file", "timings.json"])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", bin.path())
        .env("HOME", bin.path())
        .env("DOCKER_HOST", variable("DOCKER_HOST"))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let timings = std::fs::read(folder.path().join("timings.json")).unwrap();
    let timings: serde_json::Value = serde_json::from_slice(&timings).unwrap();
    let served = manifest("main/laptop", "1");
    let layers = served["layers"].as_array().unwrap();
    let sizes = layers.iter().chain([&served["config"]]);
    let sum: u64 = sizes.map(|blob| blob["size"].as_u64().unwrap()).sum();
    assert_eq!(timings["images"][0]["image_bytes"], sum, "{timings}");
}

#[test]
fn an_image_is_loaded_and_not_pushed() {
    let name = "fast-ecr-push-e2e/loaded:1";
    let run = Action::new(&dockerfile("load"))
        .input("tags", name)
        .input("load", "true")
        .run()
        .succeeded();
    let inspect = Command::new(variable("RIG_DOCKER"))
        .args(["image", "inspect", "--format", "{{.Id}}", name])
        .output()
        .unwrap();
    assert!(inspect.status.success(), "{inspect:?}");
    assert!(!run.values.outputs.contains_key("image"));
    assert!(
        run.values.summary.starts_with("### Built "),
        "{}",
        run.values.summary
    );
    let removed = Command::new(variable("RIG_DOCKER"))
        .args(["image", "rm", name])
        .status()
        .unwrap();
    assert!(removed.success());
}

#[test]
fn several_platforms_make_an_index() {
    // Both run everywhere, so that nothing has to be emulated.
    let run = Action::new("FROM scratch\nCOPY . .\n")
        .input("tags", &format!("{}/main/index:1", registry()))
        .input("platforms", "linux/amd64,linux/amd64/v2")
        .run()
        .succeeded();
    let index = manifest("main/index", run.output("digest"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn the_large_example_is_pushed_whole_and_cached_the_second_time() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/large-python-image");
    let read = |name: &str| std::fs::read(example.join(name)).unwrap();
    let action = Action::new("")
        .file("Dockerfile", read("Dockerfile"))
        .file("requirements.txt", read("requirements.txt"))
        .file("app.py", read("app.py"))
        .input("tags", &format!("{}/main/large:1", registry()))
        .input(
            "build-args",
            &format!("BASE_IMAGE={}/rig/python:3.11", registry()),
        );
    let cold = action.run().succeeded();
    let served = manifest("main/large", cold.output("digest"));
    assert_eq!(served, manifest("main/large", "1"));
    let layers = served["layers"].as_array().unwrap();
    let bytes: u64 = layers
        .iter()
        .map(|layer| layer["size"].as_u64().unwrap())
        .sum();
    assert!(bytes > 300_000_000, "{bytes}");
    let warm = action.run().succeeded();
    assert_eq!(warm.output("digest"), cold.output("digest"));
    assert!(warm.number("total-seconds") < cold.number("total-seconds") / 2.0);
    assert!(warm.number("cached-steps") >= 3.0);
    assert!(warm.values.summary.contains("steps cached"));
}
