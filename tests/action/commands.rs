//! The commands that the documents show, run as they stand.
//!
//! Those of the page on setting up AWS have programs here that note what they are asked; Amazon's own command line runs them in
//! the end-to-end tests. The `run:` lines of workflows get the outputs of a real run, and the binary for its image.
#![expect(
    clippy::disallowed_methods,
    reason = "the commands of a page are what is under test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::pages::{blocks, documents};
use crate::runner::Runner;
use crate::workflows::{ACTION, Step, read};

/// Writes a script that stands for a program.
fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The shell that the runner gives a `run:` line, in a folder whose programs come first.
fn bash(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .current_dir(folder);
    command
}

/// Runs it, which must go well and say nothing on standard error; what it printed.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// `id.name` of each `steps.id.outputs.name` in a text.
fn outputs_of_steps(text: &str) -> Vec<(String, String)> {
    let expression = regex::Regex::new(r"steps\.([\w-]+)\.outputs\.([\w-]+)").unwrap();
    expression
        .captures_iter(text)
        .map(|found| (found[1].to_owned(), found[2].to_owned()))
        .collect()
}

/// Whether the step of that name is this action.
fn is_ours(steps: &[Step], id: &str) -> bool {
    steps
        .iter()
        .any(|step| step.id.as_deref() == Some(id) && step.uses.as_deref() == Some(ACTION))
}

#[test]
fn every_output_that_a_later_step_reads_is_one_that_a_run_writes() {
    let written = Runner::new().run().exits(0).outputs;
    let mut read_outputs = 0;
    for (name, text) in documents() {
        for (line, block) in blocks(&text, "yaml") {
            let place = format!("{name}:{line}");
            let steps = read(&block, &place);
            for (id, output) in outputs_of_steps(&block) {
                if is_ours(&steps, &id) {
                    read_outputs += 1;
                    assert!(
                        written.contains_key(&output),
                        "{place}: no output `{output}`"
                    );
                }
            }
        }
    }
    assert!(read_outputs >= 2, "{read_outputs}");
}

#[test]
fn the_run_lines_of_workflows_do_what_they_show() {
    let ran = Runner::new().run().exits(0);
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.md");
    fs::create_dir(folder.path().join("timings")).unwrap();
    for driver in ["docker", "kubernetes"] {
        let timings = ran.outputs["timings"].replace("\"docker\"", &format!("\"{driver}\""));
        let file = format!("timings/{driver}.json");
        fs::write(folder.path().join(file), timings).unwrap();
    }
    // The image's entry point is the binary, which sees the mounted folder under its other name.
    let binary = env!("CARGO_BIN_EXE_fast-ecr-push");
    program(
        folder.path(),
        "docker",
        &[
            r#"[ "$1 $2 $3" = "run --rm --volume" ] && [[ "$5" == ghcr.io/org/fast-ecr-push:* ]] || exit 9"#,
            r#"from=${4%%:*} to=${4##*:} last=${!#}"#,
            &format!(r#"exec {binary} "${{@:6:$#-6}}" "$from${{last#"$to"}}""#),
        ]
        .join("\n"),
    );
    let mut lines = 0;
    for (name, text) in documents() {
        for (line, block) in blocks(&text, "yaml") {
            let place = format!("{name}:{line}");
            for step in read(&block, &place) {
                let Some(script) = step.run else { continue };
                lines += 1;
                let mut values = BTreeMap::new();
                for (variable, expression) in &step.env {
                    let [(_, output)] = &outputs_of_steps(expression)[..] else {
                        panic!("{place}: {expression}");
                    };
                    values.insert(variable.clone(), ran.outputs[output].clone());
                }
                let mut command = bash(folder.path(), &script);
                command.env("GITHUB_STEP_SUMMARY", &summary).envs(&values);
                let log = printed(&mut command);
                for value in values.values() {
                    assert!(log.contains(value), "{place}: {log}");
                }
            }
        }
    }
    assert!(lines >= 2, "{lines}");
    let table = fs::read_to_string(&summary).unwrap();
    for driver in ["docker", "kubernetes"] {
        assert!(table.contains(driver), "{table}");
    }
}

#[test]
fn the_plan_that_the_readme_shows_needs_nothing_but_its_facts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, script) = blocks(&readme, "sh")
        .into_iter()
        .find(|(_, block)| block.starts_with("fast-ecr-push plan"))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_fast-ecr-push");
    program(
        folder.path(),
        "fast-ecr-push",
        &format!("exec env --ignore-environment HOME=/nowhere {binary} \"$@\""),
    );
    let plan = printed(&mut bash(folder.path(), &script));
    let plan: serde_json::Value = serde_json::from_str(&plan).expect(&plan);
    let name = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1.0";
    assert_eq!(plan["images"][0]["tags"], serde_json::json!([name]));
}

#[test]
fn the_commands_that_set_up_aws_run_as_they_stand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/setup.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The policy that the action gives to repositories of its own: a test there compares it with this page.
    let kept = fs::read_to_string(root.join("docs/cache.md")).unwrap();
    let kept = blocks(&kept, "json")
        .into_iter()
        .map(|(_, block)| block)
        .find(|block| block.contains("rulePriority"))
        .unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    for name in ["aws", "kubectl"] {
        program(folder.path(), name, &format!("echo {name} \"$@\" >>calls"));
    }
    let commands: Vec<String> = blocks(&page, "sh")
        .into_iter()
        .map(|(_, block)| block)
        .collect();
    printed(&mut bash(folder.path(), &commands.join("\n")));
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    assert!(calls.lines().count() >= 9, "{calls}");
    for word in calls.split_whitespace() {
        if let Some(name) = word.strip_prefix("file://") {
            let text = fs::read_to_string(folder.path().join(name)).expect(name);
            let policy: serde_json::Value = serde_json::from_str(&text).expect(&text);
            if name == "policy.json" {
                assert_eq!(policy, kept);
            } else {
                assert_eq!(policy["Version"], "2012-10-17", "{name}");
            }
            assert!(!text.contains('$'), "{text}");
        } else if word.starts_with("examples/") {
            assert!(root.join(word).is_file(), "{word}");
        }
    }
}
