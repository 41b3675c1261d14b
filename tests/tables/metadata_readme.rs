//! The examples of docker/metadata-action's README, event by event: rules and an event in, its table's tags out.
//! A row of a table is a line, whatever its length.
//! <https://github.com/docker/metadata-action/blob/dc802804100637a589fabce1cb79ff13a1411302/README.md>

use serde_json::{Value, json};

use super::event::{GithubValues, Settings, WorkflowRun};
use super::flavor::Flavor;
use super::generate::Generated;
use super::labels::Labels;
use super::{DEFAULT_RULES, Tags};

const SHA: &str = "90dd6032fac8bda1b6c4436a2e65de27961ed071";

fn run(event: &str, reference: &str) -> WorkflowRun {
    let payload = json!({
        "number": 2, "base_ref": "refs/heads/master", "pull_request": {"base": {"ref": "master"}},
        "head_commit": {"id": SHA, "timestamp": "2020-01-10T00:30:00.000Z"},
        "repository": {
            "name": "Hello-World", "description": "This your first repo!", "default_branch": "master",
            "html_url": "https://github.com/octocat/Hello-World", "license": {"spdx_id": "MIT"}
        }
    });
    let github = GithubValues {
        event_name: event,
        reference,
        sha: SHA,
        ..GithubValues::default()
    };
    WorkflowRun::new(github, &payload, Settings::default())
}

fn generate(tags: &str, flavor: &str, run: &WorkflowRun) -> Generated {
    let now = "2020-01-10T00:30:00.000Z".parse().unwrap();
    let flavor = Flavor::parse(flavor).unwrap();
    let tags = Tags::parse(tags).unwrap();
    tags.generate(&flavor, run, now, &["name/app".to_owned()])
        .unwrap()
}

/// Compares the tags of each event; `refs/tags/` stands before a reference that names no kind.
fn check(rules: &str, flavor: &str, table: &[(&str, &str, &[&str])]) {
    for (event, reference, expected) in table {
        let reference = if reference.starts_with("refs/") {
            (*reference).to_owned()
        } else {
            format!("refs/tags/{reference}")
        };
        let made = generate(rules, flavor, &run(event, &reference));
        assert_eq!(made.names, *expected, "{rules} {event} {reference}");
        let version = expected.first().copied().unwrap_or_default();
        assert_eq!(made.version, version, "{rules} {event} {reference}");
        let tags: Vec<String> = expected
            .iter()
            .map(|name| format!("name/app:{name}"))
            .collect();
        assert_eq!(made.tags, tags, "{rules} {event} {reference}");
    }
}

#[rustfmt::skip]
#[test]
fn basic() {
    check(DEFAULT_RULES, "", &[
        ("pull_request", "refs/pull/2/merge", &["pr-2"]),
        ("pull_request_target", "refs/heads/master", &["pr-2"]),
        ("push", "refs/heads/master", &["master"]),
        ("push", "refs/heads/releases/v1", &["releases-v1"]),
        ("push", "v1.2.3", &["v1.2.3", "latest"]),
        ("push", "v2.0.8-beta.67", &["v2.0.8-beta.67", "latest"]),
        ("release", "v1.2.3", &["v1.2.3", "latest"]),
        ("workflow_dispatch", "refs/heads/master", &["master"]),
        ("schedule", "refs/heads/master", &["nightly", "master"]),
        ("merge_group", "refs/heads/gh-readonly-queue/master/pr-7-90dd603", &["gh-readonly-queue-master-pr-7-90dd603"]),
    ]);
}

