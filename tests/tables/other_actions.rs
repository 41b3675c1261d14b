//! The page `docs/inputs-of-other-actions.md` against the sources of truth.
//!
//! Those are the other actions' `action.yml` (their names, with the commit, in `tests/fixtures/inputs/actions.json`), our table
//! of inputs, and our outputs.

use std::collections::BTreeMap;

use crate::inputs::SPECS;
use crate::report::outputs::OUTPUTS;

const PAGE: &str = include_str!("../../docs/inputs-of-other-actions.md");
const ACTIONS: &str = include_str!("../fixtures/inputs/actions.json");

#[derive(serde::Deserialize)]
struct Action {
    commit: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

/// A row: name in the other action, what stands for it here, and a remark.
struct Row<'a> {
    name: &'a str,
    ours: &'a str,
    remark: &'a str,
}

/// The rows of the table under `### <heading>` in the section of an action.
fn rows<'a>(section: &'a str, heading: &str) -> Vec<Row<'a>> {
    let (_, rest) = section.split_once(&format!("### {heading}\n")).unwrap();
    let table = rest.split("\n#").next().unwrap();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [name, ours, remark] = cells.as_slice() else {
                panic!("three cells expected: {line}");
            };
            let name = name.trim_matches('`');
            Row { name, ours, remark }
        })
        .collect()
}

/// The names in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn check(action: &str, section: &str, heading: &str, names: &[String], is_ours: fn(&str) -> bool) {
    let rows = rows(section, heading);
    let mut listed: Vec<&str> = rows.iter().map(|row| row.name).collect();
    let mut expected: Vec<&str> = names.iter().map(String::as_str).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected, "{action}, {heading}");
    for Row { name, ours, remark } in rows {
        let place = format!("{action}, {heading}, `{name}`: {ours}");
        match ours {
            "non-goal" => assert!(remark.len() > 10, "{place}: no reason given"),
            _ => {
                assert!(!quoted(ours).is_empty(), "{place}");
                for name in quoted(ours) {
                    assert!(is_ours(name), "{place}: we have no `{name}`");
                }
            }
        }
    }
}

#[test]
fn every_name_of_the_other_actions_is_accounted_for() {
    let actions: BTreeMap<String, Action> = serde_json::from_str(ACTIONS).unwrap();
    assert_eq!(actions.len(), 5);
    for (name, action) in &actions {
        let heading = format!("\n## {name}\n");
        let (_, section) = PAGE.split_once(&heading).unwrap();
        let section = section.split("\n## ").next().unwrap();
        assert!(section.contains(&action.commit), "{name}: which commit?");
        let is_input = |name: &str| SPECS.iter().any(|spec| spec.name == name);
        let is_output = |name: &str| OUTPUTS.iter().any(|(output, _)| *output == name);
        check(name, section, "Inputs", &action.inputs, is_input);
        check(name, section, "Outputs", &action.outputs, is_output);
    }
}

#[test]
fn every_input_of_build_push_action_is_ours_by_name() {
    let actions: BTreeMap<String, Action> = serde_json::from_str(ACTIONS).unwrap();
    let missing: Vec<&str> = actions["docker/build-push-action"]
        .inputs
        .iter()
        .map(String::as_str)
        .filter(|name| SPECS.iter().all(|spec| spec.name != *name))
        .collect();
    assert_eq!(missing, [""; 0]);
}
