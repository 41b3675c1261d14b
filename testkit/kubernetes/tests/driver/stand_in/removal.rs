//! Removing a builder where the API does not do it at once.

use crate::cluster::Cluster;

/// The command that is named where a builder may still be there.
#[track_caller]
pub(super) fn names_the_command(log: &str, builder: &str) {
    let warning = format!("could not remove the builder `{builder}`: ");
    assert!(log.contains(&warning), "{log}");
    let command = format!(
        "`kubectl delete deployment/{builder} configmap/{builder}-config --namespace buildx --ignore-not-found`"
    );
    assert!(log.contains(&command), "{log}");
    assert!(!log.contains("removed the builder"), "{log}");
}

#[track_caller]
fn folder(state: &[(String, String)]) -> &str {
    let folder = state.iter().find(|(name, _)| name == "STATE_folder");
    &folder.unwrap().1
}

#[test]
fn a_removal_that_fails_is_tried_again() {
    let cluster = Cluster::stand_in();
    for fault in [r#""code":500,"times":2"#, r#""code":0,"times":2"#] {
        let script = format!(r#"{{"faults":[{{"call":"delete deployments",{fault}}}]}}"#);
        cluster.script(&script);
        let run = cluster.run(&[]);
        run.succeeded();
        assert!(!run.log.contains("could not remove"), "{}", run.log);
        assert!(cluster.objects().deployments().is_empty(), "{fault}");
    }
    assert_eq!(
        cluster.calls("delete deployments"),
        4,
        "cut ones are not recorded"
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn what_a_run_could_not_remove_its_post_step_does() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"faults":[{"call":"delete deployments","code":500,"times":1000}]}"#);
    let (run, state) = cluster.run_before_post(&[]);
    // How it was built is not hidden by that.
    run.succeeded();
    let builder = run.output("builder");
    names_the_command(&run.log, &builder);
    assert!(run.log.contains("a fault by script (500)"), "{}", run.log);
    assert_eq!(cluster.objects().deployments().len(), 1);
    cluster.script("{}");
    let post = cluster.post(&state);
    let words = format!("removed the builder `{builder}` that the run left");
    assert!(post.contains(&words), "{post}");
    assert!(!std::path::Path::new(folder(&state)).exists());
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_post_step_that_can_not_remove_the_builder_says_what_does() {
    let cluster = Cluster::stand_in();
    let state = cluster.run_and_kill(&[]);
    cluster.script(r#"{"faults":[{"call":"delete deployments","code":403,"times":1000}]}"#);
    let name = cluster.objects().deployments()[0]["metadata"]["name"].clone();
    let post = cluster.post(&state);
    names_the_command(&post, name.as_str().unwrap());
    // Credentials do not wait for anybody.
    assert!(!std::path::Path::new(folder(&state)).exists());
    assert_eq!(cluster.objects().deployments().len(), 1);
    cluster.stop();
}

/// As by an admission hook that takes its time.
#[test]
fn what_was_made_though_nobody_said_so_is_removed() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"faults":[{"call":"create deployments","late_ms":20000,"times":100}]}"#);
    let run = cluster.run(&[("driver-opts", "timeout=8s")]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    assert!(run.log.contains("no answer within 10 s"), "{}", run.log);
    assert_eq!(cluster.record("workloads").len(), 1);
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_builder_goes_where_its_configuration_could_not_be_made() {
    let cluster = Cluster::stand_in();
    cluster.script(r#"{"faults":[{"call":"create configmaps","code":500,"times":1000}]}"#);
    let run = cluster.run(&[
        ("buildkitd-config-inline", "debug = true"),
        ("driver-opts", "timeout=3s"),
    ]);
    assert_eq!(run.code, Some(3), "{}", run.log);
    assert!(
        run.log.contains("could not create a ConfigMap"),
        "{}",
        run.log
    );
    assert_eq!(cluster.stop(), [""; 0]);
}

#[test]
fn a_workload_of_somebody_else_stays() {
    let cluster = Cluster::stand_in();
    let state = cluster.run_and_kill(&[]);
    cluster.objects().disown();
    let post = cluster.post(&state);
    let words = "it has no labels of this action";
    assert!(post.contains(words), "{post}");
    assert_eq!(cluster.objects().deployments().len(), 1);
    assert_eq!(cluster.calls("delete deployments"), 0);
    cluster.stop();
}

#[test]
fn where_another_builder_took_over_the_post_step_still_removes_what_is_left() {
    let cluster = Cluster::stand_in();
    cluster.script(
        r#"{"trouble":"never-ready","faults":[{"call":"delete deployments","code":500,"times":1000}]}"#,
    );
    let (run, state) = cluster.run_before_post(&[("driver", "auto"), ("builder-timeout", "2")]);
    run.succeeded();
    assert_eq!(run.output("driver"), "docker");
    assert!(
        run.log.contains("could not remove the builder"),
        "{}",
        run.log
    );
    assert_eq!(cluster.objects().deployments().len(), 1);
    cluster.script("{}");
    let post = cluster.post(&state);
    assert!(post.contains("removed the builder"), "{post}");
    assert_eq!(cluster.stop(), [""; 0]);
}
