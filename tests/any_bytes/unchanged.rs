//! Keys of skipped builds, which anyone may write who may push.

use image::Digest;
use readers::Target;
use upload::Fetched;

use super::mark::{MANIFEST, Mark};

pub(crate) const TARGETS: &[Target] = &[Target {
    name: "mark",
    read: mark,
    seeds: || vec![example().to_manifest()],
}];

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
