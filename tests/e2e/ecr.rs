//! Amazon ECR before the build and when it fails: repositories, tags, rights, and what BuildKit really says.

use aws_stand_in::{Account, Answer, Resource};
use serde_json::json;

use crate::rig::busybox;
use crate::runner::{Ended, Runner};

/// Builds and pushes a small image that no other test makes.
fn run(account: &Account, inputs: &[(&str, &str)]) -> Ended {
    let dockerfile = format!("FROM {}\nLABEL account={}\n", busybox(), account.number());
    let runner = Runner::new()
        .with_keys_of(account)
        .file("Dockerfile", dockerfile);
    let tag = format!("{}/team/app:1", account.host());
    let step = runner.step().input("context", ".").input("tags", &tag);
    let inputs = inputs.iter();
    inputs
        .fold(step, |step, (name, value)| step.input(name, value))
        .run()
}

/// The role may not look: what is wrong shows only in the push.
fn blind(account: &Account) {
    for operation in [
        "DescribeRepositories",
        "BatchCheckLayerAvailability",
        "BatchGetImage",
        "InitiateLayerUpload",
    ] {
        account.api_fault(operation, 99, 400, "NotToday", "no");
    }
}

fn says(run: &Ended, words: &[&str]) {
    for words in words {
        assert!(run.log().contains(words), "no `{words}` in: {}", run.log());
    }
}

#[test]
fn a_repository_is_created_as_asked_for_and_pushed_to() {
    let account = Account::new();
    let run = run(
        &account,
        &[(
            "create-repository",
            "image-tag-mutability=IMMUTABLE,scan-on-push=true\ntag.team=web",
        )],
    )
    .succeeded();
    says(&run, &["created the repository `"]);
    assert!(
        run.values.summary.contains("created the repository"),
        "{}",
        run.values.summary
    );
    let (_, answer) = account.ecr(
        "DescribeRepositories",
        &json!({"repositoryNames": ["team/app"]}),
    );
    let made = &answer["repositories"][0];
    assert_eq!(made["imageTagMutability"], "IMMUTABLE", "{answer}");
    assert_eq!(made["imageScanningConfiguration"]["scanOnPush"], true);
    let (_, answer) = account.ecr("GetLifecyclePolicy", &json!({"repositoryName": "team/app"}));
    let policy = answer["lifecyclePolicyText"].to_string();
    assert!(policy.contains("untagged"), "{answer}");
    let (_, answer) = account.ecr(
        "DescribeImages",
        &json!({"repositoryName": "team/app", "imageIds": [{"imageTag": "1"}]}),
    );
    assert_eq!(
        answer["imageDetails"][0]["imageDigest"],
        run.output("digest")
    );
}

#[test]
fn an_immutable_tag_that_is_taken_is_refused_before_anything_is_asked_of_builder_or_registry() {
    let account = Account::new();
    account.repository("team/app").immutable().create();
    let first = run(&account, &[]).succeeded();
    let before = account.requests().len();
    let second = run(&account, &[]);
    assert_eq!(second.code, Some(3), "{}", second.log());
    let named = format!(
        "is IMMUTABLE, and these tags exist: `1` is {}",
        first.output("digest")
    );
    says(
        &second,
        &[&named, "hint: push a unique tag for every build"],
    );
    let groups = &second.log.groups;
    assert!(!groups.contains(&"Build".to_owned()), "{groups:?}");
    assert_eq!(account.requests().len(), before);
    assert_eq!(
        second.values.outputs.get("total-steps").map(String::as_str),
        Some("0")
    );
}

#[test]
fn a_push_that_fails_in_passing_is_tried_again_from_the_cache() {
    let account = Account::new();
    account.repository("team/app").create();
    let broken = Answer::Error {
        status: 503,
        code: String::new(),
        message: String::new(),
    };
    // BuildKit tries five times, with two requests each.
    account.registry_fault("PUT", Resource::Manifest, 12, broken);
    let run = run(&account, &[]).succeeded();
    says(
        &run,
        &[
            "503 Service Unavailable",
            "this is temporary: the push is tried again in",
            "Build, attempt 2",
        ],
    );
    assert!(
        run.values.summary.contains("1 retry"),
        "{}",
        run.values.summary
    );
    let requests = account.requests();
    let puts = requests
        .iter()
        .filter(|request| request.method == "PUT" && request.path.contains("/manifests/"));
    let statuses: Vec<u16> = puts.map(|put| put.status).collect();
    assert_eq!(statuses.last(), Some(&201), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 12);
}

/// What the registry says, through real BuildKit, gets the words of the catalogue.
#[test]
fn what_ecr_says_in_a_push_is_explained() {
    type Arrange = fn(&Account);
    let cases: [(&str, Arrange, &[&str]); 3] = [
        (
            "the tag is taken",
            |account| {
                account.repository("team/app").immutable().create();
                run(account, &[]).succeeded();
                blind(account);
            },
            &[
                "cannot be overwritten because the tag is immutable",
                "hint: the tag exists",
            ],
        ),
        (
            "there is no repository",
            blind,
            &[
                "/blobs/uploads/",
                "EOF",
                "hint: Amazon ECR ends an upload like this",
            ],
        ),
        (
            "one right is missing that can't be asked for beforehand",
            |account| {
                account.repository("team/app").create();
                account.deny("ecr:PutImage");
            },
            &["hint: the "],
        ),
    ];
    for (name, arrange, words) in cases {
        let account = Account::new();
        arrange(&account);
        let run = run(&account, &[("labels", &format!("again={name}"))]);
        assert_eq!(run.code, Some(1), "{name}: {}", run.log());
        for words in words {
            assert!(
                run.log().contains(words),
                "{name}: no `{words}` in: {}",
                run.log()
            );
        }
        assert!(!run.log().contains("tried again"), "{name}: {}", run.log());
    }
}
