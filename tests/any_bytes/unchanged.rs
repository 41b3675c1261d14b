//! What tells whether a build may be skipped: keys, which anyone may write who may push, GitHub's answers about a commit, and bases.

use image::Digest;
use readers::Target;
use upload::Fetched;

use super::mark::{MANIFEST, Mark};
use super::{images, tree};
use crate::any_bytes::{part, parts, seed};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "mark",
        read: mark,
        seeds: || vec![example().to_manifest()],
    },
    Target {
        name: "git-tree",
        read: |bytes| {
            let parts = parts(bytes);
            let part = |index| part(&parts, index);
            tree::tests::check(part(0), [part(1), part(2), part(3)]);
        },
        seeds: || {
            vec![seed(&[
                "https://github.com/octo/app.git#0123456789abcdef0123456789abcdef01234567:./sub/",
                r#"{"tree":{"sha":"0123"}}"#,
                LISTING,
                r#"{"content":"RlJPTSBz\nY3JhdGNoCg==\n","encoding":"base64"}"#,
            ])]
        },
    },
    Target {
        name: "bases",
        read: |bytes| {
            let parts = parts(bytes);
            let part = |index| part(&parts, index);
            images::tests::check(part(0), [part(1), part(2)]);
        },
        seeds: || {
            vec![seed(&[
                INDEX,
                r#"{"config":{"Env":["PATH=/bin","A=b=c"],"OnBuild":["RUN true"]}}"#,
                "{}",
            ])]
        },
    },
];

const LISTING: &str = r#"{"tree":[{"path":"Dockerfile","mode":"100644","type":"blob","sha":"1"},{"path":".gitattributes","mode":"120000","type":"blob","sha":"2"},{"path":"sub","mode":"040000","type":"tree","sha":"3"}],"truncated":false}"#;

const INDEX: &str = r#"{"manifests":[{"digest":"sha256:1","platform":{"os":"linux","architecture":"arm","variant":"v7"}},{"digest":"sha256:2","platform":{"os":"linux","architecture":"arm"}}]}"#;

fn example() -> Mark {
    Mark {
        key: "0123456789abcdef".repeat(4),
        digest: Digest::sha256([7; 32]),
        run: Some("https://github.com/octo/app/actions/runs/7".to_owned()),
        commit: Some("0123abc".to_owned()),
        built: "2026-11-23T12:00:00Z".parse().unwrap(),
        seconds: Some(12.5),
        parts: [("file a".to_owned(), "0123".to_owned())].into(),
    }
}

/// What is read is plain, and is written and read as the same.
fn mark(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        Mark::read(&Fetched {
            media_type: MANIFEST.to_owned(),
            bytes: bytes.to_vec().into(),
            digest: Digest::sha256([7; 32]),
        })
    };
    let Some(mut mark) = read(bytes) else {
        return;
    };
    let shown = [Some(&mark.key), mark.run.as_ref(), mark.commit.as_ref()];
    let is_plain = |text: &String| text.chars().all(|next| next.is_ascii_graphic());
    assert!(shown.into_iter().flatten().all(is_plain), "{mark:?}");
    let again = read(&mark.to_manifest()).unwrap();
    // They are written to a tenth.
    mark.seconds = again.seconds;
    assert_eq!(again, mark);
}
