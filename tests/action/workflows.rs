//! Every workflow and step that the documents show is one that runs: inputs that exist, and a plan.
//!
//! A block of YAML with `jobs:` is a workflow, which also goes through actionlint (tests/lint/run), one that begins with `- ` a
//! list of steps, any other a step's inputs, with `with:` or without. The commands of the page on setting up AWS are run as they
//! stand, with programs that note what they are asked.
#![expect(
    clippy::disallowed_methods,
    reason = "the commands of a page are what is under test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::runner::{Runner, TAG};

/// How the documents call this action.
const ACTION: &str = "org/fast-ecr-push@v1";

/// What is around an example, so that its plan needs neither network nor Docker.
const FACTS: [&str; 4] = [
    "buildx=0.37.1",
    "engine=28.5.2",
    "store=containerd",
    "registry=123456789012.dkr.ecr.eu-west-1.amazonaws.com",
];

/// A kubeconfig for examples that take one from a secret.
const KUBECONFIG: &str = "{clusters: [{name: c, cluster: {server: 'https://k'}}], current-context: x, \
                          contexts: [{name: x, context: {cluster: c}}]}";

#[derive(Deserialize)]
struct Workflow {
    jobs: BTreeMap<String, Job>,
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    uses: Option<String>,
    #[serde(default)]
    with: BTreeMap<String, Scalar>,
}

/// The runner passes every scalar as the text that it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Boolean(bool),
    Integer(i64),
    Text(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// The Markdown files for users.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap();
    let mut paths: Vec<_> = pages
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain([root.join("README.md")])
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The contents of fenced blocks in a language, with the line they begin on.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(&'a str, usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(fence)) => open = Some((fence.trim(), index + 2, String::new())),
            (Some(_), Some("")) => {
                let (fence, line, block) = open.take().unwrap();
                if fence == language {
                    found.push((line, block));
                }
            }
            (Some((_, _, block)), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence that is not closed");
    found
}

/// All steps of the documents that use this action: where, and what they give it.
fn steps() -> Vec<(String, BTreeMap<String, String>)> {
    let mut steps = Vec::new();
    for (name, text) in documents() {
        for (line, block) in blocks(&text, "yaml") {
            let place = format!("{name}:{line}");
            steps.extend(
                read(&block, &place)
                    .into_iter()
                    .filter(|step| step.uses.as_deref() == Some(ACTION))
                    .map(|step| {
                        let with = step.with.iter();
                        let with = with.map(|(name, value)| (name.clone(), value.text()));
                        (place.clone(), with.collect())
                    }),
            );
        }
    }
    steps
}

/// The steps of a block.
fn read(block: &str, place: &str) -> Vec<Step> {
    if block.contains("jobs:\n") {
        let workflow: Workflow = serde_saphyr::from_str(block).expect(place);
        return workflow
            .jobs
            .into_values()
            .flat_map(|job| job.steps)
            .collect();
    }
    if block.trim_start().starts_with("- ") {
        return serde_saphyr::from_str(block).expect(place);
    }
    let with = if block.trim_start().starts_with("with:") {
        let step: Step = serde_saphyr::from_str(block).expect(place);
        step.with
    } else {
        serde_saphyr::from_str(block).expect(place)
    };
    let uses = Some(ACTION.to_owned());
    vec![Step { uses, with }]
}

/// An expression's value: what the example's input could hold.
fn evaluated(input: &str, text: &str) -> String {
    let mut rest = text;
    let mut value = String::new();
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").expect(text);
        value.push_str(before);
        value.push_str(match (input, expression.trim()) {
            ("kubeconfig", _) => KUBECONFIG,
            (_, "matrix.driver") => "docker-container",
            (_, "matrix.platform") => "linux/amd64",
            (_, "github.event_name != 'pull_request'") => "true",
            (_, expression) if expression.starts_with("secrets.") => "a-secret",
            (_, expression) if expression.ends_with("region") => "eu-west-1",
            _ => "1",
        });
        rest = after;
    }
    value + rest
}

#[test]
fn every_example_names_inputs_that_exist() {
    let declared: BTreeSet<String> = crate::inputs::declared_defaults()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let steps = steps();
    assert!(steps.len() > 10, "{} steps", steps.len());
    for (place, with) in steps {
        for name in with.keys() {
            assert!(declared.contains(name), "{place}: no input `{name}`");
        }
    }
}

#[test]
fn every_example_has_a_plan() {
    for (place, with) in steps() {
        // Of a step of which only some inputs are shown.
        let is_whole = with.contains_key("tags") || with.contains_key("repository");
        let mut runner = Runner::new().input("tags", if is_whole { "" } else { TAG });
        for (name, value) in &with {
            // Finding a cluster by its name is asking AWS; a kubeconfig stands for the answer.
            runner = match name.as_str() {
                "eks-cluster" => runner.input("kubeconfig", KUBECONFIG),
                _ => runner.input(name, &evaluated(name, value)),
            };
        }
        let mut arguments = vec!["plan"];
        for fact in FACTS {
            arguments.extend(["--fact", fact]);
        }
        let ran = runner
            .without("GITHUB_ACTIONS")
            .variable("AWS_REGION", "eu-west-1")
            .arguments(&arguments)
            .run();
        assert_eq!(ran.code, Some(0), "{place}: {}", ran.log);
        let plan: serde_json::Value = serde_json::from_str(&ran.log).expect(&place);
        assert!(plan["images"][0]["argv"].is_array(), "{place}: {plan}");
    }
}

#[test]
fn the_commands_that_set_up_aws_run_as_they_stand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/setup.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["aws", "kubectl"] {
        let program = folder.path().join(name);
        fs::write(&program, format!("#!/bin/sh\necho {name} \"$@\" >>calls\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let commands: Vec<String> = blocks(&page, "sh")
        .into_iter()
        .map(|(_, block)| block)
        .collect();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands.join("\n")])
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    assert!(calls.lines().count() >= 7, "{calls}");
    for word in calls.split_whitespace() {
        if let Some(name) = word.strip_prefix("file://") {
            let text = fs::read_to_string(folder.path().join(name)).expect(name);
            let policy: serde_json::Value = serde_json::from_str(&text).expect(&text);
            assert_eq!(policy["Version"], "2012-10-17");
            assert!(!text.contains('$'), "{text}");
        } else if word.starts_with("examples/") {
            assert!(root.join(word).is_file(), "{word}");
        }
    }
}
