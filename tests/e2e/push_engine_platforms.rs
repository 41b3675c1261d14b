//! The push engine and images for several platforms: an image for each, and an index of them under the tags.
//!
//! The rig's builders build for variants of one architecture. crates/step/tests/buildkit.rs has another architecture.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::faulty::{Fault, Front, Rule};
use crate::push_engine::{INSTEAD, by_engine, is_by_engine};
use crate::registry::{get, manifest};
use crate::rig::{Action, container_options, registry, variable};
use crate::runner::{Ended, docker};
use crate::trees::tree::{self, Tree};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/amd64/v2"];

/// Has two platforms, is in the registry, and is made once.
fn base() -> String {
    static MADE: std::sync::Once = std::sync::Once::new();
    let name = format!("{}/platforms/base:1", registry());
    MADE.call_once(|| {
        let dockerfile = "FROM scratch\nARG TARGETVARIANT\nCOPY base$TARGETVARIANT /etc/kind\n\
            COPY base$TARGETVARIANT /usr/lib/kind\nENV BASE=$TARGETVARIANT\n";
        let base = Action::new(dockerfile)
            .file("base", "base for v1\n")
            .file("basev2", "base for v2\n")
            .input("platforms", &PLATFORMS.join(","))
            .input("tags", &name)
            .input("accelerate", "off");
        base.run().succeeded();
    });
    name
}

/// An image with other files, variables and directories for each platform.
fn action(repository: &str) -> Action {
    let dockerfile = format!(
        "FROM {}\nARG TARGETVARIANT\nENV KIND=$TARGETVARIANT\nWORKDIR /srv/x\nCOPY common of$TARGETVARIANT /srv/x/\n\
         COPY of$TARGETVARIANT /etc/kind\nCOPY common /srv/of$TARGETVARIANT/deep/\nUSER 1000\nCMD [\"/srv/x/common\"]\n",
        base()
    );
    Action::new(&dockerfile)
        .file("common", "for all\n")
        .file("of", "for v1\n")
        .file("ofv2", "for v2\n")
        .input("platforms", &PLATFORMS.join(","))
        .input("tags", &format!("{}/{repository}:1", registry()))
        .input("labels", "com.example.a=b")
        .input("cache", "none")
}

/// The tree of one platform's image.
fn unpacked(image: &str, platform: &str) -> Tree {
    docker(&["pull", "--quiet", "--platform", platform, image]);
    let id = docker(&["create", "--platform", platform, image, "none"]);
    let mut export = Command::new(variable("RIG_DOCKER"))
        .args(["export", &id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let tree = tree::exported(export.stdout.take().unwrap());
    assert!(export.wait().unwrap().success());
    docker(&["rm", &id]);
    docker(&["image", "rm", image]);
    tree
}

/// An image's configuration, without what is about layers and times.
fn configuration(repository: &str, digest: &str) -> Value {
    let manifest = manifest(repository, digest);
    let id = manifest["config"]["digest"].as_str().unwrap();
    let (status, text) = get(&format!("/v2/{repository}/blobs/{id}"));
    assert_eq!(status, 200);
    let mut configuration: Value = serde_json::from_slice(&text).unwrap();
    for field in ["rootfs", "history", "created"] {
        configuration.as_object_mut().unwrap().remove(field);
    }
    configuration
}

/// An index or a descriptor without what differs where layers do.
fn without_digests(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let kept = fields.filter(|(name, _)| !matches!(name.as_str(), "digest" | "size"));
            let kept = kept.map(|(name, value)| (name.clone(), without_digests(value)));
            Value::Object(kept.collect())
        }
        Value::Array(values) => values.iter().map(without_digests).collect(),
        other => other.clone(),
    }
}

fn digests(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().unwrap().iter();
    let digests = manifests.map(|part| part["digest"].as_str().unwrap().to_owned());
    digests.collect()
}

/// Holds that two indexes, and the configurations that they name, are the same.
fn is_as_buildkits(repository: &str, ours: &Ended, theirs: &Ended) {
    let [ours, theirs] = [ours, theirs].map(|run| manifest(repository, run.output("digest")));
    assert_eq!(
        without_digests(&ours),
        without_digests(&theirs),
        "{repository}"
    );
    for (our, their) in digests(&ours).iter().zip(digests(&theirs)) {
        assert_eq!(
            configuration(repository, our),
            configuration(repository, &their)
        );
    }
}

/// The same, and that each platform's image has the files that BuildKit's has. Returns the files with other times.
fn is_the_image_of_buildkit(repository: &str, ours: &Ended, theirs: &Ended) -> Vec<Vec<u8>> {
    is_as_buildkits(repository, ours, theirs);
    let mut times = Vec::new();
    for platform in PLATFORMS {
        let difference = tree::compare(
            &unpacked(ours.output("image"), platform),
            &unpacked(theirs.output("image"), platform),
        );
        assert!(
            difference.names.is_empty() && difference.links == 0,
            "{platform}: {difference:?}"
        );
        times.extend(difference.times);
    }
    times
}

