//! What would fail after the build is found before it: Amazon ECR's repositories, tags and rights.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ecr::{Answer, Ecr, HOST};
use crate::engine::Store;
use crate::ran::Ran;
use crate::runner::{Runner, recorded};

fn ecr() -> Ecr {
    Ecr::answering(&[Answer::Token("password-0123456789", 720)])
}

fn runner(ecr: &Ecr) -> Runner {
    ecr.serve(Runner::new()).input(
        "tags",
        &format!("{HOST}/team/app:1\n{HOST}/team/app:latest"),
    )
}

fn repository(mutability: &str, filters: &[&str]) -> Value {
    let filters: Vec<Value> = filters
        .iter()
        .map(|filter| json!({"filterType": "WILDCARD", "filter": filter}))
        .collect();
    json!({
        "repositoryName": "team/app",
        "imageTagMutability": mutability,
        "imageTagMutabilityExclusionFilters": filters,
    })
}

/// An answer of `BatchGetImage` with these tags.
fn images(tags: &[&str]) -> Answer {
    let images: Vec<Value> = tags
        .iter()
        .map(|tag| json!({"imageId": {"imageTag": tag, "imageDigest": "sha256:ab"}}))
        .collect();
    Answer::Json(json!({"images": images, "failures": []}))
}

fn built_nothing(ran: &Ran) {
    assert!(!ran.verbs().contains(&"build"), "{:?}", ran.calls);
}

#[test]
fn the_rights_to_push_are_enough_to_push() {
    let ecr = ecr();
    let ran = runner(&ecr).run().exits(0);
    assert!(ran.verbs().contains(&"build"));
    assert_eq!(ran.annotations("warning"), [""; 0]);
    assert_eq!(ran.annotations("notice"), [""; 0]);
    assert_eq!(ecr.asked("DescribeRepositories").len(), 1);
    assert_eq!(ecr.asked("CreateRepository").len(), 0);
}

#[test]
fn an_immutable_tag_that_is_taken_is_refused_before_the_build() {
    let ecr = ecr()
        .with_repository(&repository("IMMUTABLE_WITH_EXCLUSION", &["lat*"]))
        .on("BatchGetImage", &[images(&["1", "latest"])]);
    let ran = runner(&ecr).input("if-exists", "fail").run().exits(3);
    ran.says(&format!(
        "the repository `{HOST}/team/app` is IMMUTABLE_WITH_EXCLUSION, and these tags exist: `1` is sha256:ab"
    ))
    .says("hint: `if-exists: same` accepts a build that gives the same digest")
    .says("push a unique tag, such as `type=sha`");
    assert_eq!(ran.verbs(), ["version"]);
    let asked = &ecr.asked("BatchGetImage")[0];
    assert_eq!(
        asked["imageIds"],
        json!([{"imageTag": "1"}, {"imageTag": "latest"}])
    );
    assert_eq!(asked["registryId"], "123456789012");
    assert!(
        ran.summary.starts_with("### Failed to build "),
        "{}",
        ran.summary
    );
}

/// What `BatchGetImage` answers about tags of one manifest.
fn with_manifest(tags: &[&str], manifest: &str) -> (String, Answer) {
    let digest = Sha256::digest(manifest.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{digest}");
    let images: Vec<Value> = tags
        .iter()
        .map(|tag| {
            json!({
                "imageId": {"imageTag": tag, "imageDigest": digest},
                "imageManifest": manifest,
            })
        })
        .collect();
    (
        digest,
        Answer::Json(json!({"images": images, "failures": []})),
    )
}

fn manifest() -> String {
    let descriptor = |character: &str, size: u64| {
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
            "digest": format!("sha256:{}", character.repeat(64)),
            "size": size,
        })
    };
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("a", 10),
        "layers": [descriptor("b", 100), descriptor("c", 1000)],
    })
    .to_string()
}

