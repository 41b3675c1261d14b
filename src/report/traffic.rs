//! What went over a cluster's API server, in words.
//!
//! Every byte between buildx and a pod passes through the control plane, which others share: it is
//! made for small answers, not for gigabytes.

use super::units;
use crate::timings::Traffic;

/// From here on it is worth a warning (bytes).
const LARGE: u64 = 500_000_000;

/// What went there and back.
pub(crate) fn line(traffic: Traffic) -> String {
    let [sent, received] = [traffic.sent, traffic.received].map(units::bytes);
    format!("{sent} sent, {received} received")
}

/// What is too much of it, and what to do.
pub(crate) fn warning(traffic: Traffic) -> Option<String> {
    let (bytes, what, instead) = if traffic.sent >= LARGE {
        (
            traffic.sent,
            "went to the builder",
            "name what the image does not need in `.dockerignore`, or build from a Git context, \
             which the pod fetches by itself",
        )
    } else if traffic.received >= LARGE {
        (
            traffic.received,
            "came back from the builder",
            "`push` the image instead of `load` and `outputs`: it then goes from the pod to the registry",
        )
    } else {
        return None;
    };
    Some(format!(
        "{} {what} over the Kubernetes API, which the whole cluster shares: {instead}",
        units::bytes(bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_comes_with_what_to_do() {
        let warn = |sent, received| warning(Traffic { sent, received }).unwrap_or_default();
        assert_eq!(warn(499_000_000, 499_000_000), "");
        assert!(warn(2_500_000_000, 0).contains("GB went to the builder over"));
        assert!(warn(2_500_000_000, 0).contains("`.dockerignore`"));
        assert!(warn(0, 600_000_000).contains("`push` the image"));
    }
}
