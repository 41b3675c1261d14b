//! Artifacts of earlier runs.

use readers::Target;

use super::artifact;
use super::leg::Leg;

pub(crate) const TARGETS: &[Target] = &[Target {
    name: "artifact",
    read: artifact,
    seeds: || {
        let timings = artifact::tests::timings("docker", 1000);
        vec![
            artifact::tests::archive(&[("a.txt", "b"), ("timings.json", &timings)]),
            artifact::tests::archive(&[("a/b.json", "{}")]),
        ]
    },
}];

fn artifact(bytes: &[u8]) {
    let leg = Leg {
        driver: "docker".to_owned(),
        ..Leg::default()
    };
    let _ = artifact::total(bytes.to_vec(), &leg);
}
