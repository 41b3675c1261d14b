//! Traffic through a cluster's API server.
//!
//! Every byte between buildx and a pod passes through the control plane, which the whole cluster shares.

use crate::timings::{Traffic, units};

/// From this size on a warning is given (bytes).
const LARGE: u64 = 500_000_000;

/// `1.2 GB sent, 3.4 MB received`.
pub(crate) fn line(traffic: Traffic) -> String {
    let [sent, received] = [traffic.sent, traffic.received].map(units::bytes);
    format!("{sent} sent, {received} received")
}

/// The warning about large traffic, with its remedy.
pub(crate) fn warning(traffic: Traffic) -> Option<String> {
    let (bytes, what, instead) = if traffic.sent >= LARGE {
        (
            traffic.sent,
            "went to the builder",
            "list what the image does not need in `.dockerignore`, or build from a Git context, which the pod fetches itself",
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
    fn large_traffic_gets_a_warning_with_its_remedy() {
        let warn = |sent, received| warning(Traffic { sent, received }).unwrap_or_default();
        assert_eq!(warn(499_000_000, 499_000_000), "");
        assert!(warn(2_500_000_000, 0).contains("GB went to the builder over"));
        assert!(warn(2_500_000_000, 0).contains("`.dockerignore`"));
        assert!(warn(0, 600_000_000).contains("`push` the image"));
    }
}