/// A re-run pushes again what an earlier run pushed: BuildKit finds an equal digest and sends nothing.
#[test]
fn an_immutable_tag_that_is_taken_is_built_again() {
    let (_, answer) = with_manifest(&["1"], &manifest());
    let ecr = ecr()
        .with_repository(&repository("IMMUTABLE_WITH_EXCLUSION", &["lat*"]))
        .on("BatchGetImage", &[answer]);
    let ran = runner(&ecr).run().exits(0);
    // The tag that must not differ is pushed first: nothing has moved if it does.
    let build = ran.calls.iter().find(|call| call.starts_with("build "));
    let (taken, free) = (format!("--tag {HOST}/team/app:1 "), "app:latest");
    let build = build.unwrap();
    assert!(
        build.find(&taken).unwrap() < build.find(free).unwrap(),
        "{build}"
    );
}

#[test]
fn a_push_that_would_change_an_immutable_tag_says_both_digests() {
    let (digest, answer) = with_manifest(&["1"], &manifest());
    let ecr = ecr()
        .with_repository(&repository("IMMUTABLE", &[]))
        .on("BatchGetImage", &[answer]);
    let refused = recorded("push-forbidden").replace(
        "403 Forbidden",
        "tag invalid: The image tag '1' already exists in the 'team/app' repository and cannot be overwritten because the tag is immutable.",
    );
    let ran = runner(&ecr).stream(&refused).run().exits(1);
    assert_eq!(
        ran.verbs().iter().filter(|verb| **verb == "build").count(),
        1
    );
    ran.says("cannot be overwritten because the tag is immutable")
        .says(&format!(
            "but `{HOST}/team/app:1` is {digest} and cannot move"
        ))
        .says("`if-exists: skip` ends with the existing image");
}

#[test]
fn an_existing_image_ends_the_run_where_that_is_wanted() {
    let manifest = manifest();
    let (digest, answer) = with_manifest(&["1"], &manifest);
    let ecr = ecr()
        .with_repository(&repository("IMMUTABLE_WITH_EXCLUSION", &["lat*"]))
        .on("BatchGetImage", &[answer]);
    let ran = runner(&ecr).input("if-exists", "skip").run().exits(0);
    assert_eq!(ran.verbs(), ["version"]);
    let reference = format!("{HOST}/team/app@{digest}");
    ran.says(&format!(
        "nothing was built (`if-exists: skip`): all immutable tags exist, `{reference}`"
    ));
    let summary = format!("### Nothing was built: `{HOST}/team/app:1` exists");
    assert!(ran.summary.starts_with(&summary), "{}", ran.summary);
    for (name, expected) in [
        ("digest", digest.clone()),
        ("imageid", format!("sha256:{}", "a".repeat(64))),
        ("image", reference),
        ("image-bytes", "1110".to_owned()),
        ("registry", HOST.to_owned()),
        ("tags", format!("{HOST}/team/app:1\n{HOST}/team/app:latest")),
        ("version", "1".to_owned()),
    ] {
        assert_eq!(ran.outputs[name], expected, "{name}");
    }
    let metadata: Value = serde_json::from_str(&ran.outputs["metadata"]).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(
        metadata["containerimage.descriptor"]["size"],
        manifest.len()
    );
}

/// Nothing ends early unless the whole image is there, under tags that stay.
#[test]
fn what_is_not_there_is_built() {
    let one = with_manifest(&["1"], &manifest()).1;
    let damaged = Answer::Json(json!({"failures": [], "images": [{
        "imageId": {"imageTag": "1", "imageDigest": format!("sha256:{}", "a".repeat(64))},
        "imageManifest": manifest(),
    }]}));
    let cases = [
        (
            "a tag is missing",
            repository("IMMUTABLE", &[]),
            one.clone(),
        ),
        ("no tag is there", repository("IMMUTABLE", &[]), images(&[])),
        ("all tags move", repository("MUTABLE", &[]), one),
        (
            "the manifest is another",
            repository("IMMUTABLE_WITH_EXCLUSION", &["lat*"]),
            damaged,
        ),
    ];
    for (name, settings, answer) in cases {
        let ecr = ecr()
            .with_repository(&settings)
            .on("BatchGetImage", &[answer]);
        let ran = runner(&ecr).input("if-exists", "skip").run().exits(0);
        assert!(ran.verbs().contains(&"build"), "{name}");
    }
}

