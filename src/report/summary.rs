//! The job summary: what was made, and where the time went.
//!
//! In: an [`Outcome`]. Out: Markdown of at most a given size; what does not fit is left out from
//! the end, table by table, and that is said. No secret and no value of a build argument is shown.

use std::fmt::Write as _;

use super::markdown::{block, code, plain};
use super::{Outcome, units};
use crate::build::{BuildError, checks};
use crate::error::Error;
use crate::push::Layer;
use crate::timings::{BuildTimings, Phase};

/// Rows of the tables of steps and layers.
const ROWS: usize = 10;

/// Width of a full bar.
const BAR: u128 = 20;

/// Renders the summary within `limit` bytes.
pub(super) fn render(outcome: &Outcome, limit: usize) -> String {
    let mut parts = vec![headline(outcome)];
    match &outcome.result {
        Ok(_) => {}
        Err(error) => parts.push(failure(error)),
    }
    parts.push(phases(&outcome.timings));
    parts.push(steps(&outcome.timings));
    if let Ok(built) = &outcome.result
        && let Some(image) = &built.image
    {
        parts.push(layers(&image.layers));
    }
    let mut text = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        const LEFT_OUT: &str = "\nThe rest did not fit into a job summary.\n";
        if text.len() + part.len() + LEFT_OUT.len() + 1 > limit {
            text.push_str(LEFT_OUT);
            break;
        }
        text.push_str(part);
        text.push('\n');
    }
    text
}

fn headline(outcome: &Outcome) -> String {
    let Outcome {
        plan,
        timings,
        result,
    } = outcome;
    let image = plan.images.first();
    let name = image
        .and_then(|image| match image.tags.first() {
            Some(tag) => Some(tag.clone()),
            None => image.references.first().map(ToString::to_string),
        })
        .map_or_else(|| "the build".to_owned(), |name| code(&name));
    let total = units::duration(timings.total);
    let pushed = result.as_ref().ok().and_then(|built| built.image.as_ref());
    let call = image.and_then(|image| image.call.as_ref());
    let mut text = match result {
        Ok(_) | Err(Error::Build(BuildError::Checks { .. })) if call.is_some() => {
            let call = call.map(|call| code(&call.text)).unwrap_or_default();
            format!("### Called {call} in {total}; nothing was built or pushed\n\n")
        }
        Ok(_) if pushed.is_some() => format!("### Pushed {name} in {total}\n\n"),
        Ok(_) => format!("### Built {name} in {total}\n\n"),
        Err(error) if error.is_cancelled() => {
            format!("### Cancelled {name} after {total}\n\n")
        }
        Err(_) => format!("### Failed to build {name} after {total}\n\n"),
    };
    let mut facts = Vec::new();
    if let Some(image) = pushed {
        facts.push(code(&image.reference));
        facts.extend(image.bytes.map(units::bytes));
    }
    facts.push(format!("driver {}", code(plan.builder.driver.name())));
    if timings.total_steps > 0 {
        facts.push(format!(
            "{} of {} steps cached",
            timings.cached_steps, timings.total_steps
        ));
    }
    let findings = outcome
        .metadata()
        .map_or(0, |metadata| checks::findings(metadata).len());
    if findings > 0 {
        facts.push(format!(
            "the build checks found {}",
            checks::count(findings)
        ));
    }
    text.push_str(&facts.join(" · "));
    text.push('\n');
    if let Some(more) = image.map(|image| image.tags.iter().skip(1)) {
        let more: Vec<String> = more.map(|tag| code(tag)).collect();
        if !more.is_empty() {
            let _ = writeln!(text, "\nAlso tagged {}", more.join(", "));
        }
    }
    text
}

fn failure(error: &Error) -> String {
    let mut text = String::new();
    for line in error.lines() {
        let _ = writeln!(text, "> {}  ", plain(&line));
    }
    if let Some(failure) = error.failure().filter(|failure| !failure.tail.is_empty()) {
        text.push('\n');
        text.push_str(&block(failure.tail.iter().map(String::as_str)));
    }
    text
}

/// The partition: its rows add up to the total.
fn phases(timings: &BuildTimings) -> String {
    let mut text = "| Phase | Time | Share | |\n| :-- | --: | --: | :-- |\n".to_owned();
    let total = timings.total.as_millis().max(1);
    // In the order in which they usually come.
    const ORDER: &[Phase] = &[
        Phase::Setup,
        Phase::Builder,
        Phase::Context,
        Phase::CacheImport,
        Phase::Pull,
        Phase::Build,
        Phase::Export,
        Phase::Push,
        Phase::CacheExport,
        Phase::Other,
        Phase::Waiting,
    ];
    for phase in ORDER {
        let time = timings.phase(*phase).partition;
        let milliseconds = time.as_millis();
        if milliseconds == 0 {
            continue;
        }
        let filled = usize::try_from((milliseconds * BAR + total / 2) / total).unwrap_or(0);
        let _ = writeln!(
            text,
            "| {} | {} | {} % | {} |",
            title(*phase),
            units::duration(time),
            (milliseconds * 100 + total / 2) / total,
            "█".repeat(filled)
        );
    }
    let _ = writeln!(
        text,
        "| **Total** | **{}** | | |",
        units::duration(timings.total)
    );
    text
}

fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Setup => "Set-up",
        Phase::Builder => "Builder",
        Phase::Context => "Context",
        Phase::CacheImport => "Cache import",
        Phase::Pull => "Pull",
        Phase::Build => "Build",
        Phase::Export => "Export",
        Phase::Push => "Push",
        Phase::CacheExport => "Cache export",
        Phase::Other => "Unclassified",
        Phase::Waiting => "Waiting",
    }
}

fn steps(timings: &BuildTimings) -> String {
    let slowest = timings.slowest_steps();
    let slowest: Vec<_> = slowest
        .into_iter()
        .filter(|step| !step.cached && step.duration.as_millis() >= 100)
        .collect();
    if slowest.is_empty() {
        return String::new();
    }
    let mut text = "| Slowest steps | Time |\n| :-- | --: |\n".to_owned();
    for step in slowest.iter().take(ROWS) {
        let _ = writeln!(
            text,
            "| {} | {} |",
            code(&step.name),
            units::duration(step.duration)
        );
    }
    more(&mut text, slowest.len());
    text
}

fn layers(layers: &[Layer]) -> String {
    if layers.is_empty() {
        return String::new();
    }
    let total: u64 = layers.iter().map(|layer| layer.size).sum();
    let mut largest: Vec<&Layer> = layers.iter().collect();
    largest.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    let mut text = "| Largest layers | Size | Share |\n| :-- | --: | --: |\n".to_owned();
    for layer in largest.iter().take(ROWS) {
        let name = layer
            .created_by
            .as_deref()
            .filter(|text| !text.is_empty())
            .unwrap_or(&layer.digest);
        let name = match &layer.platform {
            Some(platform) => format!("[{platform}] {name}"),
            None => name.to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} % |",
            code(&name),
            units::bytes(layer.size),
            (layer.size * 100 + total / 2) / total.max(1)
        );
    }
    more(&mut text, layers.len());
    text
}

fn more(text: &mut String, rows: usize) {
    if rows > ROWS {
        let _ = writeln!(text, "\n{} more are not shown.", rows - ROWS);
    }
}
