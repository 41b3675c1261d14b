//! The image as it is shipped: compiled through the Dockerfile in the profile `dist`. That takes minutes: `make image`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::image::{Build, python};
use crate::registry::manifest;
use crate::rig::{busybox, registry};
use crate::runner::Runner;

/// Bytes of all layers, compressed.
const LARGEST: u64 = 40_000_000;
/// From the start of the CLI to our first line, at best of [`STARTS`]: other work on the machine only adds to it.
const FIRST_LINE: Duration = Duration::from_millis(300);
const STARTS: usize = 10;

/// The machine's Rust and a C compiler, in the place of the official image.
fn toolchain() -> String {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let sysroot = String::from_utf8(sysroot.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dockerfile = "FROM base\nRUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev\n\
                      COPY --from=rust bin/cargo bin/rustc /usr/local/bin/\nCOPY --from=rust lib /usr/local/lib\n";
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    let name = format!("{}/dist/toolchain:1", registry());
    Build::new()
        .replaced("base", &python())
        .replaced("rust", sysroot.trim())
        .run(&["--push", "--tag", &name], folder.path());
    format!("docker-image://{name}")
}

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
#[ignore = "compiles for minutes: `make image` runs it"]
fn the_image_of_the_dockerfile_is_small_reproducible_starts_at_once_and_works() {
    let toolchain = toolchain();
    // As it is shipped, but for buildx. Our code is compiled twice; what comes from crates.io once, which halves the time.
    let shipped = Build::new().replaced("toolchain", &toolchain);
    let digests = ["1", "2"].map(|tag| {
        let output = format!(
            "type=image,push=true,store=false,rewrite-timestamp=true,name={}/dist/shipped:{tag}",
            registry()
        );
        let metadata = shipped.run(
            &["--no-cache-filter", "compile,tree", "--output", &output],
            source(),
        );
        metadata["containerimage.digest"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    assert_eq!(digests[0], digests[1]);

    let manifest = manifest("dist/shipped", &digests[0]);
    let layers = manifest["layers"].as_array().unwrap();
    let sizes: Vec<u64> = layers
        .iter()
        .map(|layer| layer["size"].as_u64().unwrap())
        .collect();
    println!("layers, compressed: {sizes:?} bytes");
    assert!(sizes.iter().sum::<u64>() < LARGEST, "{sizes:?}");

    // The rig's buildx needs a C library.
    let name = "fast-ecr-push-e2e/dist:1";
    Build::new()
        .replaced("toolchain", &toolchain)
        .replaced("base", &python())
        .run(&["--load", "--tag", name], source());
    let runner = Runner::new()
        .image(name)
        .file("Dockerfile", format!("FROM {}\nCOPY . /app\n", busybox()));
    let tag = format!("{}/dist/app:1", registry());
    let starts: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let step = runner.step().input("context", ".").input("tags", &tag);
            step.run().succeeded().first_line.unwrap()
        })
        .collect();
    println!("from `docker run` to the first line: {starts:?}");
    assert!(*starts.iter().min().unwrap() < FIRST_LINE, "{starts:?}");
}
