//! Compares this crate with what docker/metadata-action answered (`tests/fixtures/tags/recorded.json`), case by case.
//! What a case's `difference` names is compared with what this crate means to answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::event::{GithubValues, Settings, WorkflowRun};
use super::flavor::Flavor;
use super::generate::Generated;
use super::labels::{self, Labels};
use super::reason::{Reason, Warning};
use super::{DEFAULT_RULES, Tags, name};

const RECORDED: &str = include_str!("../fixtures/tags/recorded.json");
const EVENTS: &str = include_str!("../fixtures/tags/events.json");
const NOW: &str = "2020-01-10T00:30:00.000Z";

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    event: String,
    #[serde(default)]
    images: String,
    #[serde(default)]
    tags: String,
    #[serde(default)]
    flavor: String,
    labels: Option<String>,
    annotations: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// In place of the commit's own.
    timestamp: Option<String>,
    difference: Option<String>,
    result: Answer,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Refused {
        #[serde(rename = "error")]
        _error: String,
    },
    Made(Made),
}

#[derive(Debug, Deserialize)]
struct Made {
    version: String,
    tags: Vec<String>,
    names: Vec<String>,
    labels: Option<Vec<String>>,
    annotations: Option<Vec<String>>,
    warnings: usize,
}

fn run(case: &Case) -> WorkflowRun {
    let events: BTreeMap<String, Value> = serde_json::from_str(EVENTS).unwrap();
    let mut event = events[&case.event].clone();
    if let Some(timestamp) = &case.timestamp {
        event["payload"]["head_commit"]["timestamp"] = timestamp.as_str().into();
    }
    let value = |name: &str| event[name].as_str().unwrap();
    let github = GithubValues {
        event_name: value("GITHUB_EVENT_NAME"),
        reference: value("GITHUB_REF"),
        sha: value("GITHUB_SHA"),
        repository: value("GITHUB_REPOSITORY"),
        server_url: "https://github.com",
    };
    let env = |name: &str| case.env.get(name).map(String::as_str);
    let settings = Settings::parse(
        env("DOCKER_METADATA_SHORT_SHA_LENGTH"),
        env("DOCKER_METADATA_PR_HEAD_SHA"),
    );
    WorkflowRun::new(github, &event["payload"], settings.unwrap())
}

fn answer(case: &Case) -> Result<Generated, String> {
    let tags = if case.tags.is_empty() {
        DEFAULT_RULES
    } else {
        &case.tags
    };
    let tags = Tags::parse(tags).map_err(|errors| format!("{errors:?}"))?;
    let flavor = Flavor::parse(&case.flavor).map_err(|error| format!("{error:?}"))?;
    let images: Vec<String> = case.images.split(['\n', ',']).map(str::to_owned).collect();
    let images = if case.images.is_empty() {
        Vec::new()
    } else {
        images
    };
    let now = NOW.parse().unwrap();
    tags.generate(&flavor, &run(case), now, &images)
        .map_err(|error| error.to_string())
}

fn made_labels(case: &Case, input: &str, version: &str) -> Result<Vec<String>, String> {
    let labels = Labels::parse(&format!("{input}\nauto")).map_err(|error| format!("{error:?}"))?;
    Ok(labels.render(&run(case), version, NOW.parse().unwrap()))
}

/// What is left of their tags by the differences that every tag may have: repaired, and each once.
fn repaired(tags: &[String]) -> Vec<String> {
    let mut repaired: Vec<String> = Vec::new();
    for tag in tags {
        let (image, tag) = tag.rsplit_once(':').unwrap_or(("", tag));
        if let Some((tag, _)) = name::valid(tag) {
            let tag = if image.is_empty() {
                tag
            } else {
                format!("{image}:{tag}")
            };
            if !repaired.contains(&tag) {
                repaired.push(tag);
            }
        }
    }
    repaired
}

/// All but the time, which is another by design unless the input sets it.
fn comparable(labels: &[String], input: &str) -> BTreeSet<String> {
    let is_compared = |label: &&String| {
        input.contains("image.created=") || !label.contains("org.opencontainers.image.created=")
    };
    labels.iter().filter(is_compared).cloned().collect()
}

fn same_tags(made: &Generated, expected: &Made) -> bool {
    let of_this_crate = |warning: &&Warning| match warning {
        Warning::UnusedAttribute { .. } | Warning::Repaired { .. } => true,
        Warning::Unfired(unfired) => matches!(
            unfired.reason,
            Reason::NothingLeft(_) | Reason::UnknownDefaultBranch
        ),
        Warning::PartNotFound { .. } => false,
    };
    let own_warnings = made.warnings.iter().filter(of_this_crate).count();
    let names = repaired(&expected.names);
    made.tags == repaired(&expected.tags)
        && made.names == names
        && names.first().map_or("", String::as_str) == made.version
        && (names != expected.names || made.version == expected.version)
        && made.warnings.len() - own_warnings == expected.warnings
}

