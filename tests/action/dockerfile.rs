//! The Dockerfile's stage of dependencies, without compiling them: Cargo has to find a file for every target that a manifest
//! names, in a folder that holds the manifests alone.
#![expect(
    clippy::disallowed_methods,
    reason = "the Dockerfile's command is what is under test"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The command that makes the files, as a shell gets it: up to `cargo build`.
fn command(dockerfile: &str) -> String {
    let (_, stage) = dockerfile
        .split_once(" AS dependencies\n")
        .expect("the stage");
    let (_, run) = stage.split_once("\nRUN ").expect("its command");
    let (command, _) = run.split_once("&& cargo build").expect("the compiler");
    command.trim_end().trim_end_matches('\\').to_owned()
}

#[test]
fn there_is_a_file_for_every_target_of_the_manifests() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(source.join("Dockerfile")).unwrap();
    let root = tempfile::tempdir().unwrap();
    // `COPY a b folder/` of manifests.
    let copies = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let files = copies.flat_map(|line| line.split(' '));
    let manifests = files.filter(|file| file.ends_with("Cargo.toml") || *file == "Cargo.lock");
    for file in manifests {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(source.join(file), path).unwrap();
    }
    // Cargo reads all manifests before it looks for a target, and has nothing to compile then.
    let script = format!(
        "set -e\n{}\ncargo build --offline --locked --package fast-ecr-push --bin nothing",
        command(&dockerfile)
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(root.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no bin target named `nothing`"), "{stderr}");
}
