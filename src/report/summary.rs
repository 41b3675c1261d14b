//! The job summary: what was made, where the time went, what would help.
//!
//! In: an [`Outcome`]. Out: Markdown of at most a given size, the most important part first. It shows no secret and no value of a build
//! argument.

use super::headline::Tail;
use super::part::{Part, fit};
use super::{Outcome, advice, cache, gantt, headline, phases, push, settings, tables, warnings};

/// Renders the summary within `limit` bytes, with or without the failed step's output.
pub(super) fn render(outcome: &Outcome, tail: Tail, limit: usize) -> String {
    let mut parts = Vec::new();
    for image in outcome.images() {
        let timings = image.timings;
        parts.push(headline::headline(&image));
        if let Some(failure) = image.failure() {
            parts.push(headline::failure(failure, tail, &outcome.redactor));
        }
        parts.extend([
            Part::text(phases::table(timings)),
            cache::part(&image),
            push::part(&image),
            push::packages(&image),
            warnings::retries(timings),
            advice::part(&image),
            Part::text(gantt::chart(timings)),
            tables::slowest(timings),
            tables::layers(image.pushed().map_or(&[], |pushed| &pushed.layers)),
            warnings::part(&warnings::warnings(&image)),
        ]);
    }
    parts.push(settings::settings(outcome));
    parts.extend(outcome.images().map(|image| tables::all(image.timings)));
    fit(&parts, limit)
}
