//! The content of the timings file, without secrets: it becomes an artifact, which the runner does not mask.

use super::outcome::{Image, Outcome};
use super::warnings;
use crate::registry::pushed::Layer;
use crate::runner::redact::Redactor;
use crate::timings::Phase;
use crate::timings::schema::{
    ImageTimings, LayerBytes, MOST_WARNINGS, SCHEMA, TimingsFile, WarningText,
};

pub(super) fn timings_file(outcome: &Outcome) -> TimingsFile {
    let image = |image: Image<'_>| {
        let mut timings = image_timings(&image);
        redact(&mut timings, &outcome.redactor);
        timings
    };
    TimingsFile {
        schema: SCHEMA,
        runner: outcome.observed.runner.clone(),
        images: outcome.images().map(image).collect(),
    }
}

fn image_timings(image: &Image<'_>) -> ImageTimings {
    let builder = &image.run.plan.builder;
    let pushed = image.pushed();
    let layer = |layer: &Layer| {
        let (created_by, platform) = (layer.created_by.as_deref(), layer.platform.as_deref());
        LayerBytes::new(&layer.digest, layer.size, created_by, platform)
    };
    let layers = pushed.map_or(&[][..], |pushed| &pushed.layers);
    let warnings = warnings::warnings(image).into_iter().take(MOST_WARNINGS);
    let warnings =
        warnings.map(|warning| WarningText::new(&warning.text, warning.place.as_deref()));
    let engine = image.built.and_then(|built| built.engine.as_ref());
    ImageTimings {
        image: pushed.map(|pushed| pushed.reference.clone()),
        driver: builder.driver.name().to_owned(),
        builder: builder.name.clone(),
        result: image.ended(),
        build: image.timings.clone(),
        layers: layers.iter().map(layer).collect(),
        warnings: warnings.collect(),
        image_bytes: pushed.and_then(|pushed| pushed.bytes),
        pushed_bytes: engine.map(|engine| engine.uploaded),
        reused_bytes: engine.map(|engine| engine.reused),
    }
}

/// Removes secrets from text of others. Names and errors of BuildKit's steps are already without build arguments.
fn redact(image: &mut ImageTimings, redactor: &Redactor) {
    for step in &mut image.build.steps {
        if step.phase == Phase::Builder {
            step.error = step.error.as_deref().map(|error| redactor.text(error));
        }
    }
    let steps = image.build.steps.iter_mut().flat_map(|step| {
        let optional = [&mut step.stage, &mut step.error].into_iter().flatten();
        std::iter::once(&mut step.name).chain(optional)
    });
    let retries = image.build.retries.iter_mut();
    let retries = retries.flat_map(|retry| [&mut retry.what, &mut retry.why]);
    let layers = image.layers.iter_mut();
    let layers = layers.filter_map(|layer| layer.created_by.as_mut());
    let warnings = image.warnings.iter_mut().map(|warning| &mut warning.text);
    for text in steps.chain(retries).chain(layers).chain(warnings) {
        *text = redactor.without_secrets(text);
    }
}
