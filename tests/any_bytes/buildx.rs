//! What buildx prints and writes.

use std::time::Duration;

use image::Digest;
use jiff::{SignedDuration, Timestamp};
use readers::Target;
use secrecy::SecretString;

use super::cache::Caches;
use super::failure::Failure;
use super::final_lines::FinalLines;
use super::metadata::Metadata;
use super::progress::Progress;
use super::rawjson::{self, Line};
use super::silence::{self, Patience};
use super::targets::{Targets, without_target, without_target_in_text};
use super::{Tool, add_options, checks};
use crate::any_bytes::{file, fixture, part, parts, seed};
use crate::plan::{Hidden, ImageFiles};
use crate::runner::redact::Redactor;
use crate::timings::{self, Recorder};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "rawjson",
        read: progress,
        seeds: recordings,
    },
    Target {
        name: "targets",
        read: targets,
        seeds: || vec![TARGETS_OF_A_BUILD.as_bytes().to_vec()],
    },
    Target {
        name: "build-metadata",
        read: metadata,
        seeds: || {
            let text = |name| String::from_utf8(fixture(name)).unwrap();
            vec![
                seed(&[
                    &text("answers/buildx-0.29.1-metadata.json"),
                    &text("answers/buildx-0.29.1-iidfile.txt"),
                    &text("answers/buildx-0.29.1-manifest.json"),
                ]),
                seed(&[WARNINGS, "sha256:1\n"]),
            ]
        },
    },
    Target {
        name: "instance",
        read: instance,
        seeds: || vec![INSTANCE.as_bytes().to_vec()],
    },
];

/// With the nonce `1`; logs are `line`, `a` and `\n`.
const TARGETS_OF_A_BUILD: &str = r#"{"vertexes":[{"digest":"a","name":"[push step-1 2/2] RUN --network=host [\"/step\"]","started":"2026-11-23T18:41:44.7Z"},{"digest":"b","name":"[image 1/2] FROM busybox"},{"digest":"c","name":"[base 1/1] FROM r.example/a:1@sha256:7777777777777777777777777777777777777777777777777777777777777777"},{"digest":"d","name":"[configuration 2/2] RUN true"}],"logs":[{"vertex":"a","stream":1,"data":"bGluZQo=","timestamp":"2026-11-23T18:41:44.7Z"},{"vertex":"b","stream":1,"data":"YQ==","timestamp":"2026-11-23T18:41:44.7Z"}]}
{"logs":[{"vertex":"a","stream":1,"data":"Cg==","timestamp":"2026-11-23T18:41:44.7Z"}],"statuses":[{"id":"x","vertex":"c","current":1,"timestamp":"2026-11-23T18:41:44.7Z"}]}
"#;

const WARNINGS: &str = r#"{"buildx.build.warnings":[{"vertex":"sha256:1","level":1,"short":"eA==","detail":["eA=="],"url":"https://docs.docker.com/go/dockerfile/rule/from-as-casing/","sourceInfo":{"filename":"Dockerfile"},"range":[{"start":{"line":4},"end":{"line":4}}]}],"result.json":{"warnings":[{"ruleName":"a","description":"b","url":"c","detail":"d","location":{"sourceIndex":0,"ranges":[{"start":{"line":4},"end":{"line":4}}]}}],"sources":[{"filename":"Dockerfile","data":"RlJPTQ=="}]}}"#;

/// <https://github.com/docker/buildx/blob/461836ba0/store/nodegroup.go>
const INSTANCE: &str = r#"{"Name":"a","Driver":"kubernetes","Nodes":[{"Name":"a0","Endpoint":"kubernetes:///a?deployment=","Platforms":null,"DriverOpts":{"namespace":"b"},"Flags":["--debug"],"Files":null}],"Dynamic":false}"#;

