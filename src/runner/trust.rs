//! Whether GitHub withholds secrets from this workflow run.
//!
//! In: the environment and the event. Out: the reason, with the usual remedy. Runs for a fork's pull request and runs that Dependabot starts
//! get neither secrets nor an OpenID Connect token:
//! <https://docs.github.com/actions/reference/security/secure-use>,
//! <https://docs.github.com/code-security/dependabot/troubleshooting-dependabot/troubleshooting-dependabot-on-github-actions>.

use super::files;
use crate::runner::env::Env;

/// Why this run has no secrets; `None` if it may have some.
pub(crate) fn without_secrets(env: &Env) -> Option<String> {
    if env.get("GITHUB_ACTOR") == Some("dependabot[bot]") {
        return Some(
            "Dependabot started this run: it has only Dependabot's secrets and no OpenID Connect token. Set \
             `push: ${{ github.actor != 'dependabot[bot]' }}`, or add the credentials to Dependabot's secrets"
                .to_owned(),
        );
    }
    let event = env.get("GITHUB_EVENT_NAME")?;
    if !event.starts_with("pull_request") || event == "pull_request_target" {
        return None;
    }
    let payload = files::event_payload(env.path("GITHUB_EVENT_PATH")?);
    // Null if the fork was deleted.
    let fork = payload.pointer("/pull_request/head/repo")?;
    let fork = fork["full_name"].as_str();
    if fork == env.get("GITHUB_REPOSITORY") {
        return None;
    }
    let fork = fork.map_or_else(String::new, |name| format!(" `{name}`"));
    Some(format!(
        "this pull request comes from the fork{fork}: the run has no secrets and no OpenID Connect token. Build without pushing: \
         `push: ${{{{ github.event.pull_request.head.repo.full_name == github.repository }}}}`"
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
                Some("the fork:"),
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