#[test]
fn makes_what_metadata_action_makes() {
    let recorded: Recorded = serde_json::from_str(RECORDED).unwrap();
    let (mut compared, mut refused) = (0, 0);
    let mut failures = Vec::new();
    for case in recorded
        .cases
        .iter()
        .filter(|case| case.difference.is_none())
    {
        let answer = answer(case);
        let Answer::Made(expected) = &case.result else {
            let labels = case.labels.as_deref().unwrap_or_default();
            if answer.is_ok() && made_labels(case, labels, "").is_ok() {
                failures.push(format!("{case:?}\n  {answer:?}"));
            }
            refused += 1;
            continue;
        };
        if !answer.as_ref().is_ok_and(|made| same_tags(made, expected)) {
            failures.push(format!("{case:?}\n  {answer:?}"));
        }
        if let (Some(input), Some(labels)) = (&case.labels, &expected.labels) {
            let made = made_labels(case, input, &expected.version);
            if !made
                .as_ref()
                .is_ok_and(|made| comparable(made, input) == comparable(labels, input))
            {
                failures.push(format!("{input}\n  {made:?}\n  {labels:?}"));
            }
        }
        if let (Some(input), Some(annotations)) = (&case.annotations, &expected.annotations) {
            let levels = labels::levels("manifest,index").unwrap();
            let made = made_labels(case, input, &expected.version)
                .map(|made| labels::at_levels(&made, &levels));
            if !made
                .as_ref()
                .is_ok_and(|made| comparable(made, input) == comparable(annotations, input))
            {
                failures.push(format!("{input}\n  {made:?}\n  {annotations:?}"));
            }
        }
        compared += 1;
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(compared > 2000 && refused > 50, "{compared} {refused}");
}

/// The tags that are recorded, or nothing for an error.
type Names = Option<&'static [&'static str]>;

#[test]
fn differs_only_where_it_means_to() {
    // What is recorded (tags, or an error), and what this crate says instead: tags, or a part of its error.
    #[rustfmt::skip]
    let means: BTreeMap<&str, (Names, Result<&[&str], &str>)> = BTreeMap::from([
        ("plain tag that is none", (Some(&["a", "-indented"][..]), Err("# indented"))),
        ("plain tags between commas", (Some(&["b"]), Ok(&["a", "b"][..]))),
        ("full reference", (Some(&["ghcr.io-name-other-x"]), Ok(&[]))),
        ("attribute of another type", (Some(&["sha-860c190"]), Ok(&["sha-860c190"]))),
        ("mistake unseen", (Some(&["2.0.8-beta.67"]), Err("Unclosed"))),
        ("brace that is no quantifier", (Some(&[]), Err("repetition"))),
        ("match without a group", (None, Err("has no group"))),
        ("onlatest alone", (Some(&["a"]), Err("onlatest"))),
        ("label without a key", (Some(&["a"]), Ok(&["a"]))),
        ("unknown attribute", (Some(&["a"]), Err("Attribute(\"enabled\")"))),
        ("unknown expression", (Some(&["a"]), Err("brnch"))),
        ("block helper", (Some(&["ab"]), Err("#if branch"))),
        ("comment", (Some(&["ab"]), Err("! comment"))),
        ("unknown time zone", (Some(&["2020"]), Err("Mars/Olympus"))),
        ("priority that is no number", (Some(&["a"]), Err("a number"))),
        ("empty field", (Some(&[]), Ok(&["a"]))),
        ("first character", (Some(&["-a"]), Ok(&["a"]))),
        ("nothing left", (Some(&["-"]), Ok(&[]))),
        ("latest alone", (Some(&[".", "latest"]), Ok(&[]))),
        ("latest twice", (Some(&["latest", "latest"]), Ok(&["latest"]))),
        (
            "expression in latest",
            (
                Some(&["master-a", "-branch--latest"]),
                Ok(&["master-a", "master-latest"]),
            ),
        ),
        ("equals sign in flavor", (Some(&["aa"]), Ok(&["a-b-a"]))),
        ("look-around", (Some(&[]), Err("look-around"))),
        ("back-reference", (Some(&[]), Err("backreferences"))),
        ("group that is no whole number", (Some(&[]), Err("a whole number"))),
    ]);
    let recorded: Recorded = serde_json::from_str(RECORDED).unwrap();
    let mut seen = BTreeSet::new();
    for case in &recorded.cases {
        let Some(difference) = case.difference.as_deref() else {
            continue;
        };
        seen.insert(difference);
        let made = answer(case);
        if difference == "long tag" {
            assert_eq!(made.unwrap().names, ["x".repeat(111) + "-6ee14c8caecd5c45"]);
            continue;
        }
        let (there, here) = means[difference];
        match &case.result {
            Answer::Made(there_made) => {
                assert_eq!(there, Some(&*texts(&there_made.names)), "{difference}");
            }
            Answer::Refused { .. } => assert_eq!(there, None, "{difference}"),
        }
        match (here, made) {
            (Ok(here), Ok(made)) => assert_eq!(texts(&made.names), here, "{difference}"),
            (Err(here), Err(made)) => assert!(made.contains(here), "{difference}: {made}"),
            (_, made) => panic!("{difference}: {made:?}"),
        }
        if let Some(labels) = &case.labels {
            assert!(made_labels(case, labels, "").is_err(), "{difference}");
        }
    }
    assert_eq!(seen.len(), means.len() + 1);
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
