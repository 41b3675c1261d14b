//! What may happen during a long build.

use std::time::{Duration, Instant};

use super::POD;
use crate::cluster::{Cluster, Run};

/// Our own plugin, whose tokens say that they are good for two seconds, and a server that takes
/// none older than five: a day's worth of renewals within one build.
#[test]
fn a_build_outlives_its_tokens() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"token_seconds":5}"#);
    let minted = cluster.file("minted");
    let program = cluster.program();
    let text = format!(
        "echo x >> '{}'\nsoon=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         '{}' eks-token --cluster builders --region eu-west-1 |\n  \
         sed \"s/\\\"expirationTimestamp\\\":\\\"[^\\\"]*\\\"/\\\"expirationTimestamp\\\":\\\"$soon\\\"/\"\n",
        minted.display(),
        program.display()
    );
    let kubeconfig = cluster.with_command(&text);
    let run = cluster.run(&[
        ("kubeconfig", &kubeconfig),
        ("allow-exec", "true"),
        ("build-args", "SECONDS=14"),
    ]);
    run.succeeded();
    let refused = std::fs::read_to_string(cluster.file("unauthorized")).unwrap_or_default();
    assert_eq!(refused, "", "{}", run.log);
    let minted = std::fs::read_to_string(minted).unwrap().lines().count();
    assert!(minted >= 5, "{minted} tokens");
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn an_evicted_pod_ends_the_build_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"evicted"}"#);
    let begun = Instant::now();
    let run = cluster.run(&[("build-args", "SECONDS=60")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "was lost during the build: its pod failed: Evicted";
    assert!(run.log.contains(words), "{}", run.log);
    assert!(begun.elapsed() < POD + Duration::from_millis(1500) + Duration::from_secs(10));
    assert_eq!(cluster.stop(), [""; 0]);
}

/// A run whose stream is cut, which is said and ends it within ten seconds.
pub(super) fn is_cut(cluster: &Cluster, run: impl FnOnce() -> Run) {
    cluster.script(r#"{"cut_exec_after_ms":3000}"#);
    let begun = Instant::now();
    let run = run();
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "was lost during the build: its connection through the Kubernetes API was cut";
    assert!(run.log.contains(words), "{}", run.log);
    let took = begun.elapsed();
    assert!(took < POD + Duration::from_secs(3 + 10 + 1), "{took:?}");
}

/// buildx 0.29, which the rig has, waits for such a stream without end.
#[test]
fn a_cut_stream_ends_the_build_within_ten_seconds() {
    let cluster = Cluster::stand_in();
    is_cut(&cluster, || cluster.run(&[("build-args", "SECONDS=60")]));
    assert_eq!(cluster.stop(), [""; 0]);
}
