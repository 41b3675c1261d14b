//! Recorded progress of BuildKit, replayed as of now: timestamps of another day are none of this build's, and count as missing.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use regex::{Captures, Regex};

use crate::runner::fixture;

/// Recorded streams, by what was built.
pub(crate) fn recorded(case: &str) -> String {
    let name = match case {
        "push-forbidden" => "answers/buildx-0.29.1-push-forbidden.tsv".to_owned(),
        other => format!("rawjson/buildx-0.29.1-engine-28.5.2-{other}.tsv"),
    };
    fs::read_to_string(fixture(&name)).expect(&name)
}

fn timestamps() -> Regex {
    Regex::new(r#""(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)""#).unwrap()
}

fn read(found: &Captures<'_>) -> Timestamp {
    found[1].parse().unwrap()
}

/// The stream with all its timestamps moved, as if it had begun now.
pub(crate) fn as_of_now(stream: &str) -> String {
    let timestamps = timestamps();
    let Some(first) = timestamps
        .captures_iter(stream)
        .map(|found| read(&found))
        .min()
    else {
        return stream.to_owned();
    };
    let later: SignedDuration = Timestamp::now().duration_since(first);
    let moved = |found: &Captures<'_>| format!("\"{}\"", read(found) + later);
    timestamps.replace_all(stream, moved).into_owned()
}

#[test]
fn a_recording_of_any_day_is_one_of_now() {
    let moved = as_of_now(&recorded("failing-run"));
    let moved = timestamps()
        .captures_iter(&moved)
        .map(|found| read(&found))
        .collect::<Vec<_>>();
    assert!(moved.len() > 5, "{moved:?}");
    let now = Timestamp::now();
    for at in moved {
        assert!(
            at.duration_since(now).abs() < SignedDuration::from_mins(1),
            "{at} {now}"
        );
    }
}