/// Lines of buildx's standard error. Phases add up, and what is shown of steps is a line each.
fn progress(bytes: &[u8]) {
    let start: Timestamp = "2026-11-23T18:33:12Z".parse().unwrap();
    let mut progress = Progress::default();
    let mut recorder = Recorder::new(start);
    let mut final_lines = FinalLines::default();
    let redactor = Redactor::default();
    redactor.hide("sha256:secret");
    let mut show = |line: &str| assert!(!line.contains(char::is_control), "{line:?}");
    let mut arrived = start;
    for line in bytes.split(|byte| *byte == b'\n') {
        arrived += SignedDuration::from_millis(10);
        match rawjson::parse(line) {
            Line::Status(mut status) => {
                super::redact::status(&mut status, &redactor);
                progress.show(&status, &mut show);
                recorder.record(&status, arrived);
            }
            Line::Text(text) => final_lines.push(&text),
        }
    }
    let later = progress_end();
    progress.tick(later, arrived, &mut show);
    let failure = Failure::new(&progress, final_lines.as_slice(), &redactor);
    assert!(!failure.message.is_empty());
    let _ = (
        failure.hint(),
        failure.attempted(),
        failure.is_disconnection(),
    );
    let _ = failure.is_temporary(&|_| false);
    let caches = Caches::of(&progress);
    let _ = (caches.unread_text(), caches.is_unexpected());
    let _ = silence::find(progress.running(), Duration::MAX, Patience::of(None));
    timings::tests::check(&recorder.finish(arrived));
}

/// The progress of a build with the push engine. Of the step come lines, of the user's build what is its own.
fn targets(bytes: &[u8]) {
    let mut targets = Targets::new("1", [(None, None)]);
    for line in bytes.split(|byte| *byte == b'\n') {
        match rawjson::parse(line) {
            Line::Status(status) => {
                let names: Vec<String> = status
                    .vertexes
                    .iter()
                    .map(|vertex| vertex.name.clone())
                    .collect();
                let parts = targets.split(status);
                assert!(parts.lines.iter().all(|(_, line)| !line.contains('\n')));
                let is_other = |name: &&String| {
                    let others = ["push", "configuration", "base"];
                    others.iter().any(|it| without_target(name, it).is_some())
                };
                let others = names.iter().filter(is_other).count();
                assert_eq!(parts.image.vertexes.len(), names.len() - others);
            }
            Line::Text(text) => {
                let text = without_target_in_text(&text);
                assert!(!text.starts_with("ERROR: target push: "));
            }
        }
    }
    let _ = (targets.trigger(0), targets.base(0), targets.has_step(0));
}

fn progress_end() -> std::time::Instant {
    std::time::Instant::now() + Duration::from_secs(3600)
}

/// The first lines of each recorded build, of at most 8 KB.
fn recordings() -> Vec<Vec<u8>> {
    ["rawjson", "cache"]
        .iter()
        .flat_map(|folder| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
            std::fs::read_dir(path.join(folder)).unwrap()
        })
        .map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut seed = String::new();
            for line in text.lines().filter_map(|line| line.split_once('\t')) {
                if seed.len() + line.1.len() < 8_000 {
                    seed.push_str(line.1);
                    seed.push('\n');
                }
            }
            seed.into_bytes()
        })
        .collect()
}

/// `--metadata-file`, `--iidfile`, and the manifest of an image that is there already.
fn metadata(bytes: &[u8]) {
    let parts = parts(bytes);
    let files = [0, 1].map(|index| file(part(&parts, index).as_bytes()));
    let [metadata, image_id] = files.each_ref().map(|file| file.path().to_owned());
    if let Ok(read) = Metadata::read(&ImageFiles { metadata, image_id }) {
        let findings = checks::findings(&read);
        assert!(findings.iter().all(|finding| finding.line != Some(0)));
    }
    let digest = Digest::sha256([7; 32]);
    let name = "r.example/a:1".parse().unwrap();
    let of_existing = Metadata::of_existing(&digest, part(&parts, 2), &[name]);
    assert_eq!(of_existing.digest, Some(digest));
    assert!(of_existing.image_id.is_some());
}

/// Nodes get the secret options, or there is an error.
fn instance(bytes: &[u8]) {
    let folder = tempfile::tempdir_in(readers::memory()).unwrap();
    std::fs::create_dir(folder.path().join("instances")).unwrap();
    let path = folder.path().join("instances/a");
    std::fs::write(&path, bytes).unwrap();
    let tool = Tool {
        program: "buildx".into(),
        env: [("BUILDX_CONFIG".to_owned(), folder.path().into())].into(),
    };
    let options = [(
        "env.TOKEN".to_owned(),
        Hidden(SecretString::from("hunter2")),
    )];
    if add_options(&tool, "a", &options).is_ok() {
        let written = std::fs::read(&path).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let nodes = written.get("Nodes").and_then(|nodes| nodes.as_array());
        for node in nodes.into_iter().flatten().filter(|node| node.is_object()) {
            assert_eq!(node["DriverOpts"]["env.TOKEN"], "hunter2");
        }
    }
}
