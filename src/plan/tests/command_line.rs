//! The command line of buildx, and the plan as it is shown.

use super::*;

#[test]
fn the_command_line_has_build_push_actions_order() {
    let plan = plan(&[
        ("context", "app"),
        ("file", "app/Dockerfile.prod"),
        ("tags", "r.example/a:1,r.example/a:2"),
        ("build-args", "A=1\nB=x y"),
        ("cache-from", "type=registry,ref=r.example/a:cache"),
        ("cache-to", "type=inline"),
        ("labels", "k=v"),
        ("platforms", "linux/amd64,linux/arm64"),
        ("target", "prod"),
        ("no-cache", "true"),
        ("pull", "true"),
        ("sbom", "true"),
    ]);
    assert_eq!(
        plan.images[0].argv,
        [
            "buildx",
            "build",
            "--build-arg",
            "A=1",
            "--build-arg",
            "B=x y",
            "--cache-from",
            "type=registry,ref=r.example/a:cache",
            "--cache-to",
            "type=inline",
            "--file",
            "app/Dockerfile.prod",
            "--iidfile",
            "/run/image-id",
            "--label",
            "k=v",
            "--output",
            "type=image,push=true,compression=zstd,oci-mediatypes=true,store=false",
            "--platform",
            "linux/amd64,linux/arm64",
            "--attest",
            "type=provenance,disabled=true",
            "--attest",
            "type=sbom",
            "--tag",
            "r.example/a:1",
            "--tag",
            "r.example/a:2",
            "--target",
            "prod",
            "--builder",
            "default",
            "--metadata-file",
            "/run/metadata.json",
            "--no-cache",
            "--pull",
            "--progress",
            "rawjson",
            "app",
        ]
    );
}

#[test]
fn build_arguments_are_shown_by_name_only() {
    let plan = plan(&[("tags", "r.example/a:1"), ("build-args", "TOKEN=hidden")]);
    let text = plan.to_string();
    assert!(text.contains("TOKEN=…"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn the_same_inputs_give_the_same_plan_as_json() {
    let plan = plan(&[("tags", "r.example/a:1"), ("context", ".")]);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["builder"]["driver"], "docker");
    assert_eq!(json["builder"]["name"], "default");
    for key in [
        "argv",
        "tags",
        "labels",
        "annotations",
        "cache_from",
        "cache_to",
        "outputs",
    ] {
        assert!(json["images"][0][key].is_array(), "{key}");
    }
    assert!(json["warnings"].is_array());
}
