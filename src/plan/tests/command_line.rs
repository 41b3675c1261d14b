//! The command line of buildx.

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
        argv(&plan),
        [
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
            "/run/image-id-0",
            "--label",
            "k=v",
            "--output",
            "type=image,push=true,compression=zstd,compression-level=1,oci-mediatypes=true,store=false",
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
            "/run/metadata-0.json",
            "--no-cache",
            "--pull",
            "--progress",
            "rawjson",
            "app",
        ]
    );
}