#[rustfmt::skip]
#[test]
fn semver() {
    let rules = "type=ref,event=branch\ntype=ref,event=pr\ntype=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}";
    check(rules, "", &[
        ("pull_request", "refs/pull/2/merge", &["pr-2"]),
        ("push", "refs/heads/master", &["master"]),
        ("push", "refs/heads/releases/v1", &["releases-v1"]),
        ("push", "v1.2.3", &["1.2.3", "1.2", "latest"]),
        ("push", "v2.0.8-beta.67", &["2.0.8-beta.67"]),
    ]);
    for (tag, pattern, matching, expected) in [
        ("v1.2.3", "{{raw}}", "", "v1.2.3"),
        ("v1.2.3", "{{version}}", "", "1.2.3"),
        ("v1.2.3", "{{major}}.{{minor}}", "", "1.2"),
        ("v1.2.3", "v{{major}}", "", "v1"),
        ("v1.2.3", "{{minor}}", "", "2"),
        ("v1.2.3", "{{patch}}", "", "3"),
        ("p1/v1.2.3", "{{version}}", r"v(\d.\d.\d)$", "1.2.3"),
        ("v2.0.8-beta.67", "{{raw}}", "", "v2.0.8-beta.67"),
        ("v2.0.8-beta.67", "{{version}}", "", "2.0.8-beta.67"),
        ("v2.0.8-beta.67", "{{major}}", "", "2.0.8-beta.67"),
        ("v2.0.8-beta.67", "{{major}}.{{minor}}", "", "2.0.8-beta.67"),
    ] {
        let rule = format!("type=semver,pattern={pattern},match={matching}");
        check(&rule, "latest=false", &[("push", tag, &[expected])]);
    }
    check("type=semver,pattern={{version}},value=v1.0.0", "", &[("push", "refs/heads/master", &["1.0.0", "latest"])]);
    check(r"type=semver,pattern={{version}},value=p1/v1.0.0,match=v(\d.\d.\d)$", "", &[("push", "refs/heads/master", &["1.0.0", "latest"])]);
}

#[rustfmt::skip]
#[test]
fn pep440() {
    for (tag, pattern, matching, expected) in [
        ("1.2.3", "{{raw}}", "", "1.2.3"),
        ("1.2.3", "{{version}}", "", "1.2.3"),
        ("v1.2.3", "{{version}}", "", "1.2.3"),
        ("1.2.3", "{{major}}.{{minor}}", "", "1.2"),
        ("1.2.3", "v{{major}}", "", "v1"),
        ("v1.2.3rc2", "{{raw}}", "", "v1.2.3rc2"),
        ("1.2.3rc2", "{{version}}", "", "1.2.3rc2"),
        ("p1/v1.2.3", "{{version}}", r"v(\d.\d.\d)$", "1.2.3"),
        ("1.2.3rc2", "{{major}}.{{minor}}", "", "1.2.3rc2"),
        ("1.2.3post1", "{{major}}.{{minor}}", "", "1.2.3.post1"),
        ("1.2.3beta2", "{{major}}.{{minor}}", "", "1.2.3b2"),
        ("1.0dev4", "{{major}}.{{minor}}", "", "1.0.dev4"),
    ] {
        let rule = format!("type=pep440,pattern={pattern},match={matching}");
        check(&rule, "latest=false", &[("push", tag, &[expected])]);
    }
    check("type=pep440,pattern={{version}},value=1.0.0", "", &[("push", "refs/heads/master", &["1.0.0", "latest"])]);
    check(r"type=pep440,pattern={{version}},value=p1/v1.0.0,match=v(\d.\d.\d)$", "", &[("push", "refs/heads/master", &["1.0.0", "latest"])]);
}

#[rustfmt::skip]
#[test]
fn matching() {
    for (tag, pattern, group, expected) in [
        ("v1.2.3", r"\d.\d.\d", 0, "1.2.3"),
        ("v2.0.8-beta.67", "v(.*)", 1, "2.0.8-beta.67"),
        ("v2.0.8-beta.67", r"v(\d.\d)", 1, "2.0"),
        ("20200110-RC2", r"\d+", 0, "20200110"),
        ("p1/v1.2.3", r"p1/v(\d.\d.\d)", 1, "1.2.3"),
    ] {
        let rule = format!("type=match,pattern={pattern},group={group}");
        check(&rule, "", &[("push", tag, &[expected, "latest"])]);
    }
    check("type=match,pattern=v(.*),group=1,value=v1.0.0", "", &[("push", "refs/heads/master", &["1.0.0", "latest"])]);
}

