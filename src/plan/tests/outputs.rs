//! What `push`, `load`, `outputs` and `compression` make of the outputs.

use super::*;

#[test]
fn outputs_follow_push_load_and_compression() {
    const TAG: (&str, &str) = ("tags", "r.example/a:1");
    const PUSHED: &str =
        "type=image,push=true,compression=zstd,compression-level=1,oci-mediatypes=true";
    let container = ("driver", "docker-container");
    let cases: &[(&str, Pairs<'_>, &[&str])] = &[
        (
            "push is the default",
            &[TAG],
            &[&format!("{PUSHED},store=false")],
        ),
        ("load alone", &[TAG, ("load", "true")], &["type=docker"]),
        (
            "load and push: the Engine keeps what it pushes",
            &[TAG, ("load", "true"), ("push", "true")],
            &[PUSHED],
        ),
        ("neither", &[TAG, ("push", "false")], &[]),
        (
            "outputs stay as they are",
            &[TAG, ("outputs", "type=local,dest=out")],
            &["type=local,dest=out"],
        ),
        (
            "push joins an image output",
            &[
                TAG,
                ("push", "true"),
                ("outputs", "type=image,annotation.a=b"),
            ],
            &["type=image,annotation.a=b,push=true"],
        ),
        (
            "push beside other outputs",
            &[TAG, ("push", "true"), ("outputs", "type=local,dest=out")],
            &["type=local,dest=out", &format!("{PUSHED},store=false")],
        ),
        (
            "gzip has no media type of its own",
            &[TAG, ("compression", "gzip"), ("compression-level", "9")],
            &["type=image,push=true,compression=gzip,compression-level=9,store=false"],
        ),
        (
            "an output without compression gets the one asked for",
            &[
                TAG,
                ("compression", "uncompressed"),
                ("outputs", "type=registry"),
            ],
            &["type=registry,compression=uncompressed"],
        ),
        (
            "an output of the user's gets the level, with gzip where it names nothing",
            &[
                TAG,
                ("compression-level", "9"),
                (
                    "outputs",
                    "type=image,push=true\ntype=image,compression=zstd\ntype=image,compression-level=1",
                ),
            ],
            &[
                "type=image,push=true,compression-level=9",
                "type=image,compression=zstd,compression-level=9",
                "type=image,compression-level=1",
            ],
        ),
        (
            "files get the compression asked for, and what they say themselves stays",
            &[
                TAG,
                ("compression", "zstd"),
                ("compression-level", "3"),
                (
                    "outputs",
                    "type=oci,dest=a.tar\ntype=docker,dest=b.tar\ntype=oci,dest=c,tar=false,compression=gzip\n\
                     type=oci,dest=d.tar,oci-mediatypes=false\ntype=tar,dest=e.tar",
                ),
            ],
            &[
                "type=oci,dest=a.tar,compression=zstd,compression-level=3,oci-mediatypes=true",
                "type=docker,dest=b.tar,compression=zstd,compression-level=3,oci-mediatypes=true",
                "type=oci,dest=c,tar=false,compression=gzip,compression-level=3",
                "type=oci,dest=d.tar,oci-mediatypes=false,compression=zstd,compression-level=3",
                "type=tar,dest=e.tar",
            ],
        ),
        (
            "without a word they get BuildKit's own",
            &[TAG, ("outputs", "type=oci,dest=a.tar")],
            &["type=oci,dest=a.tar"],
        ),
        (
            "so does what is loaded, which is compressed once for both",
            &[
                TAG,
                container,
                ("load", "true"),
                ("push", "true"),
                ("compression", "zstd"),
            ],
            &[
                PUSHED,
                "type=docker,compression=zstd,compression-level=1,oci-mediatypes=true",
            ],
        ),
        (
            "BuildKit in a container stores nothing",
            &[TAG, container],
            &[&format!("{PUSHED},store=false")],
        ),
        (
            "and compresses once for both",
            &[TAG, container, ("load", "true"), ("push", "true")],
            &["type=image,push=true,compression=gzip", "type=docker"],
        ),
    ];
    for (name, pairs, expected) in cases {
        assert_eq!(outputs(&plan(pairs)), *expected, "{name}");
    }
}
