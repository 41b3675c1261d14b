//! What BuildKit's own packages answered, recorded by `tests/record`: each line of `tests/recorded/*.jsonl` is a question and
//! the answer.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use dockerfile::{
    Arg, Build, Command, Dockerfile, Entry, Files, Heredoc, Ignore, Instruction, Kind, Platform,
    Reason, Run, Unsupported,
};
use serde_json::{Value, json};

/// Questions and answers of one kind.
fn recorded(kind: &str) -> Vec<(Value, Value)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/{kind}.jsonl"));
    let text = std::fs::read_to_string(&file).expect("recorded answers");
    let cases: Vec<_> = text
        .lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            (case["question"].clone(), case["answer"].clone())
        })
        .collect();
    assert!(cases.len() > 100, "{} cases in {file:?}", cases.len());
    cases
}

/// The crate leaves some Dockerfiles alone that BuildKit reads, and says so with a reason that is not a syntax error.
fn is_left_alone(error: &Unsupported) -> bool {
    !matches!(error.reason, Reason::Syntax(_))
}

fn is_about_durations(answer: &Value) -> bool {
    answer["error"]
        .as_str()
        .is_some_and(|text| text.contains("line") && text.contains(": time: "))
}

#[test]
fn reads_dockerfiles_as_buildkit_does() {
    let (mut equal, mut refused, mut left) = (0, 0, 0);
    for (question, answer) in recorded("read") {
        let text = question["text"].as_str().unwrap();
        let read = Dockerfile::read(text.as_bytes());
        match (&read, answer.get("ok")) {
            (Ok(file), Some(theirs)) => {
                let ours = file_json(file);
                assert_eq!(&ours, theirs, "{text:?}");
                equal += 1;
            }
            (Err(_), None) => refused += 1,
            // Values of HEALTHCHECK's options are BuildKit's to refuse.
            (Ok(_), None) if is_about_durations(&answer) => refused += 1,
            (Err(error), Some(_)) if is_left_alone(error) => left += 1,
            _ => panic!("{text:?}\nours: {read:?}\ntheirs: {answer}"),
        }
    }
    assert!(
        equal > left * 5 && refused > 0,
        "{equal} equal, {refused} refused, {left} left alone"
    );
}

fn file_json(file: &Dockerfile) -> Value {
    let stages: Vec<Value> = file
        .stages
        .iter()
        .map(|stage| {
            let instructions: Vec<Value> =
                stage.instructions.iter().map(instruction_json).collect();
            json!({
                "name": stage.name.clone().unwrap_or_default(),
                "base": stage.base,
                "platform": stage.platform.clone().unwrap_or_default(),
                "lines": [stage.lines.first, stage.lines.last],
                "instructions": instructions,
            })
        })
        .collect();
    json!({
        "syntax": file.syntax.as_ref().map(|syntax| syntax.image.clone()).unwrap_or_default(),
        "escape": file.escape.to_string(),
        "globals": file.globals.iter().map(|global| args_json(&global.args)).collect::<Vec<_>>(),
        "stages": stages,
    })
}

fn args_json(args: &[Arg]) -> Value {
    args.iter()
        .map(|arg| match &arg.default {
            Some(default) => json!([arg.name, default]),
            None => json!([arg.name]),
        })
        .collect()
}

fn text(value: Option<&String>) -> Value {
    json!(value.cloned().unwrap_or_default())
}

fn files_json(files: &Files) -> Value {
    json!({
        "paths": files.paths,
        "contents": files.documents.iter().map(|one| json!([one.name, one.content, one.expand])).collect::<Vec<_>>(),
        "to": files.to,
    })
}

fn command_json(command: &Command, heredocs: &[Heredoc]) -> Value {
    let (shell, words) = match command {
        Command::Exec(words) => (false, words.clone()),
        Command::Shell(text) => (true, text.iter().cloned().collect()),
    };
    let files: Vec<Value> = heredocs
        .iter()
        .map(|one| json!([one.name, one.body, one.chomp]))
        .collect();
    json!({ "shell": shell, "words": words, "files": files })
}

