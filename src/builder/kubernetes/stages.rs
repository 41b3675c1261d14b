//! The stages of a boot, for the report. Pure.

use jiff::Timestamp;
use strum::IntoEnumIterator as _;

use super::boot::Milestone;
use super::follow::Progress;
use crate::plan::Node;
use crate::timings::{Phase, Stage};

/// The stages of one node's boot, with its platforms if there are several nodes. A failed boot ends with the stage in which it failed.
pub(super) fn of(
    progress: &Progress,
    begun: Timestamp,
    failed: Option<Timestamp>,
    node: Option<&Node>,
) -> Vec<Stage> {
    let mut started = begun;
    let mut stages = Vec::new();
    let last = progress.reached.last().map(|(milestone, _)| *milestone);
    let next = Milestone::iter().find(|next| last < Some(*next));
    let unreached = next.zip(failed);
    for (milestone, ended) in progress.reached.iter().copied().chain(unreached) {
        let name = match milestone {
            Milestone::Created => "ask the cluster for a builder",
            Milestone::Scheduled => "wait for a node",
            Milestone::Pulling => "prepare the pod",
            Milestone::Started => "pull the builder's image, start its container",
            Milestone::Ready => "wait for BuildKit",
        };
        stages.push(Stage {
            name: match node {
                Some(node) => format!("{name} ({})", node.platforms.join(", ")),
                None => name.to_owned(),
            },
            phase: Phase::Builder,
            started,
            ended,
        });
        started = ended;
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_begins_at_the_end_of_the_one_before() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let progress = Progress {
            reached: vec![
                (Milestone::Created, at(11)),
                (Milestone::Scheduled, at(15)),
                (Milestone::Ready, at(20)),
            ],
            node: None,
        };
        let stages = of(&progress, at(10), None, None);
        let times: Vec<(i64, i64)> = stages
            .iter()
            .map(|stage| (stage.started.as_second(), stage.ended.as_second()))
            .collect();
        assert_eq!(times, [(10, 11), (11, 15), (15, 20)]);
    }

    #[test]
    fn a_failed_boot_ends_with_the_stage_in_which_it_failed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (reached, expected) in [
            (vec![], "ask the cluster for a builder"),
            (vec![(Milestone::Created, at(11))], "wait for a node"),
            (vec![(Milestone::Started, at(12))], "wait for BuildKit"),
        ] {
            let progress = Progress {
                reached,
                node: None,
            };
            let stages = of(&progress, at(10), Some(at(30)), None);
            let last = stages.last().unwrap();
            assert_eq!((last.name.as_str(), last.ended), (expected, at(30)));
        }
    }
}
