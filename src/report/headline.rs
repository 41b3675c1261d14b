//! The first lines of the summary: what was built, how long it took, and why it failed.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::time::Duration;

use super::outcome::{Failure, FailureKind, Image};
use super::part::Part;
use super::phases::{largest, percent};
use super::warnings;
use crate::buildx::checks;
use crate::runner::markdown::{block, code, plain};
use crate::runner::redact::Redactor;
use crate::timings::{Earlier, Phase, units};
use crate::unchanged::Mark;

/// Tags below the headline.
const MOST_TAGS: usize = 20;

pub(super) fn headline(image: &Image<'_>) -> Part {
    let Image { plan, timings, .. } = *image;
    let observed = &image.run.observed;
    let name = plan
        .name()
        .map_or_else(|| "the build".to_owned(), |name| code(&name.to_string()));
    let total = units::duration(timings.total);
    let pushed = image.pushed();
    let reused = image.built.and_then(|built| built.unchanged.as_ref());
    let mut text = match (image.failure().map(|failure| failure.kind), &plan.call) {
        (None | Some(FailureKind::Checks), Some(call)) => {
            let call = code(&call.text);
            format!("### Called {call} in {total}; nothing was built or pushed\n\n")
        }
        (None, _) if reused.is_some() => {
            format!("### Nothing was built: {name} is unchanged, tagged in {total}\n\n")
        }
        (None, _) if image.built.is_some_and(|built| built.existed) => {
            format!("### Nothing was built: {name} exists, found in {total}\n\n")
        }
        (None, _) if pushed.is_some() => format!("### Pushed {name} in {total}\n\n"),
        (None, _) => format!("### Built {name} in {total}\n\n"),
        (Some(FailureKind::Cancelled), _) => format!("### Cancelled {name} after {total}\n\n"),
        (Some(_), _) => format!("### Failed to build {name} after {total}\n\n"),
    };
    let mut facts = Vec::new();
    if let (Some(built), Some(before)) = (image.built, &observed.earlier)
        && !built.existed
    {
        facts.push(change(timings.total, before));
    }
    if let Some(time) = largest(timings).filter(|time| time.phase != Phase::Waiting) {
        facts.push(format!(
            "**{} {} ({} %)**",
            time.phase.title(),
            units::duration(time.partition),
            percent(time.partition, timings.total)
        ));
    }
    if timings.total_steps > 0 {
        facts.push(format!(
            "{} of {} steps cached",
            timings.cached_steps, timings.total_steps
        ));
    }
    facts.extend(warnings::count(timings));
    facts.extend(pushed.and_then(|image| image.bytes).map(units::bytes));
    facts.push(format!(
        "driver {}",
        code(image.run.plan.builder.driver.name())
    ));
    let created = observed.registries.created.iter();
    facts.extend(created.map(|name| format!("created the repository {}", code(name))));
    let findings = image
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
    if let Some(mark) = reused {
        let _ = writeln!(text, "\n{}", origin(mark, timings.total));
    }
    if let Some(pushed) = pushed {
        let _ = writeln!(text, "\n{}", whole_code(&pushed.reference));
    }
    let more = plan.tags.get(1..).unwrap_or_default();
    if !more.is_empty() {
        let named: Vec<String> = more
            .iter()
            .take(MOST_TAGS)
            .map(|tag| code(&tag.to_string()))
            .collect();
        let _ = write!(text, "\nAlso tagged {}", named.join(", "));
        match more.len() - named.len() {
            0 => text.push('\n'),
            rest => {
                let _ = writeln!(text, " and {rest} more");
            }
        }
    }
    Part::text(text)
}