fn metadata(run: &Ended) -> Value {
    serde_json::from_str(run.output("metadata")).unwrap()
}

#[test]
fn an_image_for_two_platforms_is_the_one_of_buildkit_and_is_sent_once() {
    let repository = "platforms/app";
    let annotations = "com.example.a=1\nindex:com.example.b=2\nmanifest[linux/amd64/v2]:com.example.c=3\n\
                       manifest-descriptor:com.example.d=4\nindex-descriptor:com.example.e=5";
    let action = action(repository).input("annotations", annotations);
    let first = by_engine(&action);
    let digest = first.output("digest").to_owned();
    let index = manifest(repository, &digest);
    assert_eq!(manifest(repository, "1"), index);
    assert!(first.number("pushed-bytes") > 0.0, "{}", first.log());
    assert!(first.log().contains("linux/amd64/v2: "), "{}", first.log());
    let image = format!("{}/{repository}@{digest}", registry());
    assert_eq!(first.output("image"), image);
    assert_eq!(first.output("imageid"), digest);
    assert!(first.number("export-seconds") > 0.0 && first.number("push-seconds") > 0.0);

    let again = by_engine(&action);
    assert_eq!(again.output("digest"), digest, "{}", again.log());
    assert_eq!(again.number("pushed-bytes"), 0.0, "{}", again.log());
    let unchanged = again.log().matches("): unchanged").count();
    assert!(unchanged >= 2, "{}", again.log());

    let tag = format!("{}/{repository}:plain", registry());
    let plain = action.input("accelerate", "off").input("tags", &tag);
    let plain = plain.run().succeeded();
    assert!(!is_by_engine(&plain), "{}", plain.log());
    let times = is_the_image_of_buildkit(repository, &first, &plain);
    assert!(times.is_empty(), "{times:?}");
    let theirs = manifest(repository, plain.output("digest"));
    for (our, their) in digests(&index).iter().zip(digests(&theirs)) {
        let mut own = manifest(repository, our)["annotations"].take();
        let kept = own.as_object_mut().unwrap();
        assert!(kept.remove("com.github.fast-ecr-push.layers").is_some());
        assert_eq!(own, manifest(repository, &their)["annotations"]);
    }
    let (ours, theirs) = (metadata(&first), metadata(&plain));
    let name = "containerimage.descriptor";
    assert_eq!(without_digests(&ours[name]), without_digests(&theirs[name]));
    assert_eq!(ours["containerimage.digest"], digest.as_str());
    assert_eq!(ours[name]["digest"], digest.as_str());
    let names = |value: &Value| -> Vec<String> {
        let names = value.as_object().unwrap().keys();
        let of_image = names.filter(|name| !name.starts_with("buildx.build."));
        of_image.cloned().collect()
    };
    assert_eq!(names(&ours), names(&theirs));
}

#[test]
fn a_builder_in_a_container_pushes_two_platforms_by_itself() {
    let repository = "platforms/container";
    let action = action(repository)
        .input("driver", "docker-container")
        .input("driver-opts", &container_options());
    let run = by_engine(&action);
    assert_eq!(run.output("driver"), "docker-container");
    assert!(run.number("pushed-bytes") > 0.0, "{}", run.log());
    let tag = format!("{}/{repository}:plain", registry());
    let plain = action.input("accelerate", "off").input("tags", &tag);
    let plain = plain.run().succeeded();
    assert!(!is_by_engine(&plain), "{}", plain.log());
    // Each run has a new builder, which makes these directories at another time.
    let made: [&[u8]; 4] = [b"srv", b"srv/of", b"srv/ofv2", b"srv/x"];
    for path in is_the_image_of_buildkit(repository, &run, &plain) {
        let is_made = made.iter().any(|made| path.starts_with(made));
        assert!(is_made, "{}", String::from_utf8_lossy(&path));
    }
}

#[test]
fn a_file_of_one_platform_that_changed_moves_no_layer_of_the_other() {
    let repository = "platforms/change";
    let first = by_engine(&action(repository));
    let before = manifest(repository, first.output("digest"));
    let second = by_engine(&action(repository).file("ofv2", "changed for v2\n"));
    let after = manifest(repository, second.output("digest"));
    let layers = |index: &Value, place: usize| -> Value {
        manifest(repository, &digests(index)[place])["layers"].take()
    };
    assert_eq!(layers(&before, 0), layers(&after, 0));
    assert_ne!(layers(&before, 1), layers(&after, 1));
}

