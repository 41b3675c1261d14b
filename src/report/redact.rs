//! The timings file without secrets: it becomes an artifact, which nobody masks.

use crate::runner::redact::Redactor;
use crate::timings::Phase;
use crate::timings::schema::{ImageTimings, TimingsFile};

impl TimingsFile {
    /// Takes secrets out of all that others wrote. Names and errors of a build's steps come without.
    pub(super) fn redact(&mut self, redactor: &Redactor) {
        let steps = self.images.iter_mut().flat_map(|image| &mut image.steps);
        for step in steps.filter(|step| step.phase == Phase::Builder) {
            step.error = step.error.as_deref().map(|error| redactor.text(error));
        }
        let texts = self.images.iter_mut().flat_map(ImageTimings::texts);
        for text in texts {
            *text = redactor.without_secrets(text);
        }
    }
}

impl ImageTimings {
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let steps = self.steps.iter_mut().flat_map(|step| {
            let more = [&mut step.stage, &mut step.error];
            std::iter::once(&mut step.name).chain(more.into_iter().flatten())
        });
        let retries = self.retries.iter_mut();
        let retries = retries.flat_map(|retry| [&mut retry.what, &mut retry.why]);
        let layers = self.layers.iter_mut();
        let layers = layers.filter_map(|layer| layer.created_by.as_mut());
        let warnings = self.warnings.iter_mut().map(|warning| &mut warning.text);
        steps.chain(retries).chain(layers).chain(warnings)
    }
}
