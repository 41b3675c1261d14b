//! What else can go wrong: the tests that prove how it ends, for docs/faults.md. The matrix of registries is tests/e2e/faults.

use std::path::Path;

use crate::marks::holds;

/// A fault; the files and names of the tests that prove how a run ends. Without any it is untested.
struct Row {
    world: &'static str,
    fault: &'static str,
    tests: &'static [(&'static str, &'static str)],
}

const fn row(
    world: &'static str,
    fault: &'static str,
    tests: &'static [(&'static str, &'static str)],
) -> Row {
    Row {
        world,
        fault,
        tests,
    }
}

const SESSION: &str = "tests/action/session.rs";
const FAILURE: &str = "tests/action/failure.rs";
const PREFLIGHT: &str = "tests/action/preflight.rs";
const ECR: &str = "tests/e2e/ecr.rs";
const OIDC: &str = "tests/e2e/oidc.rs";
const SILENCE: &str = "tests/e2e/silence.rs";
const ENGINE: &str = "tests/e2e/push_engine_faults.rs";
const MACHINE: &str = "tests/e2e/machine_faults.rs";
const MEMORY: &str = "tests/e2e/memory.rs";
const ANY: &str = "testkit/kubernetes/tests/driver/any_cluster.rs";
const LONG: &str = "testkit/kubernetes/tests/driver/stand_in/long.rs";
const HISTORY: &str = "src/history/tests.rs";
const NETWORK: &str = "testkit/kubernetes/tests/driver/stand_in/network.rs";
const TROUBLES: &str = "testkit/kubernetes/tests/driver/stand_in/troubles.rs";
const REMOVAL: &str = "testkit/kubernetes/tests/driver/stand_in/removal.rs";
const STATEFUL: &str = "testkit/kubernetes/tests/driver/stand_in/stateful.rs";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("Registry", "unknown authority", &[("tests/e2e/network.rs", "a_builder_in_a_container_pushes_to_a_registry_of_a_private_authority")]),
    row("Registry", "its name is not found", &[("tests/e2e/faults/mod.rs", "a_name_that_is_not_found_ends_the_run_with_a_remedy")]),
    row("Registry", "nothing listens", &[("crates/upload/tests/faults/main.rs", "a_registry_that_is_not_there_is_given_up_after_one_question")]),
    row("Registry", "the image or the index of several platforms is refused", &[("tests/e2e/push_engine_platforms.rs", "platforms_that_fail_leave_the_tags_as_they_are"), ("tests/e2e/push_engine_platforms.rs", "an_index_that_is_refused_leaves_the_tag_as_it_is_or_is_buildkits")]),
    row("Amazon ECR", "silence in a push", &[(SILENCE, "a_registry_that_never_answers_ends_the_run")]),
    row("Amazon ECR", "silence for a base image", &[(SILENCE, "a_base_image_whose_registry_never_answers_ends_the_run")]),
    row("Amazon ECR", "silence for a cache", &[(SILENCE, "a_cache_that_is_never_taken_ends_nothing")]),
    row("Amazon ECR", "5xx of a push", &[(ECR, "a_push_that_fails_in_passing_is_tried_again_from_the_cache"), (ECR, "a_push_that_failed_after_its_first_tag_is_completed_with_the_same_image")]),
    row("Amazon ECR", "a push is refused", &[(ECR, "what_ecr_says_in_a_push_is_explained")]),
    row("Amazon ECR", "a token expires during the build", &[(OIDC, "a_token_that_runs_out_on_the_way_is_replaced_and_the_push_succeeds_with_the_second")]),
    row("Amazon ECR", "no token", &[(FAILURE, "what_ecr_says_about_a_login_is_passed_on_with_a_hint"), (FAILURE, "without_aws_credentials_the_error_says_where_they_come_from")]),
    row("Amazon ECR", "its API is silent", &[(FAILURE, "an_ecr_that_stays_silent_does_not_hold_the_job_for_ever"), (PREFLIGHT, "an_ecr_that_does_not_answer_holds_nobody_up")]),
    row("Amazon ECR", "a right is missing", &[(PREFLIGHT, "rights_that_a_push_needs_are_named_before_the_build")]),
    row("Amazon ECR", "throttling and 5xx of its API", &[(FAILURE, "what_may_pass_in_ecrs_api_is_tried_again"), (FAILURE, "an_api_of_ecr_that_is_overloaded_for_long_ends_the_run_with_a_remedy"), (FAILURE, "questions_about_a_repository_that_ecr_throttles_do_not_end_the_run")]),
    row("AWS STS", "throttling, 5xx, cut connections, an expired token", &[(SESSION, "what_may_pass_is_tried_again_with_a_new_token")]),
    row("AWS STS", "refusal", &[(SESSION, "a_refusal_is_final_and_says_what_the_trust_policy_has_to_hold")]),
    row("AWS STS", "a session ends during the build", &[(SESSION, "a_session_that_ends_in_mid_build_is_renewed_by_the_helper")]),
    row("AWS", "a clock that is wrong", &[(FAILURE, "a_clock_that_is_wrong_is_named")]),
    row("AWS", "credentials revoked during the build", &[(OIDC, "credentials_that_are_revoked_during_the_build_end_it_with_the_cause")]),
    row("Amazon EKS", "a token ends during the build", &[(LONG, "a_build_outlives_its_tokens")]),
    row("Amazon EKS", "the cluster refuses, or its API fails", &[(TROUBLES, "every_bad_input_has_its_own_error_and_hint_within_ten_seconds")]),
    row("GitHub", "refusals, rate limits, 5xx, an answer that can't be read", &[(HISTORY, "refusals_have_an_explanation")]),
    row("GitHub", "nothing listens", &[(HISTORY, "a_server_that_does_not_answer_is_an_error")]),
    row("GitHub", "huge answer", &[(HISTORY, "an_answer_without_an_end_is_an_error_and_not_kept"), (HISTORY, "the_jobs_count_where_an_artifact_has_no_end")]),
    row("Kubernetes", "5xx, and a watch that ended with 410", &[(TROUBLES, "calls_are_repeated_after_transient_errors")]),
    row("Kubernetes", "the API server restarts while it creates the builder", &[(NETWORK, "an_api_server_that_ends_while_it_creates_a_builder_delays_the_build"), (NETWORK, "an_api_server_that_ends_while_it_creates_a_builder_that_stays_leaves_it_whole"), (NETWORK, "an_api_server_that_ends_for_long_while_it_creates_a_builder_is_an_error_and_nothing_is_left")]),
    row("Kubernetes", "the API server restarts while pods boot", &[(NETWORK, "an_api_server_that_stops_while_pods_boot_delays_the_build"), (NETWORK, "an_api_server_that_stays_away_while_pods_boot_is_an_error_within_the_builders_time")]),
    row("Kubernetes", "the API server restarts during the build", &[(NETWORK, "an_api_server_that_stops_during_the_build_ends_it_and_the_builder_is_removed_when_it_is_back"), (NETWORK, "an_api_server_that_restarts_ends_the_build_and_the_builder_is_removed")]),
    row("Kubernetes", "pod evicted", &[(LONG, "an_evicted_pod_ends_the_build_within_ten_seconds")]),
    row("Kubernetes", "pod deleted", &[(ANY, "a_pod_that_goes_away_ends_the_build_within_ten_seconds")]),
    row("Kubernetes", "pod killed for its memory", &[(LONG, "a_pod_that_was_killed_for_its_memory_during_a_green_build_gets_a_warning")]),
    row("Kubernetes", "BuildKit exits in its pod", &[(LONG, "when_buildkit_exits_in_its_pod_the_end_of_its_log_is_shown")]),
    row("Kubernetes", "node gone", &[(NETWORK, "a_node_that_falls_silent_ends_the_build")]),
    row("Kubernetes", "stream cut", &[(LONG, "a_cut_stream_ends_the_build_within_ten_seconds"), (NETWORK, "a_stream_that_is_cut_behind_a_proxy_ends_the_build_within_ten_seconds")]),
    row("Kubernetes", "network silent", &[(NETWORK, "a_network_that_falls_silent_is_said_within_ten_seconds_and_ends_the_build")]),
    row("Kubernetes", "quota", &[(TROUBLES, "with_auto_this_machine_takes_over"), (STATEFUL, "a_stateful_set_that_may_make_no_pods_says_why")]),
    row("Kubernetes", "no node takes the pod", &[(ANY, "a_pod_that_no_node_takes_says_why_and_leaves_nothing")]),
    row("Kubernetes", "the builder cannot be removed", &[(REMOVAL, "a_removal_that_fails_is_tried_again"), (REMOVAL, "what_a_run_could_not_remove_its_post_step_does")]),
    row("Engine", "killed in the push", &[(ENGINE, "a_builder_that_is_killed_while_the_engine_pushes_is_an_error"), (ENGINE, "buildkit_pushes_when_the_step_is_killed")]),
    row("Engine", "disk full", &[(ENGINE, "a_disk_that_is_full_is_an_error_and_leaves_no_tag"), (ENGINE, "a_disk_that_has_no_room_for_an_export_has_room_for_the_engine")]),
    row("Engine", "it makes a builder after its run was cancelled", &[("tests/e2e/late.rs", "what_the_engine_makes_of_a_builder_when_its_run_was_cancelled_is_removed")]),
    row("Engine", "a builder that does not boot", &[(FAILURE, "a_builder_that_does_not_boot_is_an_error_of_the_environment_and_is_removed")]),
    row("Engine", "BuildKit begins nothing", &[("src/buildx/silence.rs", "a_build_of_which_nothing_runs_does_not_wait_for_ever")]),
    row("Engine", "restart during the build", &[(MACHINE, "an_engine_that_restarts_during_the_build_ends_it_and_the_next_run_builds")]),
    row("Engine", "its socket goes away", &[(MACHINE, "a_socket_of_the_engine_that_goes_away_is_an_error_with_a_remedy")]),
    row("Machine", "the run is killed", &[("tests/e2e/cancel.rs", "what_a_killed_run_left_is_removed_by_its_post_step"), ("tests/e2e/abandoned.rs", "the_next_run_removes_the_builder_of_one_that_is_gone_and_none_of_one_that_lives")]),
    row("Machine", "the run is cancelled", &[("tests/e2e/cancel.rs", "a_run_on_the_engine_can_be_cancelled_at_any_point"), ("tests/e2e/cancel.rs", "a_run_on_a_builder_of_its_own_can_be_cancelled_at_any_point")]),
    row("Machine", "buildx dies", &[(FAILURE, "a_buildx_that_dies_without_a_word_is_still_reported")]),
    row("Machine", "disk full in the run's directory or the workspace", &[(MACHINE, "a_full_disk_of_the_runner_ends_the_run_wherever_it_is_noticed"), (MACHINE, "a_full_disk_of_the_workspace_is_an_error_after_the_push")]),
    row("Machine", "outputs cannot be written", &[(FAILURE, "files_of_the_runner_that_can_not_be_written_are_an_error_with_a_remedy")]),
    row("Machine", "too little memory: for the builder's BuildKit, a step, the push engine", &[(MEMORY, "too_little_memory_for_buildkit_is_an_error_with_a_remedy"), (MEMORY, "a_step_that_needs_more_memory_than_the_builder_has_is_an_error_with_a_remedy"), (MEMORY, "the_engine_pushes_with_little_memory")]),
    row("Machine", "buildx killed for its memory", &[(FAILURE, "a_buildx_that_is_killed_is_an_error_that_speaks_of_memory")]),
];