fn instruction_json(instruction: &Instruction) -> Value {
    let mut value = match &instruction.kind {
        Kind::Add(add) => {
            let mut value = files_json(&add.files);
            value["chown"] = text(add.chown.as_ref());
            value["chmod"] = text(add.chmod.as_ref());
            value["link"] = json!(add.link);
            value["checksum"] = text(add.checksum.as_ref());
            value["exclude"] = json!(add.exclude);
            value["keep-git-dir"] = json!(add.keep_git_dir);
            value["unpack"] = json!(add.unpack);
            value
        }
        Kind::Copy(copy) => {
            let mut value = files_json(&copy.files);
            value["chown"] = text(copy.chown.as_ref());
            value["chmod"] = text(copy.chmod.as_ref());
            value["link"] = json!(copy.link);
            value["from"] = text(copy.from.as_ref());
            value["parents"] = json!(copy.parents);
            value["exclude"] = json!(copy.exclude);
            value
        }
        Kind::Run(Run {
            command,
            mounts,
            network,
            security,
            ..
        }) => {
            let mut value = command_json(command, &instruction.heredocs);
            value["network"] = json!(network.as_deref().unwrap_or("default"));
            value["security"] = json!(security.as_deref().unwrap_or("sandbox"));
            value["mounts-from"] = mounts
                .iter()
                .map(|mount| mount.from.clone().unwrap_or_default())
                .collect();
            value
        }
        Kind::Cmd(command) | Kind::Entrypoint(command) => command_json(command, &[]),
        Kind::Env(pairs) | Kind::Label(pairs) => json!({ "pairs": pairs }),
        Kind::Arg(args) => json!({ "args": args_json(args) }),
        Kind::Expose(ports) => json!({ "ports": ports }),
        Kind::Volume(volumes) => json!({ "volumes": volumes }),
        Kind::User(text)
        | Kind::Workdir(text)
        | Kind::Stopsignal(text)
        | Kind::Maintainer(text)
        | Kind::Onbuild(text) => json!({ "text": text }),
        Kind::Shell(words) => json!({ "words": words }),
        Kind::Healthcheck(check) => {
            let test = match &check.command {
                None => vec!["NONE".to_owned()],
                Some(Command::Exec(words)) => std::iter::once("CMD".to_owned())
                    .chain(words.clone())
                    .collect(),
                Some(Command::Shell(text)) => std::iter::once("CMD-SHELL".to_owned())
                    .chain(text.clone())
                    .collect(),
            };
            json!({ "test": test })
        }
    };
    value["name"] = json!(instruction.kind.keyword());
    value["lines"] = json!([instruction.lines.first, instruction.lines.last]);
    value
}

#[test]
fn ignores_files_as_buildkit_does() {
    let (mut equal, mut refused, mut left) = (0, 0, 0);
    for (question, answer) in recorded("ignore") {
        let text = question["text"].as_str().unwrap();
        let paths: Vec<&str> = question["paths"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| path.as_str().unwrap())
            .collect();
        let read = Ignore::read(text.as_bytes());
        match (&read, answer.get("ok")) {
            (Ok(ignore), Some(theirs)) => {
                let ours: Vec<bool> = paths.iter().map(|path| ignore.excludes(path)).collect();
                assert_eq!(&json!(ours), theirs, "{text:?} {paths:?}");
                equal += 1;
            }
            (Err(_), None) => refused += 1,
            (Err(error), Some(_)) if is_left_alone(error) => left += 1,
            _ => panic!("{text:?}\nours: {read:?}\ntheirs: {answer}"),
        }
    }
    assert!(
        equal > left * 2 && refused > 0,
        "{equal} equal, {refused} refused, {left} left alone"
    );
}

/// BuildKit was asked for linux/arm64 on a builder for linux/amd64, with a resolver that knows every image and notes its name;
/// the history is what the Dockerfile adds to the base's.
#[test]
fn needs_the_images_that_buildkit_asks_for_and_knows_its_history() {
    let (mut equal, mut left) = (0, 0);
    for (question, answer) in recorded("image") {
        let text = question["text"].as_str().unwrap();
        let target = question["target"].as_str().unwrap();
        let build = Build {
            target: Some(target.to_owned()).filter(|target| !target.is_empty()),
            args: serde_json::from_value(question["args"].clone()).unwrap(),
            contexts: BTreeMap::new(),
            platform: Platform::parse("linux/arm64").ok(),
            builder: Platform::parse("linux/amd64").ok(),
        };
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let graph = match file.resolve(&build) {
            Ok(graph) => graph,
            Err(error) if is_left_alone(&error) => {
                left += 1;
                continue;
            }
            Err(error) => panic!("{text}\n{error}"),
        };
        let images: Vec<String> = graph
            .images()
            .iter()
            .map(|image| format!("{} {}", image.reference, image.platform.as_ref().unwrap()))
            .collect();
        assert_eq!(json!(images), answer["ok"]["images"], "{text}");
        let Ok(configuration) = graph.configuration() else {
            left += 1;
            continue;
        };
        let mut history = answer["ok"]["history"].as_array().unwrap().iter();
        for entry in &configuration.entries {
            match entry {
                Entry::Kept => assert!(history.next().is_some(), "{text}"),
                Entry::Removed(removed) => {
                    let entry = history.next().unwrap();
                    assert!(
                        entry[0].as_str().unwrap().starts_with(removed.keyword),
                        "{text}"
                    );
                    assert_eq!(entry[1], false, "{text}");
                }
            }
        }
        assert_eq!(history.next(), None, "{text}");
        equal += 1;
    }
    assert!(equal > left * 10, "{equal} equal, {left} left alone");
}
