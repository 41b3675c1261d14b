//! Signals in the middle of a run, and what the post step finds after a kill.
//!
//! The runner sends SIGINT, 7.5 s later SIGTERM, 2.5 s later it kills (`ProcessInvoker.cs`), so
//! that everything has to be done within 7 s.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
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
        thread::sleep(Duration::from_millis(10));
    }
    panic!("process {id} still runs");
}

fn sleeper(runner: &Runner) -> String {
    fs::read_to_string(runner.path("buildx/sleeper")).unwrap()
}

/// The post step of a run that left this state.
pub(crate) fn post_of(runner: Runner, state: &BTreeMap<String, String>) -> Runner {
    let post = runner.called("fast-ecr-push-post");
    state.iter().fold(post, |post, (name, value)| {
        post.variable(&format!("STATE_{name}"), value)
    })
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
    assert_eq!(ran.verbs(), ["version", "create", "build"]);
    ran.removed_its_builder();
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
    assert_eq!(ran.verbs(), ["version", "create"]);
    ran.removed_its_builder();
    assert!(ran.summary.starts_with("### Cancelled "), "{}", ran.summary);
}

/// The Engine makes the volume first; stopped then, it leaves it without a container.
#[test]
fn a_volume_whose_container_never_came_is_removed() {
    let mut running = Runner::new()
        .engine(Store::Classic)
        .buildx("create.hold", "")
        .buildx("create.half", "")
        .start();
    running.wait_until_held();
    running.signal(Signal::INT);
    let ran = running.finish().exits(130);
    assert!(ran.took < LONGEST, "{:?}", ran.took);
    let volume = "volumes/buildx_buildkit_fast-ecr-push-[ID]0_state";
    assert_eq!(ran.removed, [volume], "{}", ran.log);
}

/// The Engine does not stop at once with the buildx that asked it.
#[test]
fn what_the_engine_makes_of_a_builder_after_its_creation_was_stopped_is_removed() {
    for later in [Duration::from_millis(200), Duration::from_secs(3)] {
        let mut running = Runner::new()
            .engine(Store::Classic)
            .buildx("create.hold", "")
            .buildx("create.late", "")
            .start();
        running.wait_until_held();
        let buildx = running.runner.path("buildx");
        running.signal(Signal::INT);
        let make = || {
            let container = fs::read_to_string(buildx.join("wanted")).unwrap();
            let container = container.trim();
            fs::write(buildx.join("containers").join(container), "").unwrap();
            let volume = format!("{container}_state");
            fs::write(buildx.join("volumes").join(volume), "").unwrap();
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(later);
                make();
            });
            if later < Duration::from_secs(1) {
                running.finish().exits(130).removed_its_builder();
                return;
            }
            let (ran, runner) = running.finish_and_keep();
            assert_eq!(ran.removed, [""; 0], "{}", ran.log);
            assert!(ran.took < later, "{:?}", ran.took);
            for secret in ["tokens", "bin", "docker/config.json"] {
                let left = run_folders(&runner)[0].join(secret);
                assert!(!left.exists(), "{}", left.display());
            }
            thread::sleep(later);
            post_of(runner, &ran.state)
                .run()
                .exits(0)
                .removed_its_builder();
        });
    }
}

#[test]
fn a_builder_whose_removal_hangs_does_not_hold_up_a_cancelled_run() {
    let mut running = holding()
        .engine(Store::Classic)
        .buildx("engine.hold", "")
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
    ran.says("could not remove the builder `fast-ecr-push-[ID]`: the Docker Engine did not remove it within [TIME] s");
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
fn waiting_for_what_is_asked_about_a_repository_can_be_cancelled() {
    for (operation, exists) in [
        ("DescribeRepositories", true),
        ("InitiateLayerUpload", true),
        ("CreateRepository", false),
        ("PutLifecyclePolicy", false),
    ] {
        let mut ecr = Ecr::answering(&[Answer::Token("password", 720)]);
        if !exists {
            let made = serde_json::json!({"repository": {"repositoryName": "team/app"}});
            ecr = ecr
                .without_repository()
                .on("CreateRepository", &[Answer::Json(made)]);
        }
        let ecr = ecr.on(operation, &[Answer::Silence]);
        let mut running = ecr
            .serve(Runner::new())
            .engine(Store::Classic)
            .input("tags", &format!("{HOST}/team/app:1"))
            .input("create-repository", if exists { "false" } else { "true" })
            .start();
        // The builder starts at the same time.
        running.wait_until(operation, |runner| {
            let containers = fs::read_dir(runner.path("buildx/containers"));
            containers.is_ok_and(|mut names| names.next().is_some())
                && !ecr.asked(operation).is_empty()
        });
        running.signal(Signal::INT);
        let ran = running.finish().exits(130);
        assert!(ran.took < LONGEST, "{operation}: {:?}", ran.took);
        assert!(!ran.verbs().contains(&"build"), "{operation}");
        ran.removed_its_builder();
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
    let ran = post_of(runner, &state).run().exits(0);
    assert_eq!(ran.calls, [""; 0]);
    ran.removed_its_builder();
    ran.says("removed the builder `fast-ecr-push-[ID]` of the run that was stopped")
        .says("removed the credentials of the run that was stopped");
}

#[test]
fn the_post_step_of_a_run_that_ended_by_itself_does_nothing() {
    let ran = Runner::new().engine(Store::Classic).run().exits(0);
    let ran = post_of(Runner::new(), &ran.state).run().exits(0);
    assert!(
        ran.calls.is_empty() && ran.log.is_empty(),
        "{:?}\n{}",
        ran.calls,
        ran.log
    );
    let subcommand = Runner::new().arguments(&["post"]).run().exits(0);
    assert!(subcommand.calls.is_empty() && subcommand.log.is_empty());
}
