//! One of the targets of testkit/readers, named by `FUZZ_TARGET`, under libFuzzer.
#![no_main]

use std::sync::OnceLock;

use readers::TARGETS;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET");
        let found = TARGETS.iter().find(|(target, _)| *target == name);
        found.expect("a target of testkit/readers").1
    });
    target(bytes);
});
