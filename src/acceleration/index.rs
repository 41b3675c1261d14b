//! The index of an image for several platforms, as BuildKit would write it, and what all steps did together.

use protocol::{Layer, LayerSource, MOST_PACKAGES, PackageChange, PackageState, Summary};
use serde_json::{Map, Value, json};

use crate::plan::EnginePlan;

/// Media type of an index of OCI (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>).
pub(super) const MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// The index of the images of a plan's parts.
pub(super) fn text(plan: &EnginePlan, images: &[Summary]) -> String {
    let manifests = plan.parts.iter().zip(images).map(|(part, image)| {
        let mut descriptor = json!({
            "mediaType": image.media_type,
            "digest": image.digest.to_string(),
            "size": image.size,
            "platform": platform(part.platform.as_deref().unwrap_or_default()),
        });
        annotate(&mut descriptor, &part.descriptor_annotations);
        descriptor
    });
    let mut index = json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "manifests": manifests.collect::<Vec<Value>>(),
    });
    annotate(&mut index, &plan.index_annotations);
    format!("{index:#}")
}

fn annotate(of: &mut Value, annotations: &[(String, String)]) {
    if !annotations.is_empty() {
        let annotations = annotations.iter().cloned();
        let annotations = annotations.map(|(name, value)| (name, value.into()));
        of["annotations"] = annotations.collect::<Map<String, Value>>().into();
    }
}

/// `linux/arm/v7` as a descriptor has it.
fn platform(text: &str) -> Value {
    let fields = ["os", "architecture", "variant"].into_iter();
    let fields = fields.zip(text.split('/'));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.into()));
    fields.collect::<Map<String, Value>>().into()
}

/// What all steps did together, the last of which wrote the index. The others ran at the same time.
pub(crate) fn summary(index: Summary, images: &[Summary]) -> Summary {
    let mut layers: Vec<Layer> = Vec::new();
    for layer in images.iter().flat_map(|image| &image.layers) {
        if layers.iter().all(|other| other.digest != layer.digest) {
            layers.push(layer.clone());
        }
    }
    let reused = layers
        .iter()
        .filter(|layer| layer.source != LayerSource::Uploaded);
    let sum = |of: fn(&Summary) -> u64| images.iter().map(of).fold(0, u64::saturating_add);
    let streams = images.iter().map(|image| image.streams);
    let times = images.iter().map(|image| image.milliseconds);
    Summary {
        reused: reused.map(|layer| layer.size).fold(0, u64::saturating_add),
        uploaded: sum(|image| image.uploaded),
        streams: streams.fold(0, u32::saturating_add),
        packages: merged(images.iter().map(|image| image.packages.as_deref())),
        milliseconds: times
            .max()
            .unwrap_or_default()
            .saturating_add(index.milliseconds),
        layers,
        ..index
    }
}

/// Changes of packages in all platforms, one that several have once. None if no platform knows the image before.
fn merged<'a>(
    platforms: impl Iterator<Item = Option<&'a [PackageChange]>>,
) -> Option<Vec<PackageChange>> {
    let mut merged: Option<Vec<PackageChange>> = None;
    for changes in platforms.flatten() {
        let merged = merged.get_or_insert_default();
        for change in changes {
            if merged.len() < MOST_PACKAGES && !merged.iter().any(|other| is_same(other, change)) {
                merged.push(change.clone());
            }
        }
    }
    merged
}

/// Whether two changes are the same but for sizes, which differ from platform to platform.
fn is_same(one: &PackageChange, other: &PackageChange) -> bool {
    let version = |state: &Option<PackageState>| state.as_ref().map(|state| state.version.clone());
    one.name == other.name
        && version(&one.before) == version(&other.before)
        && version(&one.after) == version(&other.after)
}

#[cfg(test)]
mod tests {
    use image::Digest;

    use super::*;

    fn digest(seed: u8) -> Digest {
        Digest::sha256([seed; 32])
    }

    fn layer(seed: u8, source: LayerSource) -> Layer {
        Layer {
            name: String::new(),
            digest: digest(seed),
            size: u64::from(seed),
            source,
        }
    }

    fn package(name: &str, size: u64, version: &str) -> PackageChange {
        PackageChange {
            name: name.to_owned(),
            before: None,
            after: Some(PackageState {
                size,
                version: Some(version.to_owned()),
            }),
        }
    }

    fn image(seed: u8, layers: Vec<Layer>, packages: Option<Vec<PackageChange>>) -> Summary {
        Summary {
            digest: digest(seed),
            configuration: Some(digest(99)),
            media_type: "m".to_owned(),
            size: 1,
            layers,
            uploaded: 10,
            reused: 100,
            streams: 2,
            packages,
            milliseconds: u64::from(seed),
        }
    }

    #[test]
    fn what_several_platforms_have_counts_once() {
        let (uploaded, base) = (LayerSource::Uploaded, LayerSource::Base);
        let images = [
            image(1, vec![layer(5, base), layer(6, uploaded)], None),
            image(
                2,
                vec![layer(5, base), layer(7, uploaded)],
                Some(vec![package("pip/a", 1, "1"), package("pip/b", 1, "1")]),
            ),
            image(
                3,
                Vec::new(),
                Some(vec![package("pip/a", 2, "1"), package("pip/b", 1, "2")]),
            ),
        ];
        let mut index = image(9, Vec::new(), None);
        index.configuration = None;
        let all = summary(index, &images);
        let sizes: Vec<u64> = all.layers.iter().map(|layer| layer.size).collect();
        assert_eq!(sizes, [5, 6, 7]);
        assert_eq!(
            (all.reused, all.uploaded, all.streams, all.milliseconds),
            (5, 30, 6, 12)
        );
        assert_eq!(all.configuration, None);
        let packages = all.packages.unwrap();
        let names: Vec<&str> = packages.iter().map(|package| &*package.name).collect();
        assert_eq!(names, ["pip/a", "pip/b", "pip/b"]);
    }

    #[test]
    fn a_platform_is_written_as_in_a_descriptor() {
        for (text, expected) in [
            (
                "linux/amd64",
                json!({"os": "linux", "architecture": "amd64"}),
            ),
            (
                "linux/arm/v7",
                json!({"os": "linux", "architecture": "arm", "variant": "v7"}),
            ),
        ] {
            assert_eq!(platform(text), expected);
        }
    }
}
