//! Signals in the middle of a run, and what the post step finds after a kill.
//!
//! The runner sends SIGINT, 7.5 s later SIGTERM, 2.5 s later it kills (`ProcessInvoker.cs`), so
//! that everything has to be done within 7 s.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, test_kill_process};

use crate::ecr::{Answer, Ecr, HOST};
use crate::engine::Store;
use crate::ran::values;
use crate::runner::{Runner, keeps_a_builder, pid, recorded, run_folders};

const LONGEST: Duration = Duration::from_secs(7);

/// A build that has said all it has to say and does not end.
fn holding() -> Runner {
    Runner::new()
        .stream(&recorded("failing-run"))
        .buildx("build.hold", "")
}

/// Whether the process is there, and no zombie that waits for its parent.
fn lives(id: &str) -> bool {
    let id: u32 = id.trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    test_kill_process(pid(id)).is_ok() && !stat.contains(") Z ")
}

#[track_caller]
fn gone_soon(id: &str) {
    for _ in 0..100 {
        if !lives(id) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("process {id} still runs");
}

fn sleeper(runner: &Runner) -> String {
    fs::read_to_string(runner.path("buildx/sleeper")).unwrap()
}

#[test]
fn a_signal_stops_the_build_with_all_it_started_and_the_report_is_written() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = holding().start();
        running.wait_until_held();
        let child = sleeper(&running.runner);
        assert!(lives(&child));
        running.signal(signal);
        let ran = running.finish().exits(130);
        assert!(ran.took < LONGEST, "{:?}", ran.took);
        gone_soon(&child);
        assert!(
            ran.summary
                .starts_with("### Cancelled `registry.test/team/app:1` after [TIME]"),
            "{}",
            ran.summary
        );
        ran.says("the build was cancelled");
        assert!(ran.outputs.contains_key("total-seconds"));
        assert!(!ran.outputs.contains_key("digest"));
    }
}

#[test]
fn a_buildx_that_ignores_the_signal_is_killed_in_time() {
    let mut running = holding().buildx("stubborn", "").start();
    running.wait_until_held();
    let child = sleeper(&running.runner);
    running.signal(Signal::INT);
    let ran = running.finish().exits(130);
    assert!(ran.took < LONGEST, "{:?}", ran.took);
    gone_soon(&child);
    assert!(ran.summary.starts_with("### Cancelled "), "{}", ran.summary);
}

#[test]
fn a_builder_of_our_own_is_removed_when_the_build_is_cancelled() {
    let mut running = holding().engine(Store::Classic).start();
    running.wait_until_held();
    running.signal(Signal::TERM);
    let ran = running.finish().exits(130);
    assert!(ran.took < LONGEST, "{:?}", ran.took);
    assert_eq!(ran.verbs(), ["version", "create", "build", "rm"]);
    assert_eq!(ran.calls[3], "rm --force fast-ecr-push-[ID]");
}

#[test]
fn a_builder_that_boots_for_ever_can_be_cancelled() {
    let mut running = Runner::new()
        .engine(Store::Classic)
        .buildx("create.hold", "")
        .start();
    running.wait_until_held();
    running.signal(Signal::INT);
    let ran = running.finish().exits(130);
    assert!(ran.took < LONGEST, "{:?}", ran.took);
    assert_eq!(ran.verbs(), ["version", "create", "rm"]);
    assert!(ran.summary.starts_with("### Cancelled "), "{}", ran.summary);
}

#[test]
fn a_builder_whose_removal_hangs_does_not_hold_up_a_cancelled_run() {
    let mut running = holding()
        .engine(Store::Classic)
        .buildx("rm.hold", "")
        .buildx("stubborn", "")
        .start();
    running.wait_until_held();
    running.signal(Signal::INT);
    let temp = running.runner.path("temp");
    let ran = running
        .finish_and(|| {
            let mut folders = fs::read_dir(temp)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            assert!(
                folders.any(|folder| keeps_a_builder(&folder)),
                "post could not remove it"
            );
        })
        .exits(130);
    assert!(ran.took < LONGEST, "{:?}", ran.took);
    ran.says("could not remove the builder `fast-ecr-push-[ID]`");
    assert!(ran.summary.starts_with("### Cancelled "), "{}", ran.summary);
}

#[test]
fn waiting_for_aws_can_be_cancelled() {
    for (input, tag) in [
        ("", format!("{HOST}/team/app:1")),
        ("team/app", "1".to_owned()),
    ] {
        let ecr = Ecr::answering(&[Answer::Silence]);
        let mut running = ecr
            .serve(Runner::new())
            .input("repository", input)
            .input("tags", &tag)
            .start();
        running.wait_until("a request", |_| !ecr.requests().is_empty());
        running.signal(Signal::TERM);
        let ran = running.finish().exits(130);
        assert!(ran.took < Duration::from_secs(2), "{input}: {:?}", ran.took);
        assert!(!ran.verbs().contains(&"build"));
    }
}

#[test]
fn a_signal_in_the_first_moments_counts_too() {
    let mut running = Runner::new().buildx("version.hold", "").start();
    running.wait_until_held();
    running.signal(Signal::TERM);
    let ran = running.finish().exits(130);
    assert!(ran.took < LONGEST, "{:?}", ran.took);
}

#[test]
fn the_post_step_removes_what_a_killed_run_left() {
    let mut running = holding().engine(Store::Classic).start();
    running.wait_until_held();
    let runner = running.kill();
    let folders = run_folders(&runner);
    assert_eq!(folders.len(), 1, "the killed run could not clean up");
    let text = fs::read_to_string(runner.path("temp/_runner_file_commands/github_state")).unwrap();
    let state = values(&text);
    assert_eq!(Path::new(&state["folder"]), folders[0]);
    fs::write(runner.path("buildx/calls"), "").unwrap();
    fs::remove_file(runner.path("buildx/build.hold")).unwrap();
    let mut post = runner.called("fast-ecr-push-post");
    for (name, value) in &state {
        post = post.variable(&format!("STATE_{name}"), value);
    }
    let ran = post.run().exits(0);
    assert_eq!(ran.calls, ["rm --force fast-ecr-push-[ID]"]);
    ran.says("removed the builder `fast-ecr-push-[ID]` of the run that was stopped")
        .says("removed the credentials of the run that was stopped");
}

#[test]
fn the_post_step_of_a_run_that_ended_by_itself_does_nothing() {
    let ran = Runner::new().engine(Store::Classic).run().exits(0);
    let mut post = Runner::new().called("fast-ecr-push-post");
    for (name, value) in &ran.state {
        post = post.variable(&format!("STATE_{name}"), value);
    }
    let ran = post.run().exits(0);
    assert!(
        ran.calls.is_empty() && ran.log.is_empty(),
        "{:?}\n{}",
        ran.calls,
        ran.log
    );
    let subcommand = Runner::new().arguments(&["post"]).run().exits(0);
    assert!(subcommand.calls.is_empty() && subcommand.log.is_empty());
}
