//! The two scripts of a release, on a copy of the repository's own files.
#![expect(
    clippy::disallowed_methods,
    reason = "the scripts are what is under test"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A repository with what a release reads: the scripts, and files that are given.
fn repository(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let scripts = root.path().join(".github/release");
    fs::create_dir_all(&scripts).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/release");
    for name in ["check", "use-image"] {
        fs::copy(from.join(name), scripts.join(name)).unwrap();
    }
    for (name, text) in files {
        fs::write(root.path().join(name), text).unwrap();
    }
    let git = Command::new("git")
        .args(["init", "--quiet"])
        .current_dir(root.path())
        .status();
    assert!(git.unwrap().success());
    root
}

/// Whether the script agreed, and what it said.
fn run(root: &TempDir, script: &str, argument: &str) -> (bool, String) {
    let output = Command::new(root.path().join(".github/release").join(script))
        .arg(argument)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_release_needs_its_version_in_the_manifest_and_the_changelog() {
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let manifest = "[workspace.package]\nversion = \"1.2.3\"\n";
    let changelog = format!("## [Unreleased]\n\n## [1.2.3] - {today}\n");
    let cases = [
        ("all is there", manifest, &*changelog, "1.2.3", None),
        (
            "a v before it",
            manifest,
            &*changelog,
            "v1.2.3",
            Some("is not a version"),
        ),
        (
            "a leading zero",
            manifest,
            &*changelog,
            "1.02.3",
            Some("is not a version"),
        ),
        (
            "a command",
            manifest,
            &*changelog,
            "1.2.3; id",
            Some("is not a version"),
        ),
        (
            "another manifest",
            manifest,
            &*changelog,
            "1.3.0",
            Some("Cargo.toml says 1.2.3"),
        ),
        (
            "no changes told",
            manifest,
            "## [Unreleased]\n",
            "1.2.3",
            Some("CHANGELOG.md has no line"),
        ),
    ];
    for (name, manifest, changelog, version, refusal) in cases {
        let root = repository(&[("Cargo.toml", manifest), ("CHANGELOG.md", changelog)]);
        let (agreed, said) = run(&root, "check", version);
        assert_eq!(agreed, refusal.is_none(), "{name}: {said}");
        assert!(
            said.contains(refusal.unwrap_or("can be released")),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_released_action_starts_the_image_by_its_digest() {
    let own = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml")).unwrap();
    let root = repository(&[("action.yml", &own)]);
    let image = format!("ghcr.io/org/fast-ecr-push@{DIGEST}");
    let (agreed, said) = run(&root, "use-image", &image);
    assert!(agreed, "{said}");
    let released = fs::read_to_string(root.path().join("action.yml")).unwrap();
    let expected = own.replace("image: Dockerfile", &format!("image: docker://{image}"));
    assert!(released != own && released == expected, "{released}");
    // A second time there is nothing to point elsewhere.
    assert!(!run(&root, "use-image", &image).0);
}

#[test]
fn an_image_without_a_digest_is_not_released() {
    let root = repository(&[("action.yml", "runs:\n  image: Dockerfile\n")]);
    for image in [
        "ghcr.io/org/fast-ecr-push:1",
        "ghcr.io/org/fast-ecr-push@sha256:1",
        "|&",
    ] {
        let (agreed, said) = run(&root, "use-image", image);
        assert!(
            !agreed && said.contains("is not an image by its digest"),
            "{image}: {said}"
        );
    }
}
