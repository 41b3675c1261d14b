//! docker/metadata-action's rules and templates.

use image::is_tag;
use readers::Target;
use serde_json::Value;

use super::{fixture, part, parts, seed};
use crate::metadata::Tags;
use crate::metadata::event::{GithubValues, Settings, WorkflowRun};
use crate::metadata::flavor::Flavor;
use crate::metadata::labels::{self, Labels};

pub(super) const TARGETS: &[Target] = &[Target {
    name: "tags",
    read: tags,
    seeds,
}];

/// Rules, flavor, labels and levels of annotations; the ref, the commit and an event's payload. What comes out are tags and labels.
fn tags(bytes: &[u8]) {
    let parts = parts(bytes);
    let part = |index| part(&parts, index);
    let github = GithubValues {
        event_name: "push",
        reference: part(4),
        sha: part(5),
        repository: "octo/app",
        server_url: "https://github.com",
    };
    let payload: Value = serde_json::from_str(part(6)).unwrap_or_default();
    let run = WorkflowRun::new(github, &payload, Settings::default());
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    let mut version = String::new();
    if let (Ok(tags), Ok(flavor)) = (Tags::parse(part(0)), Flavor::parse(part(1))) {
        let image = "r.example/a".to_owned();
        if let Ok(made) = tags.generate(&flavor, &run, now, &[image]) {
            assert!(made.names.iter().all(|name| is_tag(name)), "{made:?}");
            let is_known = made.names.is_empty() || !made.version.is_empty();
            assert!(is_known, "{made:?}");
            version = made.version;
        }
    }
    if let Ok(read) = Labels::parse(part(2)) {
        let labels = read.render(&run, &version, now);
        if let Ok(levels) = labels::levels(part(3)) {
            let at = labels::at_levels(&labels, &levels);
            assert!(at.len() >= labels.len());
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let recorded: Value = serde_json::from_slice(&fixture("tags/recorded.json")).unwrap();
    let events: Value = serde_json::from_slice(&fixture("tags/events.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap().iter().step_by(10);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    cases
        .map(|case| {
            let event = &events[case["event"].as_str().unwrap()];
            seed(&[
                &text(&case["tags"]),
                &text(&case["flavor"]),
                &text(&case["labels"]),
                "manifest,index",
                &text(&event["GITHUB_REF"]),
                &text(&event["GITHUB_SHA"]),
                &event["payload"].to_string(),
            ])
        })
        .collect()
}
