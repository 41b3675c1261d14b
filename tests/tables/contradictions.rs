//! Inputs that contradict each other, and what the plan makes of those that build-push-action's
//! table does not show.

use super::tests::{Pairs, argv, facts, plan, plan_with};
use super::*;
use crate::facts::ImageStore;

#[test]
fn contradictions_are_refused_by_name() {
    let cases: &[(&str, Pairs<'_>, &[&str])] = &[
        (
            "a call that pushes",
            &[("call", "check"), ("push", "true"), ("load", "true")],
            &[
                "input `push`: `true` cannot be combined with `call: check`",
                "input `load`: `true` cannot be combined with `call: check`",
            ],
        ),
        (
            "a call with an output",
            &[("call", "outline"), ("outputs", "type=local,dest=out")],
            &["input `outputs`: `type=local,dest=out` cannot be combined with `call: outline`"],
        ),
        (
            "an output that does not push where the image is to be pushed",
            &[
                ("tags", "r.example/a:1"),
                ("push", "true"),
                ("outputs", "type=image,push=false"),
            ],
            &[
                "input `outputs`: `type=image,push=false` cannot be combined with the input `push: true`",
            ],
        ),
        (
            "a host in the repository",
            &[
                (
                    "repository",
                    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a",
                ),
                ("tags", "1"),
            ],
            &[
                "input `repository`: `123456789012.dkr.ecr.eu-west-1.amazonaws.com/a` given, expected a path in the registry without host and tag, as `team/app`",
            ],
        ),
        (
            "ECR Public's host in the repository",
            &[("repository", "public.ecr.aws/a/b"), ("tags", "1")],
            &[
                "input `repository`: `public.ecr.aws/a/b` given, expected a path in the registry without host and tag",
            ],
        ),
        (
            "a tag beside a push by digest",
            &[
                ("tags", "r.example/a:1"),
                ("outputs", "type=image,push=true,push-by-digest=true"),
            ],
            &["input `tags`: `r.example/a:1` cannot be combined with `push-by-digest=true`"],
        ),
        (
            "a tag among names beside a push by digest",
            &[
                ("tags", "r.example/a,r.example/b:1"),
                ("outputs", "type=image,push=true,push-by-digest=true"),
            ],
            &["input `tags`: `r.example/b:1` cannot be combined with `push-by-digest=true`"],
        ),
        (
            "a push by digest to nowhere",
            &[("outputs", "type=image,push=true,push-by-digest=true")],
            &["input `repository`: nothing given, expected the repository to push to by digest"],
        ),
        (
            "a push by digest to a tag",
            &[(
                "outputs",
                "type=image,push=true,push-by-digest=true,name=r.example/a:1",
            )],
            &["input `outputs`: `r.example/a:1` given, expected a name without tag"],
        ),
        (
            "a push by digest by the Engine",
            &[
                ("driver", "docker"),
                (
                    "outputs",
                    "type=image,push=true,push-by-digest=true,name=r.example/a",
                ),
            ],
            &["input `driver`: `docker` given, expected `docker-container` or `auto`"],
        ),
        (
            "an output without name",
            &[(
                "outputs",
                "type=image,push=true,name=r.example/a\ntype=registry",
            )],
            &["input `tags`: nothing given, expected at least one tag"],
        ),
        (
            "a file as `docker load` reads it has one platform",
            &[
                ("platforms", "linux/amd64,linux/arm64"),
                ("outputs", "type=docker,dest=a.tar"),
            ],
            &["input `outputs`: `type=docker,dest=a.tar` given, expected one platform"],
        ),
        (
            "everything anew and some anew",
            &[
                ("push", "false"),
                ("no-cache", "true"),
                ("no-cache-filters", "base"),
            ],
            &["input `no-cache-filters`: `base` cannot be combined with `no-cache: true`"],
        ),
        (
            "an expression that is none",
            &[("push", "false"), ("context", "{{default}}:a")],
            &[
                "input `context`: `{{default}}:a` given, expected no expression but `{{defaultContext}}`",
            ],
        ),
    ];
    for (name, pairs, expected) in cases {
        let Err(PlanError::Inputs(errors)) = plan_with(pairs, &facts(ImageStore::Containerd), None)
        else {
            panic!("{name}");
        };
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), expected.len(), "{name}: {texts:?}");
        for (text, beginning) in texts.iter().zip(*expected) {
            assert!(text.starts_with(beginning), "{name}: {text}");
        }
    }
}

#[test]
fn several_platforms_are_loaded_where_the_engine_can_hold_them() {
    let pairs = [
        ("tags", "r.example/a:1"),
        ("load", "true"),
        ("platforms", "linux/amd64,linux/arm64"),
    ];
    assert!(plan_with(&pairs, &facts(ImageStore::Containerd), None).is_ok());
}

