//! The job summary: what was made, where the time went, what to do about it.
//!
//! In: an [`Outcome`]. Out: Markdown of at most a given size ([`part`](super::part) drops what does not fit). No secret and no value of a
//! build argument is shown. What matters most stands first: a summary is read in seconds.

use super::headline::Tail;
use super::part::{Part, fit};
use super::{Outcome, advice, cache, gantt, headline, phases, settings, tables, warnings};

/// Renders the summary within `limit` bytes.
pub(super) fn render(outcome: &Outcome, limit: usize) -> String {
    rendered(outcome, Tail::Shown, limit)
}

/// The same without what the failed step printed.
pub(super) fn comment(outcome: &Outcome, limit: usize) -> String {
    rendered(outcome, Tail::Left, limit)
}

fn rendered(outcome: &Outcome, tail: Tail, limit: usize) -> String {
    let Outcome {
        plan,
        timings,
        result,
        around,
        redactor,
    } = outcome;
    let built = result.as_ref().ok();
    let layers = built
        .and_then(|built| built.image.as_ref())
        .map_or(&[][..], |image| &image.layers);
    let mut parts = vec![headline::headline(outcome)];
    if let Err(error) = result {
        parts.push(headline::failure(error, tail, redactor));
    }
    parts.extend([
        Part::text(phases::table(timings)),
        cache::part(outcome),
        warnings::retries(timings),
        advice::part(outcome),
        Part::text(gantt::chart(timings)),
        tables::slowest(timings),
        tables::layers(layers),
        warnings::part(&warnings::warnings(outcome)),
        settings::settings(plan, &around.runner, timings.api_traffic),
        tables::all(timings),
    ]);
    fit(&parts, limit)
}
