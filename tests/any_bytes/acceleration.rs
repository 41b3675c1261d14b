//! What the push engine's step says, and names of the Engine's images.

use jiff::{SignedDuration, Timestamp};
use readers::Target;

use super::engine_images::nonce_of;
use super::{Watch, speed};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "step",
        read: step,
        seeds: || vec![EVENTS.as_bytes().to_vec()],
    },
    Target {
        name: "engine-images",
        read: engine_images,
        seeds: || {
            let nonce = "0123456789abcdef".repeat(2);
            let base = "0".repeat(64);
            vec![
                format!("localhost:1/fast-ecr-push/{nonce}:latest").into_bytes(),
                format!("localhost:1/fast-ecr-push/{nonce}/{base}:latest").into_bytes(),
            ]
        },
    },
];

const EVENTS: &str = r#"fast-ecr-push-event: {"event":"listening","port":5000}
fast-ecr-push-event: {"event":"compared","changed":1,"removed":2,"bytes":3,"milliseconds":4}
fast-ecr-push-event: {"event":"progress","packed":1,"total":2,"uploaded":3,"streams":4}
fast-ecr-push-event: {"event":"layer","name":"pip/torch","digest":"sha256:7777777777777777777777777777777777777777777777777777777777777777","size":5,"source":"uploaded"}
fast-ecr-push-event: {"event":"published","registry":"r","repository":"a/b","digest":"sha256:7777777777777777777777777777777777777777777777777777777777777777","tags":["1"]}
fast-ecr-push-event: {"event":"done","digest":"sha256:7777777777777777777777777777777777777777777777777777777777777777","configuration":"sha256:7777777777777777777777777777777777777777777777777777777777777777","media_type":"a","size":1,"layers":[],"uploaded":18446744073709551615,"reused":1,"streams":1,"packages":[{"name":"pip/a","before":null,"after":{"size":1,"version":"2"}}],"milliseconds":18446744073709551615}
"#;

/// Lines of the step: what the log gets of each is a line, or two of the end, and times are in order.
fn step(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut watch = Watch::default();
    let mut now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    for line in text.lines() {
        now += SignedDuration::from_secs(3);
        let Ok(Some(event)) = protocol::parse(line) else {
            continue;
        };
        if let Some(shown) = watch.see(&event, now) {
            assert!(shown.lines().count() <= 2, "{shown:?}");
            let mut lines = shown.split('\n');
            assert!(
                lines.all(|line| !line.contains(char::is_control)),
                "{shown:?}"
            );
        }
        if let protocol::Event::Done(summary) = &event {
            assert!(speed(summary).is_none_or(|speed| speed > 0));
        }
    }
    for stage in watch.stages() {
        assert!(stage.ended <= now);
    }
}

/// Only a name with our nonce, whole, is ours to remove.
fn engine_images(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for name in text.lines() {
        if let Some(nonce) = nonce_of(name) {
            assert!(nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert!(name.starts_with("localhost:") && name.ends_with(":latest"));
        }
    }
}