#[test]
fn a_repository_is_created_in_a_private_registry_only() {
    let create = ("create-repository", "true");
    for (tag, told) in [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1", false),
        ("public.ecr.aws/a/b:1", true),
        ("ghcr.io/a/b:1", true),
    ] {
        let plan = plan(&[("tags", tag), create]);
        let notices = plan.notices.iter();
        let about = notices.filter(|notice| notice.contains("`create-repository`"));
        assert_eq!(about.count(), usize::from(told), "{tag}");
    }
}

#[test]
fn an_output_pushes_by_itself_also_without_push() {
    for (output, pushes) in [
        ("type=registry", true),
        ("type=image,push=true", true),
        ("type=image,push=false", false),
        ("type=image", false),
        ("type=local,dest=out", false),
    ] {
        let plan = plan(&[
            ("tags", "r.example/a:1"),
            ("push", "false"),
            ("outputs", output),
        ]);
        let image = &plan.images[0];
        assert_eq!(image.outputs.len(), 1, "{output}");
        assert_eq!(image.outputs[0].to_string(), output);
        assert_eq!(image.push.is_some(), pushes, "{output}");
        let notice = format!(
            "the image is pushed although `push` is false: the output `{output}` pushes by itself; remove it to push nothing"
        );
        assert_eq!(plan.notices.contains(&notice), pushes, "{:?}", plan.notices);
    }
}

/// What BuildKit refuses when it exports the image.
#[test]
fn annotations_of_an_index_need_an_index() {
    let tag = ("tags", "r.example/a:1");
    let index = ("annotations", "a=b\nindex:c=d");
    let attribute = ("outputs", "type=image,push=true,annotation-index.c=d");
    let refused = "input `annotations`: `index:c` given, expected no annotation at this level: an image of one platform \
                   without attestation has no index; add a platform or `provenance: true`, or remove the level";
    for (pairs, expected) in [
        (&[index][..], Some(refused)),
        (&[index, ("platforms", "linux/arm64")], Some(refused)),
        (&[index, ("load", "true")], Some(refused)),
        (&[index, ("outputs", "type=oci,dest=a.tar")], Some(refused)),
        (
            &[index, ("provenance", "mode=min,inline-only=true")],
            Some(refused),
        ),
        (
            &[("annotations", "manifest,index-descriptor[linux/amd64]:c=d")],
            Some("input `annotations`: `manifest,index-descriptor[linux/amd64]:c` given"),
        ),
        (
            &[attribute],
            Some("input `outputs`: `annotation-index.c` given, expected no annotation"),
        ),
        (&[index, ("platforms", "linux/arm64,linux/amd64")], None),
        (&[index, ("provenance", "true")], None),
        (&[index, ("sbom", "true")], None),
        (&[index, ("attests", "type=sbom")], None),
        (&[index, ("build-args", "BUILDKIT_MULTI_PLATFORM=1")], None),
        (&[index, ("outputs", "type=local,dest=out")], None),
        (
            &[
                index,
                ("provenance", "mode=min,inline-only=true"),
                ("outputs", "type=oci,dest=a.tar"),
            ],
            None,
        ),
        (&[attribute, ("provenance", "mode=max")], None),
        (
            &[("annotations", "manifest:c=d\nmanifest-descriptor:e=f")],
            None,
        ),
        (&[("annotations", "c=index:d")], None),
    ] {
        let planned = plan_with(
            &[&[tag], pairs].concat(),
            &facts(ImageStore::Containerd),
            None,
        );
        let errors = match planned {
            Ok(_) => Vec::new(),
            Err(PlanError::Inputs(errors)) => errors,
            Err(error) => panic!("{pairs:?}: {error}"),
        };
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts.len(),
            usize::from(expected.is_some()),
            "{pairs:?}: {texts:?}"
        );
        for text in texts {
            assert!(
                text.starts_with(expected.unwrap_or_default()),
                "{pairs:?}: {text}"
            );
        }
    }
}

#[test]
fn the_classic_image_store_loads_one_manifest() {
    let load = [("tags", "r.example/a:1"), ("load", "true")];
    for (more, expected) in [
        (
            ("platforms", "linux/amd64,linux/arm64"),
            "one platform only",
        ),
        (("provenance", "true"), "no attestation only"),
    ] {
        let pairs = [load.as_slice(), &[more]].concat();
        let text = plan_with(&pairs, &facts(ImageStore::Classic), None)
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with(&format!("input `load`: `true` given, expected {expected}")),
            "{text}"
        );
    }
    assert!(plan_with(&load, &facts(ImageStore::Classic), None).is_ok());
}

#[test]
fn a_push_by_digest_gets_a_builder_that_can_do_it() {
    let plan = plan(&[(
        "outputs",
        "type=image,push=true,push-by-digest=true,name=r.example/a",
    )]);
    assert_eq!(plan.builder.driver, Driver::DockerContainer);
    assert!(plan.images[0].tags.is_empty());
    let push = plan.images[0].push.as_ref().unwrap();
    assert_eq!(push.naming, Naming::Digest);
    assert_eq!(push.names[0].to_string(), "r.example/a");
}

