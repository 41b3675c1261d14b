//! Whether GitHub keeps secrets from this workflow run.
//!
//! In: the environment and the event's file. Out: why there are none, and what is usually done about it. Runs for a
//! fork's pull request and those that Dependabot starts get neither secrets nor a token for OpenID Connect:
//! <https://docs.github.com/actions/reference/security/secure-use>,
//! <https://docs.github.com/code-security/dependabot/troubleshooting-dependabot/troubleshooting-dependabot-on-github-actions>.

use std::fs::File;
use std::io::Read as _;

use serde::Deserialize;

use crate::runner::env::Env;

/// GitHub sends no larger event (bytes): <https://docs.github.com/webhooks/webhook-events-and-payloads>.
const LARGEST_EVENT: u64 = 25 * 1024 * 1024;

/// What is read of the event.
#[derive(Debug, Deserialize)]
struct Event {
    pull_request: PullRequest,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    head: Head,
}

#[derive(Debug, Deserialize)]
struct Head {
    /// None when the fork was deleted.
    repo: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    full_name: String,
}

/// Why this run has no secrets, with the usual remedy; `None` when it may have some.
pub(crate) fn without_secrets(env: &Env) -> Option<String> {
    if env.get("GITHUB_ACTOR") == Some("dependabot[bot]") {
        return Some(
            "Dependabot started this run, so that it has no secrets but Dependabot's own and no token for OpenID \
             Connect: set `push: ${{ github.actor != 'dependabot[bot]' }}`, or add the credentials to Dependabot's \
             secrets"
                .to_owned(),
        );
    }
    let event = env.get("GITHUB_EVENT_NAME")?;
    if !event.starts_with("pull_request") || event == "pull_request_target" {
        return None;
    }
    let mut text = Vec::new();
    let file = File::open(env.path("GITHUB_EVENT_PATH")?).ok()?;
    file.take(LARGEST_EVENT).read_to_end(&mut text).ok()?;
    let event: Event = serde_json::from_slice(&text).ok()?;
    let fork = event
        .pull_request
        .head
        .repo
        .map(|repository| repository.full_name);
    if fork.as_deref() == env.get("GITHUB_REPOSITORY") {
        return None;
    }
    let fork = fork.map_or_else(String::new, |name| format!(" `{name}`"));
    Some(format!(
        "this pull request comes from the fork{fork}, so that the run has no secrets and no token for OpenID Connect: \
         build without pushing there, `push: ${{{{ github.event.pull_request.head.repo.full_name == \
         github.repository }}}}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(event: &str, actor: &str, payload: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        std::fs::write(&path, payload).unwrap();
        without_secrets(&Env::from([
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_EVENT_PATH", path.to_str().unwrap()),
            ("GITHUB_ACTOR", actor),
            ("GITHUB_REPOSITORY", "octo/app"),
        ]))
    }

    #[test]
    fn forks_and_dependabot_have_none() {
        let from =
            |repository: &str| format!(r#"{{"pull_request":{{"head":{{"repo":{repository}}}}}}}"#);
        let (own, fork) = (
            from(r#"{"full_name":"octo/app"}"#),
            from(r#"{"full_name":"eve/app"}"#),
        );
        let cases = [
            ("a push", "push", "octocat", "{}", None),
            (
                "a branch of one's own",
                "pull_request",
                "octocat",
                own.as_str(),
                None,
            ),
            (
                "a fork",
                "pull_request",
                "octocat",
                fork.as_str(),
                Some("the fork `eve/app`"),
            ),
            (
                "a review of a fork",
                "pull_request_review",
                "octocat",
                fork.as_str(),
                Some("the fork `eve/app`"),
            ),
            (
                "a deleted fork",
                "pull_request",
                "octocat",
                &from("null"),
                Some("the fork,"),
            ),
            (
                "the target's own workflow",
                "pull_request_target",
                "octocat",
                fork.as_str(),
                None,
            ),
            (
                "Dependabot",
                "push",
                "dependabot[bot]",
                "{}",
                Some("Dependabot started"),
            ),
            ("no event", "pull_request", "octocat", "", None),
        ];
        for (name, event, actor, payload, expected) in cases {
            let reason = asked(event, actor, payload);
            match expected {
                None => assert_eq!(reason, None, "{name}"),
                Some(words) => assert!(reason.unwrap().contains(words), "{name}"),
            }
        }
    }
}
