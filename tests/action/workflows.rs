//! Every workflow and step that the documents show is one that runs: inputs that exist, and a plan.
//!
//! A block of YAML with `jobs:` is a workflow, which also goes through actionlint (tools/lint/run), one that begins with `- ` a
//! list of steps, any other a step's inputs, with `with:` or without.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::pages::{blocks, documents};
use crate::runner::{Runner, TAG};

/// How the documents call this action.
pub(crate) const ACTION: &str = "org/fast-ecr-push@v1";

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
pub(crate) struct Step {
    pub(crate) id: Option<String>,
    pub(crate) uses: Option<String>,
    pub(crate) run: Option<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default)]
    with: BTreeMap<String, Scalar>,
}

/// The runner passes every scalar as the text that it is.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
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
pub(crate) fn read(block: &str, place: &str) -> Vec<Step> {
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
    vec![Step {
        uses: Some(ACTION.to_owned()),
        with,
        id: None,
        run: None,
        env: BTreeMap::new(),
    }]
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

/// The plan of an example.
fn plan(place: &str, with: &BTreeMap<String, String>) -> serde_json::Value {
    // Of a step of which only some inputs are shown.
    let is_whole = with.contains_key("tags") || with.contains_key("repository");
    let mut runner = Runner::new().input("tags", if is_whole { "" } else { TAG });
    for (name, value) in with {
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
    serde_json::from_str(&ran.log).expect(place)
}

#[test]
fn every_example_has_a_plan() {
    for (place, with) in steps() {
        let plan = plan(&place, &with);
        assert!(plan["images"][0]["argv"].is_array(), "{place}: {plan}");
    }
}

/// Else the node that the pod lands on decides.
#[test]
fn every_example_in_a_cluster_names_its_platforms() {
    let mut examples = 0;
    for (place, with) in steps() {
        if with.contains_key("eks-cluster") {
            examples += 1;
            assert!(with.contains_key("platforms"), "{place}");
        }
    }
    assert!(examples >= 6, "{examples} examples");
}

#[test]
fn the_recipe_for_several_architectures_keeps_the_cache_of_each() {
    let mut recipes = 0;
    for (place, with) in steps() {
        let platforms = with.get("platforms").map_or("", String::as_str);
        if platforms.contains(',') && with.contains_key("eks-cluster") {
            recipes += 1;
            let plan = plan(&place, &with);
            assert_eq!(plan["images"][0]["cache"]["kind"], "inline", "{place}");
            assert_eq!(plan["notices"], serde_json::json!([]), "{place}");
        }
    }
    assert!(recipes >= 1);
}
