//! Tags, labels and annotations.

use super::*;

#[test]
fn names_come_from_repository_and_tags_or_from_full_references() {
    let cases: &[(&str, Pairs<'_>, &[&str])] = &[
        (
            "own registry",
            &[("repository", "team/app"), ("tags", "1,2")],
            &[
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:2",
            ],
        ),
        (
            "another registry",
            &[
                ("registry", "localhost:5000"),
                ("repository", "app"),
                ("tags", "1"),
            ],
            &["localhost:5000/app:1"],
        ),
        (
            "a repository as GitHub spells it",
            &[
                ("registry", "ghcr.io"),
                ("repository", "Octo/App"),
                ("tags", "V1"),
            ],
            &["ghcr.io/octo/app:V1"],
        ),
        (
            "a registry as people write it",
            &[
                ("registry", "https://ghcr.io/"),
                ("repository", "octo/app"),
                ("tags", "1"),
            ],
            &["ghcr.io/octo/app:1"],
        ),
        (
            "Docker Hub under its older name",
            &[
                ("registry", "https://index.docker.io/v1/"),
                ("repository", "octo/app"),
                ("tags", "1"),
            ],
            &["docker.io/octo/app:1"],
        ),
        (
            "a full reference beside plain tags",
            &[
                ("registry", "r.example"),
                ("repository", "app"),
                ("tags", "1,ghcr.io/o/app:2"),
            ],
            &["r.example/app:1", "ghcr.io/o/app:2"],
        ),
        (
            "no tag means latest",
            &[("tags", "r.example/app")],
            &["r.example/app:latest"],
        ),
        (
            "the same tag twice",
            &[("tags", "r.example/app:1,r.example/app:1")],
            &["r.example/app:1"],
        ),
        (
            "a local name to load",
            &[("tags", "app"), ("load", "true")],
            &["docker.io/library/app:latest"],
        ),
    ];
    for (name, pairs, expected) in cases {
        assert_eq!(tags(&plan(pairs)), *expected, "{name}");
    }
}

#[test]
fn rules_make_tags_and_labels_from_the_run() {
    let run = WorkflowRun {
        git_ref: Some("refs/tags/v1.2.3".to_owned()),
        event_name: "push".to_owned(),
        payload: serde_json::json!({"head_commit": {"id": "0123abc", "timestamp": "2026-01-02T03:04:05Z"}}),
        ..workflow()
    };
    let pairs: Pairs<'_> = &[
        ("registry", "r.example"),
        ("repository", "team/app"),
        (
            "tags",
            "type=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}\nghcr.io/o/app:x",
        ),
        ("labels", "auto\nteam=a"),
    ];
    let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap();
    let image = &plan.images[0];
    assert_eq!(
        tags(&plan),
        [
            "r.example/team/app:1.2.3",
            "r.example/team/app:1.2",
            "r.example/team/app:latest",
            "ghcr.io/o/app:x"
        ]
    );
    assert_eq!(image.version, "1.2.3");
    for label in [
        "org.opencontainers.image.created=2026-01-02T03:04:05.000Z",
        "org.opencontainers.image.version=1.2.3",
        "org.opencontainers.image.revision=0123abc",
        "team=a",
    ] {
        assert!(
            image.labels.iter().any(|other| other == label),
            "{label}: {:?}",
            image.labels
        );
        assert!(argv(&plan).iter().any(|other| other == label), "{label}");
    }
    assert_eq!(image.json["tags"][0], "r.example/team/app:1.2.3");
}

