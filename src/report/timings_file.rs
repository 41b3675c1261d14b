//! The content of the timings file, without secrets: it becomes an artifact, which the runner does not mask.

use super::outcome::{Image, Outcome};
use super::warnings;
use crate::registry::pushed::Layer;
use crate::runner::redact::Redactor;
use crate::timings::Phase;
use crate::timings::schema::{self, ImageTimings, LayerBytes, TimingsFile, WarningText};

/// The timings of all images of the run.
pub(super) fn timings_file(outcome: &Outcome) -> TimingsFile {
    let images = outcome.images();
    let images = images.map(|image| image_timings(&image));
    let mut file = TimingsFile::new(&outcome.observed.runner, images);
    for image in &mut file.images {
        redact(image, &outcome.redactor);
    }
    file
}

fn image_timings<'a>(image: &Image<'a>) -> schema::Image<'a> {
    let builder = &image.run.plan.builder;
    let pushed = image.pushed();
    let layer = |layer: &Layer| {
        let (created_by, platform) = (layer.created_by.as_deref(), layer.platform.as_deref());
        LayerBytes::new(&layer.digest, layer.size, created_by, platform)
    };
    let layers = pushed.map_or(&[][..], |pushed| &pushed.layers);
    let warnings = warnings::warnings(image).into_iter();
    let warnings =
        warnings.map(|warning| WarningText::new(&warning.text, warning.place.as_deref()));
    schema::Image {
        reference: pushed.map(|pushed| pushed.reference.as_str()),
        driver: builder.driver.name(),
        builder: &builder.name,
        result: image.ended(),
        layers: layers.iter().map(layer).collect(),
        bytes: pushed.and_then(|pushed| pushed.bytes),
        timings: image.timings,
        warnings: warnings.collect(),
    }
}

/// Removes secrets from text of others. Names and errors of BuildKit's steps are already without build arguments.
fn redact(image: &mut ImageTimings, redactor: &Redactor) {
    for step in &mut image.steps {
        if step.phase == Phase::Builder {
            step.error = step.error.as_deref().map(|error| redactor.text(error));
        }
    }
    let steps = image.steps.iter_mut().flat_map(|step| {
        let optional = [&mut step.stage, &mut step.error].into_iter().flatten();
        std::iter::once(&mut step.name).chain(optional)
    });
    let retries = image.retries.iter_mut();
    let retries = retries.flat_map(|retry| [&mut retry.what, &mut retry.why]);
    let layers = image.layers.iter_mut();
    let layers = layers.filter_map(|layer| layer.created_by.as_mut());
    let warnings = image.warnings.iter_mut().map(|warning| &mut warning.text);
    for text in steps.chain(retries).chain(layers).chain(warnings) {
        *text = redactor.without_secrets(text);
    }
}
