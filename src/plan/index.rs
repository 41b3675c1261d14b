//! Annotations of an image's index, where the image has none.
//!
//! BuildKit refuses them when it exports the image, after the whole build
//! (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/exporter/containerimage/writer.go>,
//! `Commit`).

use lists::attributes;

use super::Diagnostics;
use crate::inputs::attest::Attest;
use crate::inputs::output_spec::OutputSpec;
use crate::inputs::{Inputs, Platform};
use crate::metadata::labels::Labels;

const EXPECTED: &str = "no annotation at this level: an image of one platform without attestation has no index; add a platform \
                        or `provenance: true`, or remove the level";

/// Refuses the first annotation that needs an index, of the image and of each output.
pub(super) fn check(
    inputs: &Inputs,
    annotations: &[String],
    attestations: &[Attest],
    outputs: &[OutputSpec],
    diagnostics: &mut Diagnostics,
) {
    let without_index = |output: &&OutputSpec| {
        (output.is_image() || output.is_archive()) && !has_index(inputs, attestations, output)
    };
    let annotation = annotations.iter().find_map(|line| {
        let (name, _) = line.split_once('=')?;
        needs_index(name).then_some(name)
    });
    if let Some(name) = annotation
        && outputs.iter().any(|output| without_index(&output))
    {
        let expected = match inputs.annotations {
            Labels::Auto(_) => format!("{EXPECTED}, also from DOCKER_METADATA_ANNOTATIONS_LEVELS"),
            Labels::Lines(_) => EXPECTED.to_owned(),
        };
        diagnostics.wrong("annotations", name, expected);
    }
    for output in outputs.iter().filter(without_index) {
        if let Some(name) = output.attribute_names().find(|name| is_of_index(name)) {
            diagnostics.wrong("outputs", name, EXPECTED);
        }
    }
}

/// Several platforms make an index, and so does an attestation. One that is `inline-only` does so in a file alone.
fn has_index(inputs: &Inputs, attestations: &[Attest], output: &OutputSpec) -> bool {
    let mut platforms: Vec<&Platform> = Vec::new();
    for platform in &inputs.platforms {
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    // https://docs.docker.com/reference/dockerfile/#buildkit-built-in-build-args
    let is_forced = inputs.build_args.iter().any(|argument| {
        let value = argument.value.as_deref();
        argument.name == "BUILDKIT_MULTI_PLATFORM"
            && value.is_none_or(|value| attributes::boolean(value) == Some(true))
    });
    let counts =
        |attest: &Attest| attest.is_on() && (output.is_archive() || !attest.is_inline_only());
    platforms.len() > 1 || is_forced || attestations.iter().any(counts)
}

/// Whether an annotation's name has a level of an index: `index:a`, `manifest,index-descriptor:a`.
fn needs_index(name: &str) -> bool {
    let Some((levels, _)) = name.split_once(':') else {
        return false;
    };
    let mut levels = levels.split(',');
    levels.any(|level| {
        let level = level.split('[').next().unwrap_or_default();
        matches!(level, "index" | "index-descriptor")
    })
}

/// The same of an exporter's attribute: `annotation-index.a`.
fn is_of_index(attribute: &str) -> bool {
    let level = attribute.split(['.', '[']).next().unwrap_or_default();
    matches!(level, "annotation-index" | "annotation-index-descriptor")
}
