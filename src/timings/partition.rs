//! Overlapping intervals into durations.
//!
//! In: [`Activity`]s and the total. Out: both views of every phase and the timeline. The code sweeps over all starts and ends. Nothing
//! changes between two of them, so that time counts for the union of every running phase and for the partition of one.

use std::time::Duration;

use super::{Interval, Phase, PhaseTime, Segment};

/// Something that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Activity {
    pub phase: Phase,
    pub interval: Interval,
    /// Counts only while nothing else runs: an `[auth]` vertex is part of whatever needs the token.
    pub weak: bool,
}

/// Both views; intervals are clamped to `total`.
pub(super) fn partition(
    activities: &[Activity],
    total: Duration,
) -> (Vec<PhaseTime>, Vec<Segment>) {
    let mut edges: Vec<(Duration, bool, &Activity)> = Vec::with_capacity(activities.len() * 2);
    for activity in activities {
        let Interval { start, end } = activity.interval;
        let (start, end) = (start.min(total), end.min(total));
        if start < end {
            edges.push((start, true, activity));
            edges.push((end, false, activity));
        }
    }
    edges.sort_by_key(|(at, ..)| *at);

    let mut sweep = Sweep::default();
    let mut edges = edges.into_iter().peekable();
    let mut now = Duration::ZERO;
    while now < total {
        while let Some((_, begins, activity)) = edges.next_if(|(at, ..)| *at <= now) {
            sweep.change(activity, begins);
        }
        let next = edges.peek().map_or(total, |(at, ..)| *at);
        sweep.spend(Interval {
            start: now,
            end: next,
        });
        now = next;
    }
    (sweep.times(), sweep.timeline)
}

/// The number of running activities of each phase, and the times so far; indices are those of [`Phase::ALL`].
#[derive(Debug, Default)]
struct Sweep {
    strong: [usize; Phase::ALL.len()],
    weak: [usize; Phase::ALL.len()],
    union: [Duration; Phase::ALL.len()],
    partition: [Duration; Phase::ALL.len()],
    timeline: Vec<Segment>,
}

impl Sweep {
    fn change(&mut self, activity: &Activity, begins: bool) {
        let running = if activity.weak {
            &mut self.weak
        } else {
            &mut self.strong
        };
        let count = &mut running[activity.phase as usize];
        *count = count.saturating_add_signed(if begins { 1 } else { -1 });
    }

    fn spend(&mut self, interval: Interval) {
        let anything = self.strong.iter().any(|count| *count > 0);
        let running = if anything { &self.strong } else { &self.weak };
        let mut owner = None;
        for (index, phase) in Phase::ALL.iter().copied().enumerate() {
            if running[index] > 0 {
                self.union[index] += interval.length();
                owner = owner.or(Some(phase));
            }
        }
        let phase = owner.unwrap_or_else(|| {
            self.union[Phase::Waiting as usize] += interval.length();
            Phase::Waiting
        });
        self.partition[phase as usize] += interval.length();
        match self.timeline.last_mut() {
            Some(last) if last.phase == phase => last.interval.end = interval.end,
            _ => self.timeline.push(Segment { phase, interval }),
        }
    }

    fn times(&self) -> Vec<PhaseTime> {
        let time = |(index, phase): (usize, &Phase)| PhaseTime {
            phase: *phase,
            union: self.union[index],
            partition: self.partition[index],
        };
        Phase::ALL.iter().enumerate().map(time).collect()
    }
}

/// The parts of `intervals` outside of `holes`, merged and in order.
pub(super) fn outside(intervals: &[Interval], holes: &[Interval]) -> Vec<Interval> {
    let holes = merged(holes);
    let mut left = Vec::new();
    for mut interval in merged(intervals) {
        for hole in &holes {
            if hole.end <= interval.start || hole.start >= interval.end {
                continue;
            }
            if hole.start > interval.start {
                left.push(Interval {
                    start: interval.start,
                    end: hole.start,
                });
            }
            interval.start = hole.end.min(interval.end);
        }
        if interval.start < interval.end {
            left.push(interval);
        }
    }
    left
}