/// Docker's recipe for a build on several runners:
/// <https://docs.docker.com/build/ci/github-actions/multi-platform/#distribute-build-across-multiple-runners>.
#[test]
fn a_name_without_tag_is_where_a_push_by_digest_goes() {
    let plan = plan(&[
        ("tags", "r.example/a,ghcr.io/b/c"),
        (
            "outputs",
            "type=image,push-by-digest=true,name-canonical=true,push=true",
        ),
    ]);
    let image = &plan.images[0];
    assert!(image.tags.is_empty());
    let argv = argv(&plan);
    assert!(!argv.contains(&"--tag".to_owned()), "{argv:?}");
    assert_eq!(
        image.outputs[0].to_string(),
        "type=image,push-by-digest=true,name-canonical=true,push=true,\"name=r.example/a,ghcr.io/b/c\""
    );
    let push = image.push.as_ref().unwrap();
    let names: Vec<String> = push.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["r.example/a", "ghcr.io/b/c"]);
}

#[test]
fn a_builder_of_its_own_takes_the_daemons_settings() {
    let settings = [
        ("tags", "r.example/a:1"),
        ("buildkitd-flags", "--debug"),
        ("buildkitd-config-inline", "debug = true\ntrace = true"),
    ];
    let own = plan(&[settings.as_slice(), &[("driver", "docker-container")]].concat());
    assert_eq!(own.builder.buildkitd_flags.as_deref(), Some("--debug"));
    let file = PathBuf::from("/run/buildkitd.toml");
    assert_eq!(own.builder.buildkitd_config, Some(file));
    let engine = plan(&settings);
    assert_eq!(engine.builder.buildkitd_flags, None);
    assert_eq!(engine.builder.buildkitd_config, None);
    assert_eq!(engine.notices.len(), 2, "{:?}", engine.notices);
    let default = plan(&[("tags", "r.example/a:1"), ("driver", "docker-container")]);
    assert_eq!(
        default.builder.buildkitd_text,
        "[system]\nmaxRegistryConcurrency = 16\n"
    );
    let flags = default.builder.buildkitd_flags.unwrap();
    assert!(flags.contains("security.insecure") && flags.contains("network.host"));
}

#[test]
fn what_another_builder_would_need_is_said_to_be_ignored() {
    let tag = ("tags", "r.example/a:1");
    let cluster = ("eks-cluster", "builders");
    for (pairs, expected) in [
        (
            &[tag, ("driver", "docker"), ("builder", "x")][..],
            &["`builder` is ignored by `docker`: it names a Kubernetes builder"][..],
        ),
        (
            &[tag, ("driver", "docker-container"), cluster],
            &["`eks-cluster` is ignored by `docker-container`: no cluster builds"],
        ),
        (
            &[
                tag,
                ("driver", "local"),
                cluster,
                ("kubeconfig", "x"),
                ("builder", "x"),
            ],
            &[
                "`builder` is ignored by `docker`: it names a Kubernetes builder",
                "`eks-cluster` is ignored by `docker`: no cluster builds",
                "`kubeconfig` is ignored by `docker`: no cluster builds",
            ],
        ),
        // Where a cluster was wanted, another builder stands in for it and says so.
        (&[tag, cluster], &[]),
    ] {
        assert_eq!(plan(pairs).notices, expected, "{pairs:?}");
    }
}

#[test]
fn a_secret_given_twice_is_said() {
    let plan = plan(&[
        ("tags", "r.example/a:1"),
        ("secrets", "A=b"),
        ("secret-files", "A=c"),
    ]);
    assert_eq!(
        plan.notices,
        ["the secret `A` is given more than once: the last one counts"]
    );
}

#[test]
fn a_plan_holds_no_secret() {
    let run = WorkflowRun {
        server_url: "https://github.com".to_owned(),
        repository: "octo/app".to_owned(),
        ..WorkflowRun::default()
    };
    let pairs: Pairs<'_> = &[
        ("push", "false"),
        ("secrets", "A=hidden"),
        ("github-token", "hidden"),
    ];
    let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap();
    let json = serde_json::to_string(&plan).unwrap();
    let json = json + &serde_json::to_string(&plan.images).unwrap();
    assert!(json.contains("/run/secret-0") && json.contains("GIT_AUTH_TOKEN.github.com"));
    assert!(!format!("{json} {plan:?}").contains("hidden"));
}

#[test]
fn a_call_pushes_nothing_and_a_name_in_an_output_counts() {
    let tag = ("tags", "r.example/a:1");
    assert!(plan(&[tag]).images[0].push.is_some());
    let called = plan(&[tag, ("call", "outline")]);
    assert!(called.images[0].push.is_none() && !called.images[0].image_id);
    assert_eq!(called.logins(), []);
    let named = plan(&[("outputs", "type=image,push=true,name=r.example/a:1")]);
    assert_eq!(named.logins().len(), 1);
    assert_eq!(named.images[0].name().unwrap().to_string(), "r.example/a:1");
}
