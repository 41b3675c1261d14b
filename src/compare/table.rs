//! Samples as rows.
//!
//! In: samples of any number of runs. Out: a row for each runner and driver, the slowest first, with medians over its runs; separately for
//! each image if there are several, because times of different images cannot be compared. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::file::Sample;
use crate::timings::Phase;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Table {
    pub rows: Vec<Row>,
}

/// All runs of one runner and driver, and of one image if there are several. Times are medians over the runs, separately for each phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub runner: String,
    pub driver: String,
    /// Only if there are several; empty if it was not pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    pub runs: usize,
    pub total_ms: u64,
    pub fastest_ms: u64,
    pub slowest_ms: u64,
    /// The total as percentage of the slowest row of the same image.
    pub percent_of_slowest: u64,
    /// By the names in the timings file.
    pub phases_ms: BTreeMap<&'static str, u64>,
}

impl Table {
    pub(super) fn new(samples: Vec<Sample>) -> Self {
        let images: BTreeSet<&Option<String>> =
            samples.iter().map(|sample| &sample.image).collect();
        let several = images.len() > 1;
        let mut groups: BTreeMap<(Option<String>, String, String), Vec<Sample>> = BTreeMap::new();
        for sample in samples {
            let image = several.then(|| sample.image.clone().unwrap_or_default());
            let key = (image, sample.runner.clone(), sample.driver.clone());
            groups.entry(key).or_default().push(sample);
        }
        let mut rows: Vec<Row> = groups
            .into_iter()
            .map(|((image, runner, driver), samples)| Row {
                image,
                ..Row::new(runner, driver, &samples)
            })
            .collect();
        // A stable sort: equally slow rows stay sorted by name.
        rows.sort_by(|one, other| {
            let order = one.image.cmp(&other.image);
            order.then(other.total_ms.cmp(&one.total_ms))
        });
        let mut slowest: BTreeMap<Option<String>, u64> = BTreeMap::new();
        for row in &mut rows {
            let slowest = slowest.entry(row.image.clone()).or_insert(row.total_ms);
            row.percent_of_slowest = percent(row.total_ms, *slowest);
        }
        Self { rows }
    }

    pub(super) fn has_images(&self) -> bool {
        self.rows.iter().any(|row| row.image.is_some())
    }

    /// The phases that took time in any row, in the order of a build.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let took = |phase: &Phase| self.rows.iter().any(|row| row.phase_ms(*phase) > 0);
        Phase::ORDER.into_iter().filter(took).collect()
    }
}

impl Row {
    fn new(runner: String, driver: String, samples: &[Sample]) -> Self {
        let totals: Vec<u64> = samples.iter().map(|sample| sample.total_ms).collect();
        let phase = |(index, phase): (usize, &Phase)| {
            let times = samples
                .iter()
                .filter_map(|sample| sample.phases_ms.get(index).copied());
            (phase.name(), median(times.collect()))
        };
        Self {
            runner,
            driver,
            image: None,
            runs: samples.len(),
            fastest_ms: totals.iter().copied().min().unwrap_or(0),
            slowest_ms: totals.iter().copied().max().unwrap_or(0),
            total_ms: median(totals),
            percent_of_slowest: 100,
            phases_ms: Phase::ALL.iter().enumerate().map(phase).collect(),
        }
    }

    pub(super) fn phase_ms(&self, phase: Phase) -> u64 {
        self.phases_ms.get(phase.name()).copied().unwrap_or(0)
    }
}

/// The middle element, or the mean of the two in the middle; 0 for an empty list.
pub(crate) fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or(0);
    let lower = times.len().saturating_sub(1) / 2;
    at(lower).midpoint(at(times.len() / 2))
}