#[test]
fn platforms_that_fail_leave_the_tags_as_they_are() {
    let repository = "platforms/failed";
    let first = by_engine(&action(repository));
    let large: String = (0..2_000_000_u64)
        .map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let changed = |host: &str| {
        action(repository)
            .file("of", "small, new\n")
            .file("ofv2", &large)
            .input("tags", &format!("{host}/{repository}:1"))
    };
    // Only a large layer is sent in parts: the image of the first platform is there by then.
    let parts: &[&str] = &["fast-ecr-push/", "PATCH /v2/"];
    let rule = || Rule {
        words: parts,
        times: 1000,
        fault: Fault::Status(403),
    };
    let front = Front::new(rule());
    let failed = changed(&front.address).input("accelerate", "on").run();
    assert_ne!(failed.code, Some(0), "{}", failed.log());
    assert!(
        failed.log().contains("linux/amd64/v2: "),
        "{}",
        failed.log()
    );
    assert!(front.left() < 1000, "{}", failed.log());
    assert_eq!(
        manifest(repository, "1"),
        manifest(repository, first.output("digest"))
    );

    let front = Front::new(rule());
    let plain = changed(&front.address).run().succeeded();
    assert!(plain.log().contains(INSTEAD), "{}", plain.log());
    let index = manifest(repository, "1");
    assert_eq!(index, manifest(repository, plain.output("digest")));
    assert_eq!(digests(&index).len(), 2);
}

#[test]
fn an_index_that_is_refused_leaves_the_tag_as_it_is_or_is_buildkits() {
    let repository = "platforms/refused";
    let first = by_engine(&action(repository));
    let index: &[&str] = &["fast-ecr-push/", "PUT /v2/", "/manifests/1 "];
    let front = Front::new(Rule {
        words: index,
        times: 1000,
        fault: Fault::Status(403),
    });
    let changed = action(repository)
        .file("of", "new\n")
        .input("tags", &format!("{}/{repository}:1", front.address));
    let plain = changed.run().succeeded();
    assert!(plain.log().contains(INSTEAD), "{}", plain.log());
    let before = manifest(repository, "1");
    assert_eq!(before, manifest(repository, plain.output("digest")));
    assert_ne!(manifest(repository, first.output("digest")), before);

    let left = front.left();
    let failed = changed
        .file("of", "newer\n")
        .input("accelerate", "on")
        .run();
    assert_ne!(failed.code, Some(0), "{}", failed.log());
    assert!(
        failed.log().contains("linux/amd64/v2: "),
        "{}",
        failed.log()
    );
    assert!(front.left() < left, "{}", failed.log());
    assert_eq!(manifest(repository, "1"), before);
}

#[test]
fn images_without_a_base_are_pushed_in_the_order_of_buildkit() {
    let dockerfile = "FROM scratch\nARG TARGETPLATFORM\nENV A=$TARGETPLATFORM\nCOPY common /x/\n";
    for (name, platforms) in [
        ("scratch", "linux/amd64,linux/amd64/v2"),
        ("reversed", "linux/amd64/v2,linux/amd64"),
        ("variants", "linux/amd64/v2,linux/amd64/v3"),
    ] {
        let repository = format!("platforms/{name}");
        let action = Action::new(dockerfile)
            .file("common", "for all\n")
            .input("platforms", platforms)
            .input("tags", &format!("{}/{repository}:1", registry()))
            .input("cache", "none")
            .input("accelerate", "on");
        let run = by_engine(&action);
        let plain = action.input("accelerate", "off").run().succeeded();
        is_as_buildkits(&repository, &run, &plain);
    }
}

#[test]
fn each_platform_may_have_stages_of_its_own_and_several_repositories_get_the_image() {
    let dockerfile = format!(
        "FROM {} AS for-amd64\nFROM for-amd64 AS for-amd64v2\nENV A=1\nCOPY common /y/\n\
         FROM for-$TARGETARCH$TARGETVARIANT\nCOPY common /x/\n",
        base()
    );
    let (repository, other) = ("platforms/stages", "platforms/stages-too");
    let tags = [repository, other].map(|name| format!("{}/{name}:1", registry()));
    let action = Action::new(&dockerfile)
        .file("common", "for all\n")
        .input("platforms", &PLATFORMS.join(","))
        .input("tags", &tags.join("\n"))
        .input("cache", "none");
    let run = by_engine(&action);
    for name in [repository, other] {
        assert_eq!(
            manifest(name, "1"),
            manifest(repository, run.output("digest"))
        );
    }
    let plain = action.input("accelerate", "off").run().succeeded();
    is_as_buildkits(repository, &run, &plain);
    is_as_buildkits(other, &run, &plain);
}
