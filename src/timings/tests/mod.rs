//! Tests of the whole way from lines to durations: recorded builds, and what holds for any stream.

mod long;
mod marked;
mod properties;
mod recorded;
mod recording;

use std::time::Duration;

use jiff::Timestamp;

use super::{Phase, Recorder, Stage};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
}

#[test]
fn phases_stand_in_the_order_of_the_partition() {
    for (index, phase) in Phase::ALL.into_iter().enumerate() {
        assert_eq!(phase as usize, index);
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
    }
}

#[test]
fn a_build_without_a_stream_is_waiting_and_its_own_stages() {
    let mut recorder = Recorder::new(at(0));
    recorder.add(Stage {
        name: "credentials".to_owned(),
        phase: Phase::Setup,
        started: at(-50),
        ended: at(300),
    });
    let build = recorder.finish(at(1_000));
    assert_eq!(
        build.phase(Phase::Setup).partition,
        Duration::from_millis(300)
    );
    assert_eq!(
        build.phase(Phase::Waiting).partition,
        Duration::from_millis(700)
    );
    assert_eq!(build.slowest_steps()[0].name, "credentials");
}
