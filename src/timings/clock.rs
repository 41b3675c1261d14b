//! From timestamps of two clocks to time since the start of the build.
//!
//! BuildKit timestamps its vertices on its own machine. buildx shifts them once, so that the first one starts when buildx made its request
//! ([`progress.ResetTime`]). That removes a constant skew, and leaves an error of the request's own duration, or of minutes if the first
//! vertex is shared with a build that began earlier. Some of buildx's own vertices go through the same shift (`[auth] …`, `resolving
//! provenance …`, `pushing … with docker`), which makes their timestamps meaningless: the arrival of their lines is used instead.
//!
//! No event arrives before it happens, so the smallest arrival minus timestamp is the clock offset plus the fastest event's latency. Times
//! corrected by it are late by that latency (2 to 5 ms on one machine, half a round trip to a remote builder), never early. A clock that
//! steps during the build cannot be told from slow events: times outside of the build are clamped.
//!
//! [`progress.ResetTime`]: https://github.com/docker/buildx/blob/461836ba0fcb3e847dab6045a726889faa150bdb/build/build.go#L638

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Interval;

/// A timestamp further than this from its arrival is ignored.
const PLAUSIBLE: SignedDuration = SignedDuration::from_hours(24);

/// Which times of a vertex are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// Its timestamps, by BuildKit's clock.
    Builder,
    /// The arrival of its lines, by ours.
    Arrival,
}

/// Arrival minus timestamp; `None` if the timestamp is implausible.
pub(super) fn lag(timestamp: Timestamp, arrived: Timestamp) -> Option<SignedDuration> {
    let lag = arrived.duration_since(timestamp);
    (lag.abs() <= PLAUSIBLE).then_some(lag)
}

/// The runs of a vertex or a status: start and, once known, end.
pub(super) type Runs = BTreeMap<Timestamp, Option<Timestamp>>;

/// The build on both clocks.
#[derive(Debug)]
pub(super) struct Scale {
    pub started: Timestamp,
    /// Everything is clamped to it.
    pub total: Duration,
    /// Added to BuildKit's timestamps.
    pub offset: SignedDuration,
}

impl Scale {
    /// The interval between two points on our clock; without an end it lasts to the end of the build.
    pub(super) fn interval(&self, started: Timestamp, ended: Option<Timestamp>) -> Interval {
        self.between(started, ended, self.total, SignedDuration::ZERO)
    }

    /// Intervals of runs on BuildKit's clock. A run without an end lasts to the start of the next, the last one to `open_end`.
    pub(super) fn intervals(&self, runs: &Runs, open_end: Duration) -> Vec<Interval> {
        let next = runs.keys().skip(1).copied().map(Some).chain([None]);
        let runs = runs.iter().zip(next);
        runs.map(|((started, completed), next)| {
            self.between(*started, completed.or(next), open_end, self.offset)
        })
        .collect()
    }

    fn between(
        &self,
        started: Timestamp,
        ended: Option<Timestamp>,
        open_end: Duration,
        offset: SignedDuration,
    ) -> Interval {
        let since_start = |at: Timestamp| {
            let since = at.duration_since(self.started).saturating_add(offset);
            whole_milliseconds(since).min(self.total)
        };
        let start = since_start(started);
        Interval {
            start,
            end: ended.map_or(open_end, since_start).max(start),
        }
    }
}

/// Whole milliseconds, at least zero.
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
    fn implausible_timestamps_are_ignored() {
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