fn percent(part: u64, whole: u64) -> u64 {
    let (part, whole) = (u128::from(part), u128::from(whole.max(1)));
    u64::try_from((part * 100 + whole / 2) / whole).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timings::schema::Ended;

    fn sample(runner: &str, driver: &str, total_ms: u64) -> Sample {
        let mut phases_ms = vec![0; Phase::ALL.len()];
        phases_ms[0] = total_ms;
        Sample {
            runner: runner.to_owned(),
            driver: driver.to_owned(),
            result: Ended::Success,
            image: None,
            total_ms,
            phases_ms,
        }
    }

    #[test]
    fn medians_are_of_the_middle() {
        let cases: [(&[u64], u64); 5] = [
            (&[], 0),
            (&[7], 7),
            (&[1, 100, 3], 3),
            (&[4, 1, 2, 100], 3),
            (&[u64::MAX, u64::MAX], u64::MAX),
        ];
        for (times, expected) in cases {
            assert_eq!(median(times.to_vec()), expected, "{times:?}");
        }
    }

    #[test]
    fn repeats_become_one_row_and_the_slowest_comes_first() {
        let table = Table::new(vec![
            sample("hosted", "docker", 400),
            sample("hosted", "docker", 100),
            sample("hosted", "docker", 300),
            sample("hosted", "kubernetes", 600),
            sample("EKS", "docker", 150),
        ]);
        let rows: Vec<_> = table
            .rows
            .iter()
            .map(|row| {
                (
                    &*row.runner,
                    &*row.driver,
                    row.runs,
                    row.total_ms,
                    row.percent_of_slowest,
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("hosted", "kubernetes", 1, 600, 100),
                ("hosted", "docker", 3, 300, 50),
                ("EKS", "docker", 1, 150, 25)
            ]
        );
        assert_eq!(
            (table.rows[1].fastest_ms, table.rows[1].slowest_ms),
            (100, 400)
        );
        assert_eq!(table.phases(), [Phase::Build]);
    }

    #[test]
    fn images_are_compared_with_themselves() {
        let of = |image: Option<&str>, runner: &str, total_ms| Sample {
            image: image.map(str::to_owned),
            ..sample(runner, "docker", total_ms)
        };
        let shown = |samples: Vec<Sample>| -> Vec<(Option<String>, String, u64, u64)> {
            let rows = Table::new(samples).rows.into_iter();
            rows.map(|row| {
                (
                    row.image,
                    row.runner,
                    row.runs as u64,
                    row.percent_of_slowest,
                )
            })
            .collect()
        };
        let row = |image: Option<&str>, runner: &str, runs, percent| {
            (image.map(str::to_owned), runner.to_owned(), runs, percent)
        };
        assert_eq!(
            shown(vec![
                of(Some("r/web"), "EKS", 50),
                of(Some("r/api"), "EKS", 300),
                of(Some("r/web"), "hosted", 100),
                of(Some("r/api"), "EKS", 500),
                of(None, "EKS", 7),
            ]),
            [
                row(Some(""), "EKS", 1, 100),
                row(Some("r/api"), "EKS", 2, 100),
                row(Some("r/web"), "hosted", 1, 100),
                row(Some("r/web"), "EKS", 1, 50),
            ]
        );
        let same = vec![of(Some("r/a"), "EKS", 1), of(Some("r/a"), "EKS", 3)];
        assert_eq!(shown(same), [row(None, "EKS", 2, 100)]);
    }

    proptest! {
        #[test]
        fn the_order_of_files_does_not_matter(totals in proptest::collection::vec(any::<u64>(), 1..12)) {
            let samples: Vec<Sample> = totals.iter().map(|total| sample("r", if total % 2 == 0 { "a" } else { "b" }, *total)).collect();
            let mut reversed = samples.clone();
            reversed.reverse();
            let table = Table::new(samples);
            prop_assert_eq!(table.rows.iter().map(|row| row.runs).sum::<usize>(), totals.len());
            prop_assert!(table.rows.iter().all(|row| row.percent_of_slowest <= 100));
            prop_assert_eq!(table, Table::new(reversed));
        }
    }
}