/// `Built by <run> from 0123456 on 2026-11-30 07:00 UTC in 36.5 s: 35.2 s saved`.
fn origin(mark: &Mark, total: Duration) -> String {
    let mut text = "Built".to_owned();
    // Checked when it was read: a plain address, a plain commit.
    if let Some(run) = &mark.run {
        let _ = write!(text, " by {run}");
    }
    if let Some(commit) = &mark.commit {
        let _ = write!(text, " from {}", code(commit));
    }
    let _ = write!(text, " on {}", mark.built.strftime("%F %R UTC"));
    let took = mark.seconds.map(Duration::try_from_secs_f64);
    if let Some(Ok(took)) = took {
        let _ = write!(text, " in {}", units::duration(took));
        if let Some(saved) = took.checked_sub(total) {
            let _ = write!(text, ": **{} saved**", units::duration(saved));
        }
    }
    text
}

/// `18 % faster than the median of the last 5 runs (36.0 s)`.
fn change(total: Duration, before: &Earlier) -> String {
    let difference = total.abs_diff(before.median);
    let share = percent(difference, before.median);
    let change = match total.cmp(&before.median) {
        _ if share < 3 => "as fast as".to_owned(),
        Ordering::Less => format!("{share} % faster than"),
        _ => format!("{share} % slower than"),
    };
    let of = match before.runs {
        1 => "the run before".to_owned(),
        runs => format!("the median of the last {runs} runs"),
    };
    format!("**{change}** {of} ({})", units::duration(before.median))
}

/// A reference, which is useless if it is cut.
fn whole_code(reference: &str) -> String {
    if reference.contains('`') {
        return code(reference);
    }
    format!("`{reference}`")
}

/// Whether the failed step's last output is included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    Shown,
    Omitted,
}

/// Why it failed, with the step's last output if it is wanted.
pub(super) fn failure(failure: &Failure, tail: Tail, redactor: &Redactor) -> Part {
    let mut text = String::new();
    for line in &failure.lines {
        let line = match failure.kind {
            FailureKind::Build | FailureKind::Checks => redactor.without_secrets(line),
            FailureKind::Cancelled | FailureKind::Other => redactor.text(line),
        };
        let _ = writeln!(text, "> {}  ", plain(&line));
    }
    if tail == Tail::Shown && !failure.tail.is_empty() {
        text.push('\n');
        text.push_str(&block(failure.tail.iter().map(String::as_str)));
    }
    Part::text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_image_is_that_of_a_run_and_saves_time() {
        let mark = Mark {
            key: "a".repeat(64),
            digest: format!("sha256:{}", "b".repeat(64)).parse().unwrap(),
            run: Some("https://github.com/octo/app/actions/runs/1".to_owned()),
            commit: Some("0123456".to_owned()),
            built: "2026-11-30T07:00:00Z".parse().unwrap(),
            seconds: Some(36.5),
            parts: std::collections::BTreeMap::new(),
        };
        let second = Duration::from_secs(1);
        assert_eq!(
            origin(&mark, second),
            "Built by https://github.com/octo/app/actions/runs/1 from `0123456` on 2026-11-30 07:00 UTC in 36.5 s: **35.5 s saved**"
        );
        let least = Mark {
            run: None,
            commit: None,
            seconds: Some(0.5),
            ..mark
        };
        assert_eq!(
            origin(&least, second),
            "Built on 2026-11-30 07:00 UTC in 0.5 s"
        );
    }

    #[test]
    fn the_change_is_relative_to_the_median() {
        let cases = [
            (
                30_000,
                36_600,
                5,
                "**18 % faster than** the median of the last 5 runs (36.6 s)",
            ),
            (
                60_000,
                30_000,
                1,
                "**100 % slower than** the run before (30.0 s)",
            ),
            (
                30_000,
                30_500,
                3,
                "**as fast as** the median of the last 3 runs (30.5 s)",
            ),
        ];
        for (total, median, runs, expected) in cases {
            let before = Earlier {
                median: Duration::from_millis(median),
                runs,
            };
            assert_eq!(change(Duration::from_millis(total), &before), expected);
        }
    }
}
