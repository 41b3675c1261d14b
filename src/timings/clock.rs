//! From timestamps of two clocks to time since the start of the build.
//!
//! BuildKit times its vertices on its own machine. Buildx shifts them once, so that the first one starts when buildx made its
//! request ([`progress.ResetTime`]): that takes away a constant skew, and leaves an error of the request's own time, or of
//! minutes where the first vertex is shared with a build that began earlier. Vertices that buildx itself writes carry the time
//! of our machine, but some of them go through the same shift (`[auth] …`, `resolving provenance …`, `pushing … with docker`),
//! so their timestamps mean nothing; buildx runs beside us, and when their lines arrive is when it happens.
//!
//! No event arrives before it happened, so the smallest arrival minus timestamp is the offset plus the fastest event's way
//! here. What is corrected by it is late by that way (on one machine 2 to 5 ms, to a far builder half a round trip), never
//! early. A clock that steps during the build cannot be told from slow events: what then falls outside the build is clamped.
//!
//! [`progress.ResetTime`]: https://github.com/docker/buildx/blob/461836ba0fcb3e847dab6045a726889faa150bdb/build/build.go#L638

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Interval;

/// A timestamp further than this from its arrival is no time of this build and counts as missing.
const PLAUSIBLE: SignedDuration = SignedDuration::from_hours(24);

/// What tells when a vertex ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// Its timestamps, by BuildKit's clock.
    Builder,
    /// When its lines arrived, by ours.
    Arrival,
}

/// How long before `arrived` the timestamp says its event was; `None` where the timestamp is absurd.
pub(super) fn lag(timestamp: Timestamp, arrived: Timestamp) -> Option<SignedDuration> {
    let lag = arrived.duration_since(timestamp);
    (lag.abs() <= PLAUSIBLE).then_some(lag)
}

/// When a vertex or a status ran: each start, with its end once that is known.
pub(super) type Runs = BTreeMap<Timestamp, Option<Timestamp>>;

/// The build on both clocks.
#[derive(Debug)]
pub(super) struct Scale {
    pub started: Timestamp,
    /// How long the build took; everything is clamped to it.
    pub total: Duration,
    /// What to add to BuildKit's timestamps.
    pub offset: SignedDuration,
}

impl Scale {
    /// The interval between two points on our clock; without an end it lasts to the end of the build.
    pub(super) fn interval(&self, started: Timestamp, ended: Option<Timestamp>) -> Interval {
        let start = self.since_start(started, SignedDuration::ZERO);
        let end = ended.map_or(self.total, |at| self.since_start(at, SignedDuration::ZERO));
        Interval {
            start,
            end: end.max(start),
        }
    }

    /// Intervals of runs on BuildKit's clock. A run that never completed ends where the next one starts, the last one at `open_end`.
    pub(super) fn intervals(&self, runs: &Runs, open_end: Duration) -> Vec<Interval> {
        let mut intervals = Vec::with_capacity(runs.len());
        let mut runs = runs.iter().peekable();
        while let Some((started, completed)) = runs.next() {
            let start = self.since_start(*started, self.offset);
            let ended = completed.or_else(|| runs.peek().map(|(next, _)| **next));
            let end = ended.map_or(open_end, |at| self.since_start(at, self.offset));
            intervals.push(Interval {
                start,
                end: end.max(start),
            });
        }
        intervals
    }

    fn since_start(&self, at: Timestamp, offset: SignedDuration) -> Duration {
        let since = at.duration_since(self.started).saturating_add(offset);
        whole_milliseconds(since).min(self.total)
    }
}

/// Nothing before zero, and nothing finer than a millisecond.
pub(super) fn whole_milliseconds(duration: SignedDuration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn intervals_are_corrected_closed_and_clamped() {
        let scale = Scale {
            started: at(0),
            total: Duration::from_millis(1_000),
            offset: SignedDuration::from_millis(-5_000),
        };
        let cases = [
            ("corrected", vec![(5_100, Some(5_200))], "100-200"),
            (
                "twice",
                vec![(5_100, Some(5_200)), (5_300, Some(5_400))],
                "100-200 300-400",
            ),
            (
                "open, then again",
                vec![(5_100, None), (5_300, Some(5_400))],
                "100-300 300-400",
            ),
            ("open at the end", vec![(5_100, None)], "100-900"),
            (
                "before and after the build",
                vec![(4_000, Some(7_000))],
                "0-1000",
            ),
            (
                "completed before it started",
                vec![(5_300, Some(5_100))],
                "300-300",
            ),
        ];
        for (name, runs, expected) in cases {
            let runs = runs
                .into_iter()
                .map(|(from, to)| (at(from), to.map(at)))
                .collect();
            let intervals = scale.intervals(&runs, Duration::from_millis(900));
            let shown = intervals.iter().map(|Interval { start, end }| {
                format!("{}-{}", start.as_millis(), end.as_millis())
            });
            assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{name}");
        }
    }

    #[test]
    fn absurd_timestamps_are_no_times() {
        for absurd in [
            "0001-01-01T00:00:00Z",
            "9999-12-30T22:00:00Z",
            "2023-11-13T00:00:00Z",
        ] {
            assert_eq!(lag(absurd.parse().unwrap(), at(0)), None, "{absurd}");
        }
        assert_eq!(lag(at(5_000), at(0)), Some(SignedDuration::from_secs(-5)));
    }
}
