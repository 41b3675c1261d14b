//! Amazon ECR before the build and when it fails: repositories, tags, rights, and what BuildKit really says.

use aws_stand_in::{Account, Answer, Fault, On, Resource};
use serde_json::json;

use crate::rig::busybox;
use crate::runner::{Ended, Runner};

/// Builds and pushes a small image that no other test makes.
fn run(account: &Account, inputs: &[(&str, &str)]) -> Ended {
    run_with(
        account,
        &format!("LABEL account={}", account.number()),
        inputs,
    )
}

/// Builds an instruction on a small base, and pushes.
pub(crate) fn run_with(account: &Account, instruction: &str, inputs: &[(&str, &str)]) -> Ended {
    let dockerfile = format!("FROM {}\n{instruction}\n", busybox());
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
    let second = run(&account, &[("if-exists", "fail")]);
    assert_eq!(second.code, Some(3), "{}", second.log());
    let named = format!(
        "is IMMUTABLE, and these tags exist: `1` is {}",
        first.output("digest")
    );
    says(
        &second,
        &[&named, "hint: `if-exists: same` accepts a build"],
    );
    let groups = &second.log.groups;
    assert!(!groups.contains(&"Build".to_owned()), "{groups:?}");
    assert_eq!(account.requests().len(), before);
    assert_eq!(
        second.values.outputs.get("total-steps").map(String::as_str),
        Some("0")
    );
}

/// What a job repeats when somebody clicks "re-run".
#[test]
fn a_repeated_build_is_accepted_where_it_gives_the_same_image() {
    let account = Account::new();
    account
        .repository("team/app")
        .immutable_except(&["latest", "buildcache*"])
        .create();
    let moving = format!("{0}/team/app:latest\n{0}/team/app:1", account.host());
    let first = run(&account, &[("tags", &moving)]).succeeded();
    let second = run(&account, &[("tags", &moving)]).succeeded();
    assert_eq!(second.output("digest"), first.output("digest"));

    // Another image: nothing moves, and both digests are said.
    let other = run(&account, &[("tags", &moving), ("labels", "another=one")]);
    assert_eq!(other.code, Some(1), "{}", other.log());
    let taken = format!(
        "but `{}/team/app:1` is {} and cannot move",
        account.host(),
        first.output("digest")
    );
    says(&other, &["hint: this build gave sha256:", &taken]);
    let latest = json!({"repositoryName": "team/app", "imageIds": [{"imageTag": "latest"}]});
    let (_, answer) = account.ecr("DescribeImages", &latest);
    assert_eq!(
        answer["imageDetails"][0]["imageDigest"],
        first.output("digest")
    );

    // And where any image will do, nothing is built.
    let inputs = [
        ("tags", &*moving),
        ("labels", "another=one"),
        ("if-exists", "skip"),
    ];
    let skipped = run(&account, &inputs).succeeded();
    let groups = &skipped.log.groups;
    assert!(!groups.contains(&"Build".to_owned()), "{groups:?}");
    for name in [
        "digest",
        "imageid",
        "image",
        "image-bytes",
        "registry",
        "tags",
        "version",
    ] {
        assert_eq!(skipped.output(name), first.output(name), "{name}");
    }
    let parse = |run: &Ended| -> serde_json::Value {
        serde_json::from_str(run.output("metadata")).unwrap()
    };
    let (ours, built) = (parse(&skipped), parse(&first));
    for key in ["containerimage.digest", "containerimage.config.digest"] {
        assert_eq!(ours[key], built[key], "{key}");
    }
    for key in ["digest", "size", "mediaType"] {
        assert_eq!(
            ours["containerimage.descriptor"][key], built["containerimage.descriptor"][key],
            "{key}"
        );
    }
}

/// The second tag fails until BuildKit gives up. Another build would have another provenance, and so another digest than the first tag.
#[test]
fn a_push_that_failed_after_its_first_tag_is_completed_with_the_same_image() {
    let account = Account::new();
    account
        .repository("team/app")
        .immutable_except(&["buildcache*"])
        .create();
    let broken = Answer::Error {
        status: 503,
        code: String::new(),
        message: String::new(),
    };
    account.fault(Fault {
        on: On::Registry("PUT".to_owned(), Resource::Manifest),
        repository: None,
        // The image's manifest, its provenance's, the index under the first tag.
        skip: 3,
        // BuildKit tries five times, with two requests each; then ours, once.
        times: 13,
        answer: broken,
    });
    let tags = format!("{0}/team/app:1\n{0}/team/app:2", account.host());
    let inputs = [
        ("tags", &*tags),
        ("provenance", "mode=max"),
        ("retries", "3"),
    ];
    let run = run(&account, &inputs).succeeded();
    let name = |tag: &str| format!("{}/team/app:{tag}", account.host());
    says(
        &run,
        &[
            "503 Service Unavailable",
            "this is temporary: the push is tried again in",
            &format!("`{}` was pushed; the same image, ", name("1")),
            &format!("now goes to `{}`", name("2")),
        ],
    );
    assert!(!run.log().contains("Build, attempt 2"), "{}", run.log());
    let both = json!({
        "repositoryName": "team/app",
        "imageIds": [{"imageTag": "1"}, {"imageTag": "2"}],
    });
    let (_, answer) = account.ecr("BatchGetImage", &both);
    let images = answer["images"].as_array().unwrap();
    assert_eq!(images.len(), 2, "{answer}");
    for image in images {
        assert_eq!(image["imageId"]["imageDigest"], run.output("digest"));
    }
    assert!(
        run.values.summary.starts_with("### Pushed "),
        "{}",
        run.values.summary
    );
    assert!(run.number("image-bytes") > 0.0);
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