#[rustfmt::skip]
#[test]
fn schedule() {
    for (rule, expected) in [
        ("type=schedule", "nightly"),
        ("type=schedule,pattern=nightly", "nightly"),
        ("type=schedule,pattern={{date 'YYYYMMDD'}}", "20200110"),
        (
            "type=schedule,pattern={{date 'YYYYMMDD-HHmmss' tz='Asia/Tokyo'}}",
            "20200110-093000",
        ),
    ] {
        check(rule, "", &[("schedule", "refs/heads/master", &[expected]), ("push", "refs/heads/master", &[])]);
    }
}

#[rustfmt::skip]
#[test]
fn edge() {
    check("type=edge", "", &[("push", "refs/heads/master", &["edge"]), ("push", "refs/heads/main", &[]), ("push", "v1.2.3", &[])]);
    check("type=edge,branch=main", "", &[("push", "refs/heads/main", &["edge"]), ("push", "refs/heads/master", &[])]);
}

#[rustfmt::skip]
#[test]
fn references() {
    check("type=ref,event=branch\ntype=ref,event=tag\ntype=ref,event=pr", "latest=false", &[
        ("pull_request", "refs/pull/2/merge", &["pr-2"]),
        ("push", "refs/heads/master", &["master"]),
        ("push", "refs/heads/my/branch", &["my-branch"]),
        ("push", "v1.2.3", &["v1.2.3"]),
        ("push", "v2.0.8-beta.67", &["v2.0.8-beta.67"]),
        ("workflow_dispatch", "refs/heads/master", &["master"]),
    ]);
    check("type=ref,event=tag", "", &[("push", "v1.2.3", &["v1.2.3", "latest"])]);
}

#[rustfmt::skip]
#[test]
fn raw_and_sha() {
    for rules in [
        "type=raw,value=foo\ntype=raw,value=bar",
        "type=raw,foo\ntype=raw,bar",
        "foo\nbar",
    ] {
        check(rules, "", &[("push", "refs/heads/master", &["foo", "bar"])]);
    }
    check("type=sha", "", &[("push", "refs/heads/master", &["sha-90dd603"])]);
    check("type=sha,format=long", "", &[("push", "refs/heads/master", &[&format!("sha-{SHA}")])]);
    let longer = WorkflowRun {
        short_sha_length: 12,
        ..run("push", "refs/heads/master")
    };
    assert_eq!(
        generate("type=sha", "", &longer).names,
        ["sha-90dd6032fac8"]
    );
}

#[rustfmt::skip]
#[test]
fn flavor_priority_and_latest() {
    check("type=ref,event=branch", "prefix=p-,onlatest=true\nsuffix=-s\nlatest=true", &[("push", "refs/heads/master", &["p-master-s", "p-latest"])]);
    check("type=raw,value=a,priority=1\ntype=sha\nb", "", &[("push", "refs/heads/master", &["b", "sha-90dd603", "a"])]);
    check("type=raw,value=latest,enable={{is_default_branch}}", "", &[("push", "refs/heads/master", &["latest"]), ("push", "refs/heads/dev", &[])]);
    check("type=raw,value=x,enable={{is_not_default_branch}}", "", &[("push", "refs/heads/master", &[]), ("push", "refs/heads/dev", &["x"])]);
    let zero = "type=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}\ntype=semver,pattern={{major}},enable=false";
    check(zero, "", &[("push", "v0.1.2", &["0.1.2", "0.1", "latest"])]);
}

