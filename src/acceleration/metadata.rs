//! buildx's metadata of an image that the push engine pushed, with what buildx would say of it
//! (<https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>).

use protocol::Summary;
use serde_json::json;

use crate::buildx::metadata::Metadata;
use crate::plan::ImagePlan;

/// Adds what is now in the registries.
pub(crate) fn complete(metadata: &mut Metadata, summary: &Summary, image: &ImagePlan) {
    let names = image.push.iter().flat_map(|push| &push.names);
    let names: Vec<String> = names.map(ToString::to_string).collect();
    let digest = summary.digest.to_string();
    let configuration = summary.configuration.to_string();
    let entries = [
        ("containerimage.config.digest", json!(configuration)),
        (
            "containerimage.descriptor",
            json!({"mediaType": summary.media_type, "digest": digest, "size": summary.size}),
        ),
        ("containerimage.digest", json!(digest)),
        ("image.name", json!(names.join(","))),
    ];
    for (name, value) in entries {
        metadata.json.insert(name.to_owned(), value);
    }
    metadata.digest = Some(summary.digest.clone());
    metadata.image_id = Some(configuration);
}
