//! The content of the timings file, without secrets: it becomes an artifact, which the runner does not mask.

use super::{Outcome, warnings};
use crate::registry::pushed::Layer;
use crate::runner::redact::Redactor;
use crate::timings::Phase;
use crate::timings::schema::{Ended, Image, ImageTimings, LayerBytes, TimingsFile, WarningText};

/// The timings of all images of the run.
pub(super) fn timings_file(outcome: &Outcome) -> TimingsFile {
    let built = outcome.result.as_ref().ok();
    let pushed = built.and_then(|built| built.image.as_ref());
    let layer = |layer: &Layer| {
        let (created_by, platform) = (layer.created_by.as_deref(), layer.platform.as_deref());
        LayerBytes::new(&layer.digest, layer.size, created_by, platform)
    };
    let layers = pushed.map_or(&[][..], |pushed| &pushed.layers);
    let warnings = warnings::warnings(outcome).into_iter();
    let warnings =
        warnings.map(|warning| WarningText::new(&warning.text, warning.place.as_deref()));
    let image = Image {
        reference: pushed.map(|pushed| pushed.reference.as_str()),
        driver: outcome.plan.builder.driver.name(),
        builder: &outcome.plan.builder.name,
        result: match &outcome.result {
            Ok(_) => Ended::Success,
            Err(error) if error.is_cancelled() => Ended::Cancelled,
            Err(_) => Ended::Failure,
        },
        layers: layers.iter().map(layer).collect(),
        bytes: pushed.and_then(|pushed| pushed.bytes),
        timings: &outcome.timings,
        warnings: warnings.collect(),
    };
    let mut file = TimingsFile::new(&outcome.observed.runner, [image]);
    for image in &mut file.images {
        redact(image, &outcome.redactor);
    }
    file
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