#[test]
fn annotations_stand_as_given_or_at_the_levels_that_the_variable_names() {
    let run = WorkflowRun {
        git_ref: Some("refs/heads/main".to_owned()),
        annotation_levels: Some("manifest,index".to_owned()),
        ..workflow()
    };
    let annotations = |lines| {
        let pairs: Pairs<'_> = &[
            ("tags", "r.example/a:1"),
            ("annotations", lines),
            ("provenance", "true"),
        ];
        let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap();
        plan.images[0].annotations.clone()
    };
    assert_eq!(annotations("index:a=b\nc=d"), ["index:a=b", "c=d"]);
    let auto = annotations("auto\nteam=a");
    assert_eq!(auto.len(), 18, "{auto:?}");
    for level in ["manifest", "index"] {
        assert!(auto.contains(&format!("{level}:team=a")), "{auto:?}");
        let revision = format!("{level}:org.opencontainers.image.revision=0123abc");
        assert!(auto.contains(&revision), "{auto:?}");
    }
    let levelled = annotations("auto\nindex:team=a\nmanifest[linux/amd64]:b=x:y\nc=x:y");
    assert_eq!(levelled.len(), 20, "{levelled:?}");
    for line in [
        "index:team=a",
        "manifest[linux/amd64]:b=x:y",
        "manifest:c=x:y",
        "index:c=x:y",
    ] {
        assert!(levelled.contains(&line.to_owned()), "{levelled:?}");
    }
    let wrong = [
        ("tags", "r.example/a:1"),
        ("annotations", "auto\nlayer:team=a"),
    ];
    let errors = refusals(&wrong);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with(
            "input `annotations`: `layer:team=a` given, expected `[type[platform]:]name=value`"
        ),
        "{errors:?}"
    );
}

#[test]
fn a_full_name_without_tag_is_latest_everywhere() {
    let plan = plan(&[("tags", "r.example/a\nghcr.io/o/b:x"), ("labels", "auto")]);
    let image = &plan.images[0];
    assert_eq!(image.version, "latest");
    assert_eq!(
        image.json["tags"],
        serde_json::json!(["r.example/a:latest", "ghcr.io/o/b:x"])
    );
    assert_eq!(image.json["tag-names"], serde_json::json!(["latest", "x"]));
    let label = "org.opencontainers.image.version=latest".to_owned();
    assert!(image.labels.contains(&label), "{:?}", image.labels);
}

#[test]
fn a_push_by_digest_has_no_version() {
    let output = "type=image,push=true,push-by-digest=true";
    let plan = plan(&[("tags", "r.example/a"), ("outputs", output)]);
    let image = &plan.images[0];
    assert_eq!(
        (image.version.as_str(), &image.json["tag-names"]),
        ("", &serde_json::json!([]))
    );
}

#[test]
fn tags_of_a_pull_requests_head_are_a_notice_while_its_merge_commit_is_built() {
    let run = |head: &str| WorkflowRun {
        git_ref: Some("refs/pull/15/merge".to_owned()),
        event_name: "pull_request".to_owned(),
        pull_request_head: Some(head.to_owned()),
        payload: serde_json::json!({"number": 15, "pull_request": {"head": {"sha": "fedcba9876543210"}}}),
        ..workflow()
    };
    let base = [("repository", "app"), ("registry", "r.example")];
    let notices = |pairs: Pairs<'_>, head: &str| {
        let pairs = [&base, pairs].concat();
        let plan = plan_with(&pairs, &facts(ImageStore::Containerd), Some(&run(head))).unwrap();
        plan.notices.join("\n")
    };
    let text = notices(&[("tags", "type=sha")], "true");
    assert!(text.contains("the pull request's head `fedcba9`"), "{text}");
    assert!(text.contains("its merge commit `0123abc`"), "{text}");
    for (pairs, head) in [
        (&[("tags", "type=sha")][..], "false"),
        (&[("tags", "type=sha"), ("context", ".")], "true"),
        (&[("tags", "1")], "true"),
    ] {
        let text = notices(pairs, head);
        assert!(!text.contains("head `"), "{pairs:?} {text}");
    }
}

#[test]
fn when_no_rule_gives_a_tag_every_one_says_why() {
    let pairs: Pairs<'_> = &[
        ("repository", "app"),
        ("tags", "type=ref,event=pr\ntype=schedule"),
    ];
    let run = WorkflowRun {
        git_ref: Some("refs/heads/main".to_owned()),
        event_name: "push".to_owned(),
        ..workflow()
    };
    let error = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`type=ref,event=pr` gives no tag: "),
        "{text}"
    );
    assert!(text.contains("`type=schedule` gives no tag: "), "{text}");
}
