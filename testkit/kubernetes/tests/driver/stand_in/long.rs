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

/// The log of the run that ended, not that of the one that was restarted.
#[test]
fn when_buildkit_exits_in_its_pod_the_end_of_its_log_is_shown() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"exited"}"#);
    let run = cluster.run(&[("build-args", "SECONDS=60")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    for text in [
        "was lost during the build: BuildKit exited (exit code 2)",
        "buildkitd: the last line before the restart",
    ] {
        assert!(run.log.contains(text), "{text}: {}", run.log);
    }
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_pod_that_was_killed_for_its_memory_during_a_green_build_gets_a_warning() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"trouble":"oom-killed"}"#);
    let run = cluster.run(&[("driver-opts", "replicas=2"), ("build-args", "SECONDS=6")]);
    run.succeeded();
    let warning = "ran out of memory in the pod `";
    assert_eq!(run.log.matches(warning).count(), 1, "{}", run.log);
    assert!(run.log.contains("raise `limits.memory`"), "{}", run.log);
    assert_eq!(cluster.stop(), [""; 0]);
}

/// A run whose stream is cut, which is said and ends it within ten seconds.
pub(super) fn is_cut(cluster: &Cluster, run: impl FnOnce() -> Run) {
    cluster.script(r#"{"cut_exec_after_ms":3000}"#);
    let begun = Instant::now();
    let run = run();
    assert_eq!(run.code, Some(3), "{}", run.log);
    let words = "was lost during the build: its connection through the Kubernetes API was closed";
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
