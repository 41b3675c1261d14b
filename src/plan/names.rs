//! Image names: `repository` and plain tags, or full references, into references.

use super::Remarks;
use crate::image::{ImageRef, is_tag};
use crate::inputs::Inputs;

/// The full references of all tags.
pub(super) fn references(
    inputs: &Inputs,
    own_registry: Option<&str>,
    remarks: &mut Remarks,
) -> Vec<ImageRef> {
    let repository = inputs.repository.as_deref();
    let registry = inputs.registry.as_deref().or(own_registry);
    if let (Some(repository), Some(registry)) = (repository, registry) {
        let name = format!("{registry}/{repository}");
        match name.parse::<ImageRef>() {
            Ok(parsed)
                if parsed.tag.is_none() && parsed.digest.is_none() && parsed.host == registry => {}
            _ => {
                remarks.wrong(
                    "repository",
                    repository,
                    "a path in the registry without host and tag, as `team/app`",
                );
                return Vec::new();
            }
        }
    } else if let (None, Some(registry)) = (repository, &inputs.registry) {
        remarks.wrong(
            "registry",
            registry,
            "`repository` beside it, or full references in `tags`",
        );
    }
    let mut references: Vec<ImageRef> = Vec::new();
    for tag in &inputs.tags {
        let plain = !tag.contains(['/', ':', '@']);
        let full = match (plain, repository, registry) {
            (true, Some(repository), Some(registry)) => {
                if !is_tag(tag) {
                    remarks.wrong(
                        "tags",
                        tag,
                        "a tag of at most 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`",
                    );
                    continue;
                }
                format!("{registry}/{repository}:{tag}")
            }
            (true, None, _) if !inputs.load => {
                remarks.wrong(
                    "tags",
                    tag,
                    "a full reference `registry/repository:tag`, or `repository` beside the plain tag",
                );
                continue;
            }
            _ => tag.clone(),
        };
        match full.parse::<ImageRef>() {
            Ok(reference) if reference.digest.is_some() => {
                remarks.wrong(
                    "tags",
                    tag,
                    "a reference without digest: a push makes the digest",
                );
            }
            Ok(reference) => {
                if !references.contains(&reference) {
                    references.push(reference);
                }
            }
            Err(error) => {
                remarks.wrong("tags", tag, format!("`registry/repository:tag` ({error})"));
            }
        }
    }
    references
}

/// A reference as buildx is given it and the outputs show it: with `latest` when it has no tag.
pub(super) fn printed(reference: &ImageRef) -> String {
    let mut tagged = reference.clone();
    tagged.tag.get_or_insert_with(|| "latest".to_owned());
    tagged.to_string()
}