#[test]
fn two_images_under_the_tags_of_one_are_refused_before_the_build() {
    let images = json!({"failures": [], "images": [
        {"imageId": {"imageTag": "1", "imageDigest": "sha256:ab"}},
        {"imageId": {"imageTag": "latest", "imageDigest": "sha256:cd"}},
    ]});
    for mode in ["same", "skip"] {
        let ecr = ecr()
            .with_repository(&repository("IMMUTABLE", &[]))
            .on("BatchGetImage", &[Answer::Json(images.clone())]);
        let ran = runner(&ecr).input("if-exists", mode).run().exits(3);
        built_nothing(&ran);
        ran.says("`1` is sha256:ab, `latest` is sha256:cd")
            .says("hint: the tags name different images");
    }
}

#[test]
fn tags_that_may_move_and_tags_that_are_free_are_pushed() {
    let cases = [
        (repository("MUTABLE", &[]), images(&["1", "latest"])),
        (repository("IMMUTABLE", &[]), images(&[])),
        (
            repository("MUTABLE_WITH_EXCLUSION", &["v*"]),
            images(&["1", "latest"]),
        ),
        (
            repository("IMMUTABLE_WITH_EXCLUSION", &["1", "latest"]),
            images(&["1", "latest"]),
        ),
        (repository("SOMETHING_NEW", &[]), images(&["1", "latest"])),
    ];
    for (settings, images) in cases {
        let ecr = ecr()
            .with_repository(&settings)
            .on("BatchGetImage", &[images]);
        runner(&ecr).run().exits(0);
    }
}

#[test]
fn a_repository_that_does_not_exist_ends_the_run_at_once() {
    let ecr = ecr().without_repository();
    let ran = runner(&ecr).run().exits(3);
    ran.says(&format!("the repository `{HOST}/team/app` does not exist"))
        .says("hint: set `create-repository: true`, or run `aws ecr create-repository --repository-name team/app --region eu-west-1`");
    built_nothing(&ran);
}

/// A role without `ecr:DescribeRepositories`.
#[test]
fn the_first_question_of_a_push_tells_of_a_missing_repository_too() {
    let denied = Answer::Error("AccessDeniedException", "no");
    let ecr = ecr()
        .without_repository()
        .on("DescribeRepositories", &[denied]);
    runner(&ecr).run().exits(3).says("does not exist");
}

#[test]
fn a_repository_that_ecr_creates_by_a_template_is_no_error() {
    let begun = Answer::Json(json!({"uploadId": "x", "partSize": 1}));
    let made = ecr()
        .without_repository()
        .on("InitiateLayerUpload", &[begun]);
    runner(&made)
        .run()
        .exits(0)
        .says("Amazon ECR created the repository");
    let templates = json!({"repositoryCreationTemplates": [
        {"prefix": "other", "appliedFor": ["CREATE_ON_PUSH"]},
        {"prefix": "team", "appliedFor": ["REPLICATION", "CREATE_ON_PUSH"]},
    ]});
    let told = ecr().without_repository().on(
        "DescribeRepositoryCreationTemplates",
        &[Answer::Json(templates)],
    );
    runner(&told).run().exits(0);
}

#[test]
fn a_repository_is_created_as_asked_for() {
    let created = Answer::Json(json!({"repository": {"repositoryName": "team/app"}}));
    let ecr = ecr()
        .without_repository()
        .on("CreateRepository", &[created])
        .on("PutLifecyclePolicy", &[Answer::Json(json!({}))]);
    let ran = runner(&ecr)
        .input(
            "create-repository",
            "image-tag-mutability=IMMUTABLE_WITH_EXCLUSION\n\
             image-tag-mutability-exclusion-filter=buildcache*,scan-on-push=true\n\
             kms-key=alias/ecr\ntag.team=web",
        )
        .run()
        .exits(0);
    ran.says(&format!("created the repository `{HOST}/team/app`"));
    assert!(
        ran.summary.contains("created the repository"),
        "{}",
        ran.summary
    );
    assert_eq!(
        ecr.asked("CreateRepository"),
        [json!({
            "registryId": "123456789012",
            "repositoryName": "team/app",
            "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "buildcache*"}],
            "imageScanningConfiguration": {"scanOnPush": true},
            "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "alias/ecr"},
            "tags": [{"Key": "team", "Value": "web"}],
        })]
    );
    let policy = ecr.asked("PutLifecyclePolicy")[0]["lifecyclePolicyText"].clone();
    assert!(policy.as_str().unwrap().contains("buildcache*"), "{policy}");
}

