//! What a boot consisted of, for the report: pure.

use jiff::Timestamp;

use super::boot::Milestone;
use super::follow::Way;
use crate::plan::Node;
use crate::timings::{Phase, Stage};

/// The stages of a node; named, where there are several. Where the boot failed, the last one is that
/// in which it did, then.
pub(super) fn of(
    way: &Way,
    begun: Timestamp,
    failed: Option<Timestamp>,
    node: Option<&Node>,
) -> Vec<Stage> {
    let mut from = begun;
    let mut stages = Vec::new();
    let last = way.reached.last().map(|(milestone, _)| *milestone);
    let next = last.map_or(Some(Milestone::Created), Milestone::next);
    let unreached = next.zip(failed);
    for (milestone, at) in way.reached.iter().copied().chain(unreached) {
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
            started: from,
            ended: at,
        });
        from = at;
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_begins_where_the_one_before_ended() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let way = Way {
            reached: vec![
                (Milestone::Created, at(11)),
                (Milestone::Scheduled, at(15)),
                (Milestone::Ready, at(20)),
            ],
            node: None,
        };
        let stages = of(&way, at(10), None, None);
        let times: Vec<(i64, i64)> = stages
            .iter()
            .map(|stage| (stage.started.as_second(), stage.ended.as_second()))
            .collect();
        assert_eq!(times, [(10, 11), (11, 15), (15, 20)]);
    }

    #[test]
    fn a_boot_that_fails_ends_in_the_stage_that_it_was_in() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (reached, expected) in [
            (vec![], "ask the cluster for a builder"),
            (vec![(Milestone::Created, at(11))], "wait for a node"),
            (vec![(Milestone::Started, at(12))], "wait for BuildKit"),
        ] {
            let way = Way {
                reached,
                node: None,
            };
            let stages = of(&way, at(10), Some(at(30)), None);
            let last = stages.last().unwrap();
            assert_eq!((last.name.as_str(), last.ended), (expected, at(30)));
        }
    }
}
