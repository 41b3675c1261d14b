//! The phases as a table with bars.
//!
//! In: timings. Out: a row for each phase that took time, in the usual order. Times and bars are the partition's, which add up to the total;
//! a phase that ran much longer in parallel with others also shows its union.

use std::fmt::Write as _;
use std::time::Duration;

use crate::timings::{BuildTimings, Phase, PhaseTime, units};

/// Width of a full bar (characters).
const BAR: u128 = 24;

/// The table; its rows add up to the total.
pub(super) fn table(timings: &BuildTimings) -> String {
    let mut text = "| Phase | Time | | Share |\n| :-- | --: | :-- | --: |\n".to_owned();
    let mut parallel = false;
    for phase in Phase::ORDER {
        let time = timings.phase(phase);
        if time.partition.is_zero() {
            continue;
        }
        let mut bar = bar(time.partition, timings.total);
        if differs(time) {
            parallel = true;
            let _ = write!(bar, " ran {}", units::duration(time.union));
        }
        let _ = writeln!(
            text,
            "| {} | {} | {bar} | {} % |",
            phase.title(),
            units::duration(time.partition),
            percent(time.partition, timings.total),
        );
    }
    let total = units::duration(timings.total);
    let _ = writeln!(text, "| **Total** | **{total}** | | |");
    if parallel {
        text.push_str(
            "\n_ran_: how long the phase ran in all, partly in parallel with phases that the time is counted for.\n",
        );
    }
    text
}

/// The longest phase, if it took more than a third.
pub(super) fn largest(timings: &BuildTimings) -> Option<PhaseTime> {
    let longest = timings.phases.iter().max_by_key(|time| time.partition);
    longest
        .filter(|time| time.partition * 3 > timings.total)
        .copied()
}

/// Whole percent, rounded.
pub(super) fn percent(part: Duration, whole: Duration) -> u128 {
    let whole = whole.as_millis().max(1);
    (part.as_millis() * 100 + whole / 2) / whole
}

/// Blocks in proportion to the share, at least half a block.
fn bar(part: Duration, whole: Duration) -> String {
    let whole = whole.as_millis().max(1);
    let halves = (part.as_millis() * BAR * 2 + whole / 2) / whole;
    let full = usize::try_from(halves / 2).unwrap_or(0);
    let half = if halves % 2 == 1 || full == 0 {
        "▌"
    } else {
        ""
    };
    format!("{}{half}", "█".repeat(full))
}

/// Whether both views differ so much that one alone misleads.
fn differs(time: PhaseTime) -> bool {
    let more = time.union.saturating_sub(time.partition);
    more >= Duration::from_secs(1) && more * 4 >= time.union
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timings::tests::recording;

    #[test]
    fn every_phase_has_its_place() {
        let mut sorted = Phase::ORDER;
        sorted.sort_unstable();
        assert_eq!(sorted, Phase::ALL);
    }

    #[test]
    fn bars_are_as_long_as_the_share() {
        let seconds = Duration::from_secs;
        let cases = [(100, 24), (50, 12), (25, 6), (0, 1)];
        for (part, length) in cases {
            assert_eq!(bar(seconds(part), seconds(100)).chars().count(), length);
        }
        assert_eq!(bar(seconds(2), seconds(100)), "▌");
    }

    #[test]
    fn a_phase_in_parallel_with_others_shows_how_long_it_ran() {
        let time = |union, partition| PhaseTime {
            phase: Phase::CacheExport,
            union: Duration::from_millis(union),
            partition: Duration::from_millis(partition),
        };
        assert!(differs(time(5_000, 2_000)));
        assert!(!differs(time(900, 100)), "less than a second");
        assert!(!differs(time(20_000, 18_000)), "less than a quarter");
    }

    #[test]
    fn shares_of_recorded_builds_add_up() {
        for (name, recording) in recording::all() {
            let timings = recording.timings();
            let sum: u128 = Phase::ORDER
                .map(|phase| percent(timings.phase(phase).partition, timings.total))
                .iter()
                .sum();
            assert!((95..=105).contains(&sum), "{name}: {sum} %");
        }
    }
}