#[test]
fn another_run_that_was_faster_has_created_it_as_well() {
    let exists = Answer::Error("RepositoryAlreadyExistsException", "it exists");
    let ecr = ecr().without_repository().on("CreateRepository", &[exists]);
    let ran = runner(&ecr)
        .input("create-repository", "true")
        .run()
        .exits(0);
    ran.says("another run has just created the repository");
    assert_eq!(ecr.asked("PutLifecyclePolicy").len(), 0);
}

#[test]
fn a_lifecycle_policy_may_be_a_file_or_none() {
    let of_file = "{\"rules\":[{\"rulePriority\":1}]}";
    for (input, expected) in [("none", None), ("policy.json", Some(of_file))] {
        let created = Answer::Json(json!({"repository": {}}));
        let ecr = ecr()
            .without_repository()
            .on("CreateRepository", &[created])
            .on("PutLifecyclePolicy", &[Answer::Json(json!({}))]);
        runner(&ecr)
            .file("workspace/policy.json", of_file)
            .input("create-repository", &format!("lifecycle-policy={input}"))
            .run()
            .exits(0);
        let put = ecr.asked("PutLifecyclePolicy");
        let text = put
            .first()
            .and_then(|body| body["lifecyclePolicyText"].as_str());
        assert_eq!(text, expected);
    }
    let ecr = ecr();
    runner(&ecr)
        .file("workspace/policy.json", "rules")
        .input("create-repository", "lifecycle-policy=policy.json")
        .run()
        .exits(2)
        .says("input `create-repository`: `policy.json` given, expected a lifecycle policy, a file with JSON")
        .started_nothing();
}

#[test]
fn rights_that_a_push_needs_are_named_before_the_build() {
    let denied = |action: &str| {
        let words = format!(
            "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: ecr:{action}"
        );
        Answer::Error("AccessDeniedException", words.leak())
    };
    let ecr = ecr()
        .on("InitiateLayerUpload", &[denied("InitiateLayerUpload")])
        .on("CompleteLayerUpload", &[denied("CompleteLayerUpload")]);
    let ran = runner(&ecr).run().exits(3);
    ran.says(&format!(
        "the role may not push to `{HOST}/team/app`, it lacks ecr:InitiateLayerUpload, ecr:CompleteLayerUpload: User: arn:aws:sts::1:assumed-role/r/s"
    ))
    .says("arn:aws:ecr:eu-west-1:123456789012:repository/team/app");
    built_nothing(&ran);
}

#[test]
fn what_may_not_be_created_is_said_with_the_policy() {
    let ecr = ecr().without_repository();
    runner(&ecr)
        .input("create-repository", "true")
        .run()
        .exits(3)
        .says("could not create the repository")
        .says("ecr:CreateRepository");
}

#[test]
fn a_key_that_can_not_be_used_is_said() {
    let broken = Answer::Error("KmsException", "the key is disabled");
    let ecr = ecr().on("InitiateLayerUpload", &[broken]);
    runner(&ecr)
        .run()
        .exits(3)
        .says("accepts no upload")
        .says("hint: the repository's KMS key is unusable");
}

#[test]
fn a_caches_tag_that_can_not_move_stops_the_run_unless_the_cache_may_fail() {
    for (more, code) in [("", 3), (",ignore-error=true", 0)] {
        let ecr = ecr()
            .with_repository(&repository("IMMUTABLE", &[]))
            .on("BatchGetImage", &[images(&["cache"])]);
        let ran = runner(&ecr)
            .input(
                "cache-to",
                &format!("type=registry,ref={HOST}/team/app:cache{more}"),
            )
            .run()
            .exits(code);
        ran.says(&format!(
            "the cache cannot be written to `{HOST}/team/app:cache`"
        ))
        .says("filterType=WILDCARD,filter=cache");
    }
}

