//! The runner's event.

use readers::Target;
use serde_json::Value;

use super::{file, fixture, part, parts, seed};
use crate::runner::env::Env;
use crate::runner::origin::Origin;
use crate::runner::workflow::WorkflowRun;

pub(super) const TARGETS: &[Target] = &[Target {
    name: "github-event",
    read: event,
    seeds,
}];

/// The event's name, the ref and the payload. The code of a fork is never trusted.
fn event(bytes: &[u8]) {
    let parts = parts(bytes);
    let payload = file(part(&parts, 2).as_bytes());
    let env = Env::from([
        ("GITHUB_REPOSITORY", "octo/app"),
        ("GITHUB_EVENT_NAME", part(&parts, 0)),
        ("GITHUB_REF", part(&parts, 1)),
        ("GITHUB_EVENT_PATH", payload.path().to_str().unwrap()),
    ]);
    let run = WorkflowRun::from_env(&env).unwrap();
    let origin = Origin::of(&run);
    let is_ours = |pointer| {
        let name = run.payload.pointer(pointer).and_then(Value::as_str);
        name == Some("octo/app")
    };
    match run.event_name.as_str() {
        event if event.starts_with("pull_request") => {
            let ours = is_ours("/pull_request/head/repo/full_name");
            assert_eq!(origin.untrusted.is_none(), ours);
        }
        "workflow_run" => {
            let ours = is_ours("/workflow_run/head_repository/full_name");
            assert_eq!(origin.untrusted.is_none(), ours);
        }
        _ => {}
    }
    let _ = (
        run.git_context(),
        run.server_host(),
        run.is_enterprise_server(),
    );
}

fn seeds() -> Vec<Vec<u8>> {
    let events: Value = serde_json::from_slice(&fixture("tags/events.json")).unwrap();
    let events = events.as_object().unwrap().values();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let recorded = events.map(|event| {
        seed(&[
            &text(&event["GITHUB_EVENT_NAME"]),
            &text(&event["GITHUB_REF"]),
            &event["payload"].to_string(),
        ])
    });
    let head = r#"{"full_name":"octo/app"}"#;
    let own = [
        seed(&[
            "pull_request",
            "refs/pull/7/merge",
            &format!(
                r#"{{"pull_request":{{"base":{{"ref":"main"}},"head":{{"ref":"a","repo":{head}}}}}}}"#
            ),
        ]),
        seed(&[
            "workflow_run",
            "refs/heads/main",
            &format!(r#"{{"workflow_run":{{"head_branch":"a","head_repository":{head}}}}}"#),
        ]),
        seed(&[
            "merge_group",
            "refs/heads/gh-readonly-queue/main/pr-7-1",
            r#"{"merge_group":{"base_ref":"refs/heads/main"}}"#,
        ]),
        seed(&[
            "issue_comment",
            "refs/heads/main",
            r#"{"issue":{"pull_request":{}}}"#,
        ]),
    ];
    recorded.chain(own).collect()
}
