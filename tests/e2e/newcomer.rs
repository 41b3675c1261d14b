//! The ten minutes that the README promises: its set-up with Amazon's own command line, then its first workflow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_stand_in::Account;
use serde_json::{Value, json};

use crate::pages::blocks;
use crate::rig::{busybox, variable};
use crate::runner::Runner;

/// The account of the documents, which a reader replaces by their own.
const EXAMPLE: &str = "123456789012";

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// A shell of somebody who may do everything in the account; `aws` is Amazon's, `kubectl` does nothing.
fn shell(account: &Account, folder: &Path, script: &str) -> String {
    let aws = variable("RIG_AWS_CLI");
    let script = format!("aws() {{ {aws} \"$@\"; }}\nkubectl() {{ :; }}\n{script}");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .envs(account.variables())
        .env("NO_PROXY", "*")
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the page on setting up has to copy, with the account's number.
fn setup(account: &Account) -> String {
    let text = page("docs/setup.md");
    let commands: Vec<String> = blocks(&text, "sh")
        .into_iter()
        .map(|(_, block)| block.replace(EXAMPLE, account.number()))
        .collect();
    commands.join("\n")
}

#[test]
fn somebody_who_copies_setup_and_first_workflow_has_pushed() {
    let account = Account::new();
    let folder = tempfile::tempdir().unwrap();
    // The cluster is there already, where there is one.
    let cluster = format!(
        "export AWS_DEFAULT_REGION=eu-west-1\n\
         aws eks create-cluster --name builders --resources-vpc-config subnetIds=subnet-1 \
         --role-arn {} >/dev/null\n",
        account.role("cluster")
    );
    shell(&account, folder.path(), &(cluster + &setup(&account)));
    assert_eq!(account.calls("CreateAccessEntry").len(), 1);
    let shown = shell(
        &account,
        folder.path(),
        "export AWS_DEFAULT_REGION=eu-west-1\n\
         aws iam get-role --role-name fast-ecr-push --query Role.AssumeRolePolicyDocument\n",
    );
    let trust: Value = serde_json::from_str(&shown).unwrap();
    let provider = format!(
        "arn:aws:iam::{}:oidc-provider/token.actions.githubusercontent.com",
        account.number()
    );
    assert_eq!(trust["Statement"][0]["Principal"]["Federated"], provider);

    let readme = page("README.md");
    let (_, block) = &blocks(&readme, "yaml")[0];
    let workflow: Value =
        serde_saphyr::from_str(&block.replace(EXAMPLE, account.number())).unwrap();
    let inputs = workflow["jobs"]["image"]["steps"][0]["with"].as_object();
    let runner = Runner::new().with_tokens_for(&account).file(
        "Dockerfile",
        format!("FROM {}\nRUN echo {} > /x\n", busybox(), account.number()),
    );
    // Instead of the commit on GitHub, a checkout of it: the README says how.
    let step = inputs
        .unwrap()
        .iter()
        .fold(runner.step(), |step, (name, value)| {
            step.input(name, value.as_str().unwrap())
        });
    let run = step.input("context", ".").run().succeeded();
    assert_eq!(runner.leftovers(), Vec::<PathBuf>::new());
    // By its tag: beside the image stands its cache.
    let asked = json!({
        "repositoryName": "team/app",
        "imageIds": [{ "imageTag": run.output("version") }],
    });
    let (status, answer) = account.ecr("DescribeImages", &asked);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["imageDetails"][0]["imageDigest"],
        run.output("digest")
    );
    assert!(run.annotations("error").is_empty() && run.annotations("warning").is_empty());
}

#[test]
fn the_cache_pages_commands_work_on_a_repository_that_is_there() {
    let account = Account::new();
    account.repository("team/app").create();
    let folder = tempfile::tempdir().unwrap();
    let text = page("docs/cache.md");
    let policy = blocks(&text, "json")
        .into_iter()
        .map(|(_, block)| block)
        .find(|block| block.contains("rulePriority"));
    fs::write(folder.path().join("policy.json"), policy.unwrap()).unwrap();
    let commands: Vec<String> = blocks(&text, "sh")
        .into_iter()
        .map(|(_, block)| block)
        .collect();
    assert!(commands.len() >= 2);
    let script = format!(
        "export AWS_DEFAULT_REGION=eu-west-1\n{}",
        commands.join("\n")
    );
    shell(&account, folder.path(), &script);
    let asked = json!({ "repositoryName": "team/app" });
    let (status, answer) = account.ecr("GetLifecyclePolicy", &asked);
    assert_eq!(status, 200, "{answer}");
    let (_, answer) = account.ecr(
        "DescribeRepositories",
        &json!({ "repositoryNames": ["team/app"] }),
    );
    let mutability = &answer["repositories"][0]["imageTagMutability"];
    assert_eq!(mutability, "IMMUTABLE_WITH_EXCLUSION");
}