/// What is found beside the boot changes the plan, the builder stays.
#[test]
fn a_cache_of_ours_goes_where_tags_may_move() {
    let cases = [
        (repository("MUTABLE", &[]), "type=registry,", ""),
        (
            repository("IMMUTABLE_WITH_EXCLUSION", &["latest"]),
            "type=inline",
            "the cache is kept in the image",
        ),
        (
            repository("IMMUTABLE", &[]),
            "",
            "no cache is written: the tags of",
        ),
    ];
    for (settings, cache, words) in cases {
        let ecr = ecr().with_repository(&settings);
        let ran = runner(&ecr)
            .engine(Store::Classic)
            .input("cache", "auto")
            .run()
            .exits(0);
        let builds = ran.calls.iter().filter(|call| call.starts_with("build "));
        let exports: Vec<&str> = builds
            .filter_map(|call| call.split_once("--cache-to "))
            .map(|(_, export)| export)
            .collect();
        assert_eq!(exports.len(), usize::from(!cache.is_empty()), "{exports:?}");
        assert!(
            exports.iter().all(|export| export.starts_with(cache)),
            "{exports:?}"
        );
        ran.says(words);
        assert_eq!(
            ran.verbs().iter().filter(|verb| **verb == "create").count(),
            1
        );
    }
}

#[test]
fn a_repository_for_caches_only_may_be_missing_where_the_cache_may_fail() {
    let ecr = ecr().without_repository();
    let ran = ecr
        .serve(Runner::new())
        .input("tags", "registry.test/team/app:1")
        .input(
            "cache-to",
            &format!("type=registry,ref={HOST}/team/app:c,ignore-error=true"),
        )
        .run()
        .exits(0);
    assert_eq!(ran.annotations("warning").len(), 1, "{}", ran.log);
    ran.says("does not exist");
}

#[test]
fn an_ecr_that_does_not_answer_holds_nobody_up() {
    let ecr = ecr().on("DescribeRepositories", &[Answer::Silence]);
    let ran = runner(&ecr).run().exits(0);
    ran.says("is not checked: Amazon ECR did not answer within ");
    assert!(ran.took < Duration::from_secs(12), "{:?}", ran.took);
}

/// The boot of the builder goes on beside the questions, and ends with their answer.
#[test]
fn a_refusal_stops_the_builder_that_boots_and_removes_it() {
    let ecr = ecr().without_repository();
    // Else the boot may be stopped before buildx has said that it was called.
    ecr.wait(true);
    let mut running = runner(&ecr)
        .engine(Store::Classic)
        .buildx("create.hold", "")
        .start();
    running.wait_until_held();
    ecr.wait(false);
    let ran = running.finish().exits(3);
    ran.says("does not exist").removed_its_builder();
    assert_eq!(ran.verbs(), ["version", "create"]);
    assert!(ran.took < Duration::from_secs(12), "{:?}", ran.took);
}

#[test]
fn a_repository_without_a_lifecycle_policy_is_a_fact_for_the_report() {
    let none = Answer::Error("LifecyclePolicyNotFoundException", "none");
    let ecr = ecr()
        .with_repository(&repository("MUTABLE", &[]))
        .on("GetLifecyclePolicy", &[none]);
    let ran = runner(&ecr).run().exits(0);
    assert_eq!(ran.annotations("warning"), [""; 0]);
    let preflight = serde_json::from_str::<Value>(&ran.outputs["timings"]).unwrap();
    let text = preflight.to_string();
    assert!(text.contains("\"preflight\""), "{text}");
}

/// A stage of no time would look like one that was looked at and found fast.
#[test]
fn what_was_not_done_is_no_stage() {
    let stages = |ran: &Ran| {
        let timings = serde_json::from_str::<Value>(&ran.outputs["timings"]).unwrap();
        let text = timings.to_string();
        ["\"logins\"", "\"preflight\""].map(|name| text.contains(name))
    };
    let elsewhere = Runner::new().input("tags", "registry.test/team/app:1");
    assert_eq!(stages(&elsewhere.run().exits(0)), [false, false]);
    let base = ecr();
    let reads = base.serve(Runner::new());
    let reads = reads.input("tags", "registry.test/team/app:1");
    let reads = reads.input("registries", HOST);
    assert_eq!(stages(&reads.run().exits(0)), [true, false]);
    assert_eq!(stages(&runner(&ecr()).run().exits(0)), [true, true]);
}
