//! The job summary: what was made, where the time went, what would help.
//!
//! In: an [`Outcome`]. Out: Markdown of at most a given size, the most important part first. It shows no secret and no value of a build
//! argument.

use super::headline::Tail;
use super::part::{Part, fit};
use super::{Outcome, advice, cache, gantt, headline, phases, settings, tables, warnings};

/// Renders the summary within `limit` bytes, with or without the failed step's output.
pub(super) fn render(outcome: &Outcome, tail: Tail, limit: usize) -> String {
    let timings = &outcome.timings;
    let mut parts = vec![headline::headline(outcome)];
    if let Err(error) = &outcome.result {
        parts.push(headline::failure(error, tail, &outcome.redactor));
    }
    let built = outcome.result.as_ref().ok();
    let pushed = built.and_then(|built| built.image.as_ref());
    parts.extend([
        Part::text(phases::table(timings)),
        cache::part(outcome),
        warnings::retries(timings),
        advice::part(outcome),
        Part::text(gantt::chart(timings)),
        tables::slowest(timings),
        tables::layers(pushed.map_or(&[], |image| &image.layers)),
        warnings::part(&warnings::warnings(outcome)),
        settings::settings(&outcome.plan, &outcome.observed.runner, timings.api_traffic),
        tables::all(timings),
    ]);
    fit(&parts, limit)
}