#[rustfmt::skip]
#[test]
fn global_expressions() {
    check("type=sha,prefix={{branch}}-\ntype=raw,value=mytag-{{branch}}-{{sha}}", "", &[
        ("push", "refs/heads/my/branch", &["mytag-my-branch-90dd603", "my-branch-90dd603"]),
    ]);
    let (pull, master, branch, tag) = (
        "refs/pull/2/merge",
        "refs/heads/master",
        "refs/heads/my/branch",
        "v1.2.3",
    );
    check("type=raw,value={{branch}}", "", &[
        ("pull_request", pull, &[]),
        ("push", master, &["master"]),
        ("push", branch, &["my-branch"]),
        ("push", tag, &[]),
    ]);
    check("type=raw,value={{tag}}", "", &[("pull_request", pull, &[]), ("push", master, &[]), ("push", branch, &[]), ("push", tag, &["v1.2.3"])]);
    check("type=raw,value={{sha}}", "", &[("push", master, &["90dd603"])]);
    check("type=raw,value={{base_ref}}", "", &[
        ("pull_request", pull, &["master"]),
        ("push", master, &[]),
        ("push", branch, &[]),
        ("push", tag, &["master"]),
    ]);
    for name in ["date", "commit_date"] {
        for (arguments, expected) in [
            ("'YYYYMMDD'", "20200110"),
            (
                "'dddd, MMMM Do YYYY, h:mm:ss a'",
                "Friday-January-10th-2020-12-30-00-am",
            ),
            ("'YYYYMMDD-HHmmss' tz='Asia/Tokyo'", "20200110-093000"),
        ] {
            // Quotes for the list, and within them quotes for the rule: the format has commas.
            let rule = format!("\"type=raw,\"\"value={{{{{name} {arguments}}}}}\"\"\"");
            check(&rule, "", &[("push", master, &[expected])]);
        }
    }
}

#[test]
fn bake_definition_and_labels() {
    let rules = "type=ref,event=branch\ntype=ref,event=pr\ntype=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}\ntype=sha";
    let run = run("push", "refs/tags/v1.2.3");
    let made = generate(rules, "", &run);
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let labels = Labels::parse("auto")
        .unwrap()
        .render(&run, &made.version, now);
    let json: Value =
        serde_json::from_str(&serde_json::to_string(&made.json(&made.tags, &labels, &[])).unwrap())
            .unwrap();
    assert_eq!(
        json["tags"],
        json!([
            "name/app:1.2.3",
            "name/app:1.2",
            "name/app:sha-90dd603",
            "name/app:latest"
        ])
    );
    assert_eq!(
        json["labels"],
        json!({
            "org.opencontainers.image.title": "Hello-World",
            "org.opencontainers.image.description": "This your first repo!",
            "org.opencontainers.image.url": "https://github.com/octocat/Hello-World",
            "org.opencontainers.image.source": "https://github.com/octocat/Hello-World",
            "org.opencontainers.image.version": "1.2.3",
            "org.opencontainers.image.created": "2020-01-10T00:30:00.000Z",
            "org.opencontainers.image.revision": SHA,
            "org.opencontainers.image.licenses": "MIT"
        })
    );
    let own = "auto\nmaintainer=CrazyMax\norg.opencontainers.image.title=MyCustomTitle\n\
        org.opencontainers.image.description=Another description\norg.opencontainers.image.vendor=MyCompany\n\
        org.opencontainers.image.created={{commit_date 'YYYY-MM-DDTHH:mm:ss.SSS[Z]'}}";
    let labels = Labels::parse(own).unwrap().render(&run, &made.version, now);
    for label in own
        .lines()
        .filter(|line| line.contains('=') && !line.contains("{{"))
    {
        assert!(labels.iter().any(|made| made == label), "{label}");
    }
    assert!(
        labels.contains(&"org.opencontainers.image.created=2020-01-10T00:30:00.000Z".to_owned())
    );
    assert_eq!(labels.len(), 10);
}