/// A test's name, as the sentence that it is.
fn sentence(name: &str) -> String {
    name.replace('_', " ")
}

fn is_there(file: &str, name: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let heads = ["    fn", "\nfn", "\nasync fn"].map(|head| format!("{head} {name}("));
    heads.iter().any(|head| {
        text.split_once(head).is_some_and(|(before, _)| {
            let attributes = before.lines().rev().map(str::trim);
            attributes
                .take_while(|line| line.starts_with("#["))
                .any(|line| line.ends_with("test]"))
        })
    })
}

#[test]
fn the_page_on_faults_names_tests_that_exist() {
    let mut table = "\n| | What goes wrong | How it ends |\n| :-- | :-- | :-- |\n".to_owned();
    for Row {
        world,
        fault,
        tests,
    } in ROWS
    {
        for (file, name) in *tests {
            assert!(is_there(file, name), "no test {name} in {file}");
        }
        let tests = tests
            .iter()
            .map(|(file, name)| format!("[{}](../{file})", sentence(name)));
        let tests: Vec<String> = tests.collect();
        let how = match tests.is_empty() {
            true => "**untested**".to_owned(),
            false => tests.join("; "),
        };
        table += &format!("| {world} | {fault} | {how} |\n");
    }
    holds(
        "docs/faults.md",
        "<!-- elsewhere -->\n",
        "<!-- /elsewhere -->",
        &table,
    );
}

#[test]
fn a_test_that_is_not_there_is_found_out() {
    assert!(is_there(file!(), "a_test_that_is_not_there_is_found_out"));
    // The name of a function that is no test.
    assert!(!is_there(file!(), "sentence"));
    assert!(!is_there("tests/action/none.rs", "sentence"));
}