/// The intervals in order, with overlapping and touching ones joined.
pub(super) fn merged(intervals: &[Interval]) -> Vec<Interval> {
    let mut sorted = intervals.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Interval> = Vec::with_capacity(sorted.len());
    for interval in sorted {
        match merged.last_mut() {
            Some(last) if interval.start <= last.end => last.end = last.end.max(interval.end),
            _ => merged.push(interval),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval((start, end): (u64, u64)) -> Interval {
        Interval {
            start: Duration::from_millis(start),
            end: Duration::from_millis(end),
        }
    }

    fn activity(phase: Phase, start: u64, end: u64) -> Activity {
        Activity {
            phase,
            interval: interval((start, end)),
            weak: false,
        }
    }

    fn shown(timeline: &[Segment]) -> String {
        let words = timeline.iter().map(|Segment { phase, interval }| {
            format!(
                "{} {}-{}",
                phase.name(),
                interval.start.as_millis(),
                interval.end.as_millis()
            )
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn every_instant_belongs_to_the_first_phase_that_runs() {
        let weak = |phase, start, end| Activity {
            weak: true,
            ..activity(phase, start, end)
        };
        let cases = [
            ("nothing", vec![], "waiting 0-100"),
            (
                "one",
                vec![activity(Phase::Build, 10, 20)],
                "waiting 0-10, build 10-20, waiting 20-100",
            ),
            (
                "push over cache export",
                vec![
                    activity(Phase::CacheExport, 0, 100),
                    activity(Phase::Push, 20, 40),
                ],
                "cache-export 0-20, push 20-40, cache-export 40-100",
            ),
            (
                "build over pull",
                vec![
                    activity(Phase::Pull, 0, 60),
                    activity(Phase::Build, 50, 100),
                ],
                "pull 0-50, build 50-100",
            ),
            (
                "twice at once",
                vec![
                    activity(Phase::Build, 0, 60),
                    activity(Phase::Build, 30, 100),
                ],
                "build 0-100",
            ),
            (
                "a token alone, and with the pull that asked for it",
                vec![weak(Phase::Push, 0, 50), activity(Phase::Pull, 20, 100)],
                "push 0-20, pull 20-100",
            ),
            (
                "beyond the end",
                vec![activity(Phase::Export, 90, 200)],
                "waiting 0-90, export 90-100",
            ),
            (
                "no time at all",
                vec![activity(Phase::Export, 50, 50)],
                "waiting 0-100",
            ),
        ];
        for (name, activities, expected) in cases {
            let (_, timeline) = partition(&activities, Duration::from_millis(100));
            assert_eq!(shown(&timeline), expected, "{name}");
        }
    }

    #[test]
    fn a_phase_that_runs_twice_at_once_counts_once_in_its_union() {
        let activities = [
            activity(Phase::Pull, 0, 60),
            activity(Phase::Pull, 30, 80),
            activity(Phase::Build, 50, 90),
        ];
        let (times, _) = partition(&activities, Duration::from_millis(100));
        let of = |phase: Phase| times[phase as usize];
        assert_eq!(of(Phase::Pull).union, Duration::from_millis(80));
        assert_eq!(of(Phase::Pull).partition, Duration::from_millis(50));
        assert_eq!(of(Phase::Build).union, Duration::from_millis(40));
        assert_eq!(of(Phase::Waiting).union, Duration::from_millis(10));
    }

    #[test]
    fn holes_are_cut_out() {
        let cases = [
            ("no hole", vec![(0, 10)], vec![], vec![(0, 10)]),
            (
                "in the middle",
                vec![(0, 10)],
                vec![(3, 5)],
                vec![(0, 3), (5, 10)],
            ),
            (
                "at both ends",
                vec![(0, 10)],
                vec![(0, 2), (8, 20)],
                vec![(2, 8)],
            ),
            (
                "overlapping holes",
                vec![(0, 10)],
                vec![(4, 8), (2, 6)],
                vec![(0, 2), (8, 10)],
            ),
            (
                "over two intervals",
                vec![(0, 10), (20, 30)],
                vec![(5, 25)],
                vec![(0, 5), (25, 30)],
            ),
            ("all of it", vec![(5, 10)], vec![(0, 20)], vec![]),
        ];
        for (name, intervals, holes, expected) in cases {
            let make = |pairs: Vec<(u64, u64)>| pairs.into_iter().map(interval).collect::<Vec<_>>();
            assert_eq!(
                outside(&make(intervals), &make(holes)),
                make(expected),
                "{name}"
            );
        }
    }
}
