//! What the Kubernetes builder costs beside the pod's own start: `make bench`.
//!
//! Runs the release binary with buildx's real driver against the API stand-in, whose pods take a
//! known time. Prints our part of the boot, the calls of a run by who made them, and how they stand
//! to the targets; exits with 1 when one is missed.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and one that can't go on has failed"
)]

#[path = "../tests/driver/cluster/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod cluster;

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::Value;

use cluster::Cluster;

const RUNS: usize = 9;
/// What the default script takes from the Deployment to its ready pod (seconds).
const POD: f64 = 1.25;
/// All of the boot but the pod's own start (seconds).
const LONGEST_BOOT: f64 = 1.0;
/// Calls a second while a pod is waited for, with a watch.
const MOST_OFTEN: f64 = 1.0;

fn main() -> ExitCode {
    let mut missed = Vec::new();
    let mut check = |name: &'static str, value: String, met: bool| {
        println!(
            "{name:<52} {value:>12}  {}",
            if met { "ok" } else { "MISSED" }
        );
        if !met {
            missed.push(name);
        }
    };

    let cluster = Cluster::stand_in();
    let mut boots = Vec::new();
    for _ in 0..RUNS {
        boots.push(built(&cluster) - POD);
    }
    boots.sort_by(f64::total_cmp);
    let median = boots[RUNS / 2];
    check(
        "boot in a cluster, without the pod (target 1.0 s)",
        format!("{median:.2} s"),
        median <= LONGEST_BOOT,
    );
    let requests = cluster.record("requests");

    let slow = Cluster::stand_in();
    let seconds = 12.0 + POD;
    slow.script(r#"{"pulled_ms":12000}"#);
    built(&slow);
    let polled = polls(&slow.record("requests"));
    for (call, count) in &polled {
        println!("  {call:<50} {count:>12}");
    }
    let most = polled.values().max().copied().unwrap_or(0);
    // One at the beginning, one of each second.
    let rate = (f64::from(most) - 1.0) / seconds;
    check(
        "calls of one kind while a pod is waited for",
        format!("{rate:.2} /s"),
        rate <= MOST_OFTEN,
    );

    println!("\n| Calls to the Kubernetes API per run | ours | buildx |\n| :-- | --: | --: |");
    let mut totals = [0.0; 2];
    for (call, counts) in table(&requests) {
        let per_run = counts.map(|count| f64::from(count) / RUNS as f64);
        println!("| {call} | {:.1} | {:.1} |", per_run[0], per_run[1]);
        for (total, count) in totals.iter_mut().zip(per_run) {
            *total += count;
        }
    }
    println!("| all | {:.1} | {:.1} |", totals[0], totals[1]);
    cluster.stop();
    slow.stop();
    if missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("missed: {}", missed.join(", "));
        ExitCode::FAILURE
    }
}

/// One run: the seconds of its builder.
fn built(cluster: &Cluster) -> f64 {
    let run = cluster.run(&[]);
    run.succeeded();
    run.seconds("builder-seconds")
}

fn is_ours(request: &Value) -> bool {
    // kube names no agent; buildx is Go.
    request["agent"] == ""
}

/// What we asked for more than once before the pod was ready, by kind.
fn polls(requests: &[Value]) -> BTreeMap<String, u32> {
    let mut calls = BTreeMap::new();
    let ours = requests.iter().filter(|request| is_ours(request));
    for request in ours {
        let call = request["call"].as_str().unwrap().to_owned();
        // Asked once for each right.
        if call != "create selfsubjectaccessreviews" {
            *calls.entry(call).or_insert(0) += 1;
        }
    }
    calls.retain(|_, count| *count > 1);
    calls
}

/// Calls by kind: ours and buildx's.
fn table(requests: &[Value]) -> BTreeMap<String, [u32; 2]> {
    let mut calls: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    for request in requests {
        let call = request["call"].as_str().unwrap().to_owned();
        let column = usize::from(!is_ours(request));
        calls.entry(call).or_default()[column] += 1;
    }
    calls
}
