//! Which clock a vertex was timed by, and how far the builder's clock is off ours.
//!
//! Three clocks meet in the stream. BuildKit times its vertices on its own machine; buildx shifts all of them once, so that the first one starts when buildx sent its
//! request (<https://github.com/docker/buildx/blob/461836ba0fcb3e847dab6045a726889faa150bdb/build/build.go#L638>, `progress.ResetTime`), which removes most of a skew and leaves
//! an error of the request's own time, or of minutes where the first vertex is shared with a build that began earlier. Vertices of buildx itself carry our machine's time. `[auth]`
//! vertices are timed by buildx but shifted like BuildKit's: theirs means nothing, so when their lines arrived is taken.
//!
//! No event arrives before it happened, so the smallest arrival minus timestamp is the offset plus the fastest event's way here. What is corrected by it is late by that way
//! (milliseconds: half a round trip to the builder), never early. A clock that steps during the build cannot be told from a slow event: what falls outside the build is clamped.

use jiff::{SignedDuration, Timestamp};

/// A timestamp further than this from its arrival is no time of this build and counts as missing.
const PLAUSIBLE: SignedDuration = SignedDuration::from_hours(24);

/// Where a vertex's timestamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// BuildKit's machine.
    Builder,
    /// Ours: buildx runs beside us.
    Local,
    /// None worth using: take the arrival.
    Arrival,
}

/// How long before `arrived` the timestamp says its event was; `None` where the timestamp is absurd.
pub(super) fn lag(timestamp: Timestamp, arrived: Timestamp) -> Option<SignedDuration> {
    let lag = arrived.duration_since(timestamp);
    (lag.abs() <= PLAUSIBLE).then_some(lag)
}

/// The smaller of the smallest lag so far and another.
pub(super) fn smaller(
    known: Option<SignedDuration>,
    lag: SignedDuration,
) -> Option<SignedDuration> {
    Some(known.map_or(lag, |known| known.min(lag)))
}
