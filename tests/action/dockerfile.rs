//! The Dockerfile's stage of manifests, without compiling anything: Cargo has to find a file for every target that a manifest
//! names, in a folder that holds what `.dockerignore` lets through.
#![expect(
    clippy::disallowed_methods,
    reason = "the Dockerfile's command is what is under test"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// A stage's command, as a shell gets it.
fn command(stage: &str) -> &str {
    let (_, run) = stage.split_once("\nRUN ").expect("its command");
    run.trim_end()
}

/// Whether `.dockerignore` lets a file through: everything is left out but what a line with `!` names, or is below that.
fn is_sent(ignore: &str, file: &str) -> bool {
    let kept = ignore.lines().filter_map(|line| line.strip_prefix('!'));
    let mut kept = kept.map(|pattern| pattern.split('/'));
    kept.any(|pattern| {
        let mut names = file.split('/');
        let mut pattern = pattern;
        pattern.all(|wanted| {
            names
                .next()
                .is_some_and(|name| wanted == "*" || wanted == name)
        })
    })
}

#[test]
fn cargo_finds_a_file_for_every_target_of_the_manifests() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(source.join(name)).unwrap();
    let dockerfile = read("Dockerfile");
    let ignore = read(".dockerignore");
    let root = tempfile::tempdir().unwrap();
    let (_, stage) = dockerfile.split_once(" AS manifests\n").expect("the stage");
    let (stage, _) = stage.split_once("\n\n").expect("its end");
    let copies = stage.lines().filter_map(|line| line.strip_prefix("COPY "));
    let copied: Vec<&str> = copies
        .flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    let listed = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
        ])
        .args(&copied)
        .current_dir(source)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for file in listed.lines().filter(|file| is_sent(&ignore, file)) {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(source.join(file), path).unwrap();
    }
    // Cargo reads all manifests before it looks for a target, and has nothing to compile then.
    let script = format!(
        "set -e\n{}\ncargo build --offline --locked --package fast-ecr-push --bin nothing",
        command(stage)
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(root.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no bin target named `nothing`"), "{stderr}");
}
