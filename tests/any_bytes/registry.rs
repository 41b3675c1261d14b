//! Manifests and configurations, as they are read back, and what Amazon ECR answers before the build.

use image::Digest;
use readers::Target;

use super::preflight;
use super::pushed::{PushedImage, children, created_by};
use crate::any_bytes::{fixture, part, parts, seed};
use crate::aws::any_bytes as aws;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "pushed",
        read: pushed,
        seeds: || {
            let text = |name| String::from_utf8(fixture(name)).unwrap();
            let manifest = text("answers/buildx-0.29.1-manifest.json");
            let image = text("answers/buildx-0.29.1-image.json");
            vec![
                seed(&[&manifest, &image]),
                seed(&[INDEX, &image, MANIFEST]),
                seed(&[MANIFEST]),
                seed(&[&MANIFEST.replace(":3}", ":18446744073709551615}")]),
            ]
        },
    },
    Target {
        name: "ecr-answer",
        read: |bytes| aws::wait(preflight::tests::check(&aws::answering(bytes))),
        seeds: || {
            // All that is asked has one answer, so it has the fields of all.
            let answer = |mutability: &str| {
                format!(
                    r#"{{"repositories":[{{"repositoryName":"team/app","imageTagMutability":"{mutability}","imageTagMutabilityExclusionFilters":[{{"filterType":"WILDCARD","filter":"l*t"}}]}}],"images":[{{"imageId":{{"imageTag":"1","imageDigest":"sha256:1"}},"imageManifest":"{{}}"}}],"uploadId":"a","repositoryCreationTemplates":[{{"prefix":"team","appliedFor":["CREATE_ON_PUSH"]}}]}}"#
                )
            };
            let kinds = ["IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE"];
            let answers = kinds.map(|kind| seed(&["200", "", &answer(kind)]));
            let refusals = [
                "RepositoryNotFoundException",
                "AccessDeniedException",
                "KmsException",
            ];
            let refusals = refusals.map(|kind| seed(&["400", kind, r#"{"message":"no"}"#]));
            answers.into_iter().chain(refusals).collect()
        },
    },
];

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8b","size":3}]}"#;

const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8b","size":2,"platform":{"os":"unknown","architecture":"unknown"}}]}"#;

/// A manifest or an index, a configuration, the manifests of an index.
fn pushed(bytes: &[u8]) {
    let parts = parts(bytes);
    let manifest = part(&parts, 0);
    let children = children(manifest);
    let platforms = children
        .into_iter()
        .map(|digest| (digest, part(&parts, 2).to_owned()));
    let name = "r.example/a:1".parse().unwrap();
    let digest = Digest::sha256([7; 32]);
    if let Some(image) = PushedImage::existing(&name, &digest, manifest, &platforms.collect()) {
        let largest = image
            .layers
            .iter()
            .map(|layer| layer.size)
            .max()
            .unwrap_or(0);
        assert!(image.bytes.unwrap() >= largest);
    }
    for made in created_by(part(&parts, 1)) {
        assert!(!made.starts_with("RUN |"), "{made}");
    }
}
