//! Layers of uneven size.

use super::{Advice, Facts, matters};
use crate::report::tables;
use crate::runner::markdown::code;
use crate::timings::{Phase, Step, units};

/// Smaller layers are quick (bytes, compressed).
const LARGE: u64 = 100_000_000;

/// One layer holds most of the image. Silent for a layer of the base image, or if export and push took little time.
pub(super) fn one_layer_holds_most(facts: &Facts<'_>) -> Option<Advice> {
    let sizes = facts.layers.iter().map(|layer| layer.size);
    // A registry may say anything.
    let total = sizes.fold(0, u64::saturating_add);
    let largest = facts.layers.iter().max_by_key(|layer| layer.size)?;
    let is_even = u128::from(largest.size) * 5 < u128::from(total) * 3;
    if facts.layers.len() < 2 || largest.size < LARGE || is_even {
        return None;
    }
    let made = largest.created_by.as_deref()?;
    let ran = |step: &Step| step.phase == Phase::Build && !step.cached && makes(&step.name, made);
    let time = |phase| facts.timings.phase(phase).partition;
    let time = time(Phase::Export) + time(Phase::Push);
    if !facts.timings.steps.iter().any(ran) || !matters(time, facts) {
        return None;
    }
    Some(Advice {
        text: format!(
            "One layer holds {} % of the image ({} of {}): {}. One thread compresses it and one stream pushes it: split its step in two or \
             more, with what rarely changes first.",
            u128::from(largest.size) * 100 / u128::from(total),
            units::bytes(largest.size),
            units::bytes(total),
            code(&tables::name(largest))
        ),
        concerns: time,
    })
}

/// Whether the step made the layer with this history. A step's name has flags and the values of variables, but no quotation marks; the
/// history has neither flags nor values, and a copy's target as an absolute path
/// (<https://github.com/moby/buildkit/blob/73ed6825c4b7569379ef89df0aedcdbe64473d31/frontend/dockerfile/dockerfile2llb/convert.go>,
/// `dispatchRun` and `dispatchCopy`).
fn makes(name: &str, history: &str) -> bool {
    let Some((_, command)) = name.split_once("] ") else {
        return false;
    };
    let command = words(command.strip_prefix("LINK ").unwrap_or(command));
    let mut history = words(history);
    let is_prefix = |history: &[String]| history.len() > 1 && command.starts_with(history);
    if history.first().is_some_and(|verb| verb != "RUN") {
        history.pop();
        return is_prefix(&history);
    }
    match history.iter().position(|word| word.contains('$')) {
        Some(variable) => {
            history.truncate(variable);
            is_prefix(&history)
        }
        None => !history.is_empty() && command == history,
    }
}

/// The words of a command without flags and quotation marks.
fn words(command: &str) -> Vec<String> {
    let command = command.replace(['"', '\'', '\\'], "");
    let mut words = command.split_whitespace();
    let verb = words.next();
    let rest = words.skip_while(|word| word.starts_with("--"));
    verb.into_iter().chain(rest).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_that_made_a_layer_is_found() {
        let cases = [
            ("[3/5] RUN pip install torch", "RUN pip install torch", true),
            (
                "[app 3/5] RUN --mount=type=cache,target=/x pip install torch",
                "RUN pip install torch",
                true,
            ),
            ("[2/5] RUN echo a b && c", "RUN echo \"a b\" && c", true),
            ("[2/5] RUN make V=1.2 all", "RUN make V=$V all", true),
            ("[2/5] RUN make all", "RUN $TOOL all", false),
            ("[2/5] RUN make", "RUN make all", false),
            (
                "[4/5] COPY --chown=1:1 a b .",
                "COPY --chown=1:1 a b /app/",
                true,
            ),
            ("[4/5] LINK COPY --link . .", "COPY . /app", true),
            ("[4/5] COPY b .", "COPY a /app", false),
            ("[4/5] COPY a .", "COPY", false),
            ("exporting to image", "RUN make", false),
            ("[2/5] RUN make", "", false),
        ];
        for (name, history, expected) in cases {
            assert_eq!(makes(name, history), expected, "{name}: {history}");
        }
    }
}
