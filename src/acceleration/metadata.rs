//! buildx's metadata of an image that the push engine pushed, with what buildx would say of it
//! (<https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>).

use protocol::Summary;
use serde_json::{Map, Value, json};

use crate::buildx::metadata::Metadata;
use crate::plan::{Annotation, ImagePlan, Level};

/// Adds what is now in the registries.
pub(crate) fn complete(metadata: &mut Metadata, summary: &Summary, image: &ImagePlan) {
    let names = image.push.iter().flat_map(|push| &push.names);
    let names: Vec<String> = names.map(ToString::to_string).collect();
    let digest = summary.digest.to_string();
    let configuration = summary.configuration.as_ref().map(ToString::to_string);
    if let Some(configuration) = &configuration {
        let name = "containerimage.config.digest".to_owned();
        metadata.json.insert(name, json!(configuration));
    }
    let mut descriptor =
        json!({"mediaType": summary.media_type, "digest": digest, "size": summary.size});
    let annotations = of_index_descriptor(&image.annotations);
    if configuration.is_none() && !annotations.is_empty() {
        descriptor["annotations"] = annotations.into();
    }
    let entries = [
        ("containerimage.descriptor", descriptor),
        ("containerimage.digest", json!(digest)),
        ("image.name", json!(names.join(","))),
    ];
    for (name, value) in entries {
        metadata.json.insert(name.to_owned(), value);
    }
    metadata.digest = Some(summary.digest.clone());
    // As buildx writes `--iidfile`: an index has no configuration.
    metadata.image_id = configuration.or(Some(digest));
}

/// Annotations of the index's descriptor, `index-descriptor:name=value`: metadata is the only place that has it.
fn of_index_descriptor(annotations: &[String]) -> Map<String, Value> {
    let annotations = annotations.iter().filter_map(|text| {
        let annotation = Annotation::read(text)?;
        let is_named = annotation.is_of(Level::IndexDescriptor);
        is_named.then(|| (annotation.name.to_owned(), annotation.value.into()))
    });
    annotations.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_the_indexs_descriptor_are_told_from_others() {
        let given = [
            "a=1",
            "index:b=2",
            "index-descriptor:c=3=4",
            "index,index-descriptor:d=5",
            "manifest-descriptor:e=6",
            "index-descriptor:f",
        ];
        let found = of_index_descriptor(&given.map(str::to_owned));
        assert_eq!(Value::from(found), json!({"c": "3=4", "d": "5"}));
    }
}
