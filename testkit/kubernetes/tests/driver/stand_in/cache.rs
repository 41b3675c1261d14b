//! The cache in the registry, between pods that have a disk of their own each.

use serde_json::Value;

use super::manifest;
use crate::cluster::Cluster;
use crate::traffic;

/// What the dependencies weigh (bytes). They don't compress.
const DEPENDENCIES: u64 = 3_000_000;

/// The layers of an image in the rig's registry: digest and size.
fn layers(image: &str) -> Vec<(String, u64)> {
    let answer = manifest("GET", image);
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let manifest: Value = serde_json::from_str(body).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            let digest = layer["digest"].as_str().unwrap().to_owned();
            (digest, layer["size"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn a_code_change_on_an_empty_pod_leaves_the_dependencies_where_they_are() {
    let cluster = Cluster::with_two_buildkits();
    // An image whose history names every layer, as those of other registries do.
    let base = cluster.tag("base");
    cluster.dockerfile("RUN true > /base\n");
    cluster
        .run(&[("tags", &base), ("cache", "none"), ("network", "none")])
        .succeeded();
    let dockerfile = format!(
        "FROM {base}\nRUN head -c {DEPENDENCIES} /dev/urandom > /dependencies\nCOPY --link code /code\n"
    );
    std::fs::write(cluster.context("Dockerfile"), dockerfile).unwrap();
    let image = cluster.tag("image");
    let (_, name) = image.split_once('/').unwrap();
    let (repository, _) = name.rsplit_once(':').unwrap();
    let build = |code: &str| {
        std::fs::write(cluster.context("code"), code).unwrap();
        traffic::during(|| {
            let run = cluster.run(&[("tags", &image), ("network", "none")]);
            run.succeeded();
            run
        })
    };

    let (first, _) = build("one");
    let before = layers(&image);
    let (dependencies, _) = before
        .iter()
        .find(|(_, size)| *size >= DEPENDENCIES)
        .unwrap();
    assert!(first.uploaded(repository).contains(dependencies));

    let (second, run) = build("two");
    let after = layers(&image);
    let (code, rest) = after.split_last().unwrap();
    assert_eq!(before[..rest.len()], *rest);
    // Not built: its layer is the same one, of random bytes.
    assert!(rest.iter().any(|(layer, _)| layer == dependencies));
    let up = second.all_uploaded();
    assert!(up.iter().all(|(_, layer)| layer != dependencies), "{up:?}");
    assert!(
        !second.downloaded(repository).contains(dependencies),
        "{second:?}"
    );
    // The code, the image's configuration and the cache's, once each.
    let up = second.uploaded(repository);
    assert!(up.contains(&code.0) && up.len() == 3, "{up:?}: {}", run.log);

    // Three builders, of which those of the two builds share no disk.
    let mut pods: Vec<String> = cluster
        .record("execs")
        .iter()
        .map(|exec| exec["pod"].to_string())
        .collect();
    pods.sort();
    pods.dedup();
    assert_eq!(pods.len(), 3, "{pods:?}");
    assert_eq!(cluster.stop(), [""; 0]);
}
