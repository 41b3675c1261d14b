//! Tags and labels by docker/metadata-action's rules, in the whole binary.

use crate::runner::Runner;

#[test]
fn a_pushed_git_tag_becomes_tags_labels_and_outputs() {
    let payload = serde_json::json!({
        "head_commit": {"id": "0123abc4567", "timestamp": "2026-01-02T03:04:05+01:00"},
        "repository": {
            "name": "app", "html_url": "https://github.com/octo/app", "default_branch": "main",
            "description": "An app", "license": {"spdx_id": "MIT"}
        }
    });
    let runner = Runner::new().file("event.json", &payload.to_string());
    let event = runner.path("event.json");
    let ran = runner
        .variable("GITHUB_EVENT_PATH", event)
        .variable("GITHUB_EVENT_NAME", "push")
        .variable("GITHUB_REPOSITORY", "octo/app")
        .variable("GITHUB_REF", "refs/tags/v1.2.3")
        .variable("GITHUB_SHA", "0123abc4567")
        .input("registry", "registry.test")
        .input("repository", "team/app")
        .input(
            "tags",
            "type=semver,pattern={{version}}\ntype=ref,event=pr\ntype=sha,priority=50\nplain",
        )
        .input("labels", "auto")
        .run()
        .exits(0);
    assert_eq!(ran.outputs["version"], "1.2.3");
    let tags: Vec<&str> = ran.outputs["tags"].lines().collect();
    assert_eq!(
        tags,
        [
            "registry.test/team/app:1.2.3",
            "registry.test/team/app:plain",
            "registry.test/team/app:sha-0123abc",
            "registry.test/team/app:latest"
        ]
    );
    let labels = &ran.outputs["labels"];
    assert!(
        labels.contains("org.opencontainers.image.created=2026-01-02T02:04:05.000Z"),
        "{labels}"
    );
    assert!(
        labels.contains("org.opencontainers.image.licenses=MIT"),
        "{labels}"
    );
    let json: serde_json::Value = serde_json::from_str(&ran.outputs["json"]).unwrap();
    assert_eq!(json["tag-names"][0], "1.2.3");
    assert_eq!(json["labels"]["org.opencontainers.image.version"], "1.2.3");
}

#[test]
fn a_wrong_rule_is_named_before_anything_is_started() {
    let ran = Runner::new()
        .input("registry", "registry.test")
        .input("repository", "team/app")
        .input("tags", "type=semver\ntype=raw,value={{branhc}}\ntype=nope")
        .run()
        .exits(2);
    let errors = ran.annotations("error");
    for rule in ["type=semver", "{{branhc}}", "type=nope"] {
        assert!(
            errors.iter().any(|error| error.contains(rule)),
            "{rule}: {errors:?}"
        );
    }
    ran.started_nothing();
}
