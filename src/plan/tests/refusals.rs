//! What there is no plan for.

use super::*;

#[test]
fn conflicts_are_refused_by_name_and_together() {
    let cases: &[(&str, Pairs<'_>, &[&str])] = &[
        (
            "push without tag",
            &[],
            &["input `tags`: nothing given, expected at least one tag"],
        ),
        (
            "a plain tag without repository",
            &[("tags", "v1")],
            &["input `repository`: nothing given, expected the repository for the plain tags"],
        ),
        (
            "a repository with a tag",
            &[
                ("registry", "r.example"),
                ("repository", "a:1"),
                ("tags", "x"),
            ],
            &["input `repository`: `a:1` given"],
        ),
        (
            "a repository that is none",
            &[
                ("registry", "r.example"),
                ("repository", "a//b"),
                ("tags", "x"),
            ],
            &[
                "input `repository`: `a//b` given, expected a path in the registry without host and tag, as `team/app` (`r.example/a//b` is not an image reference: ",
            ],
        ),
        (
            "a registry without repository",
            &[("registry", "r.example"), ("tags", "r.example/a:1")],
            &["input `registry`: `r.example` given, expected `repository`"],
        ),
        (
            "a digest",
            &[("tags", &format!("r.example/a@sha256:{}", "a".repeat(64)))],
            &["input `tags`: `r.example/a@sha256:"],
        ),
        (
            "push against an output",
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
            "gzip has nine levels",
            &[
                ("tags", "r.example/a:1"),
                ("compression", "gzip"),
                ("compression-level", "19"),
            ],
            &["input `compression-level`: `19` given, expected a level from 0 to 9"],
        ),
        (
            "uncompressed has none",
            &[
                ("tags", "r.example/a:1"),
                ("compression", "uncompressed"),
                ("compression-level", "1"),
            ],
            &["input `compression-level`: `1` given, expected nothing"],
        ),
        (
            "a level that gzip does not have",
            &[
                ("tags", "r.example/a:1"),
                ("compression-level", "15"),
                (
                    "outputs",
                    "type=image,push=true\ntype=image,compression=zstd",
                ),
            ],
            &["input `compression-level`: `15` given, expected a level from 0 to 9"],
        ),
        (
            "a level that the gzip of files does not have, said once",
            &[
                ("tags", "r.example/a:1"),
                ("compression-level", "15"),
                ("outputs", "type=oci,dest=a.tar\ntype=docker,dest=b.tar"),
            ],
            &["input `compression-level`: `15` given, expected a level from 0 to 9"],
        ),
        (
            "an unknown driver option",
            &[("tags", "r.example/a:1"), ("driver-opts", "netwrok=host")],
            &[
                "input `driver-opts`: `netwrok=host` given, expected an option of a buildx driver; did you mean `network`?",
            ],
        ),
        (
            "a value whose commas are in no quotes, and an image that is none",
            &[
                ("tags", "r.example/a:1"),
                (
                    "driver-opts",
                    "tolerations=key=a,operator=Exists\nimage=moby//buildkit",
                ),
            ],
            &[
                "input `driver-opts`: `operator=Exists` given, expected an option of a buildx driver, as `image`, `network` or `env.NAME`; a value with commas needs quotes around the option",
                "input `driver-opts`: `image=moby//buildkit` given, expected the reference of an image",
            ],
        ),
    ];
    for (name, pairs, expected) in cases {
        let texts = refusals(pairs);
        assert_eq!(texts.len(), expected.len(), "{name}: {texts:?}");
        for (text, beginning) in texts.iter().zip(*expected) {
            assert!(text.starts_with(beginning), "{name}: {text}");
        }
    }
}

#[test]
fn what_this_machine_lacks_is_no_fault_of_the_inputs() {
    let tag: Pairs<'_> = &[("tags", "r.example/a:1")];
    let mut old = facts(ImageStore::Containerd);
    old.buildx.version = Version::new(0, 12, 9);
    let error = plan_with(tag, &old, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "buildx 0.12.9 is too old, at least 0.13.0 is needed"
    );
    let mut bare = facts(ImageStore::Containerd);
    bare.engine = Err("could not reach it".to_owned());
    let error = plan_with(tag, &bare, None).unwrap_err();
    assert_eq!(error.to_string(), "no builder: could not reach it");
    assert!(error.hint().is_some());
}
