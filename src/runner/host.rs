//! Where the action runs, in words: the first lines of its log.
//!
//! In: the environment. Out: what kind of machine this is, and what can't be done here, which the user would otherwise
//! find out by a strange error. Only what variables tell is said; nothing is probed.
//! Variables: <https://docs.github.com/actions/reference/workflows-and-actions/variables>.

use crate::runner::env::Env;
use crate::runner::mounts::Mounts;

/// Whose machine runs the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// A machine of GitHub's.
    Hosted,
    /// Somebody's own machine or pod.
    SelfHosted,
    /// A runner of actions-runner-controller with a Docker Engine beside it: its image keeps jobs below this folder
    /// (<https://github.com/actions/actions-runner-controller/blob/master/charts/gha-runner-scale-set/values.yaml>).
    ArcDind,
    /// A pod that actions-runner-controller started for a step: nothing is copied back from there
    /// (<https://github.com/actions/runner-container-hooks/issues/302>).
    ArcKubernetes,
    /// nektos/act, which imitates a runner on a laptop (<https://nektosact.com/usage/index.html#skipping-jobs>).
    Act,
}

const ARC_WORK: &str = "/home/runner/_work/";

impl Host {
    fn of(env: &Env) -> Option<Self> {
        if !env.is_true("GITHUB_ACTIONS") {
            return None;
        }
        let workspace = env.get("RUNNER_WORKSPACE").unwrap_or_default();
        Some(if env.is_true("ACT") {
            Self::Act
        } else if env.get("KUBERNETES_SERVICE_HOST").is_some() {
            Self::ArcKubernetes
        } else if env.get("RUNNER_ENVIRONMENT") == Some("github-hosted") {
            Self::Hosted
        } else if workspace.starts_with(ARC_WORK) {
            Self::ArcDind
        } else {
            Self::SelfHosted
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hosted => "GitHub's runner",
            Self::SelfHosted => "a self-hosted runner",
            Self::ArcDind => "a self-hosted runner, as of actions-runner-controller",
            Self::ArcKubernetes => "a pod",
            Self::Act => "act",
        }
    }
}

/// The lines, most important first; none on the command line.
pub(crate) fn lines(env: &Env) -> Vec<String> {
    let Some(host) = Host::of(env) else {
        return Vec::new();
    };
    let container = Mounts::of(env);
    let server = env
        .get("GITHUB_SERVER_URL")
        .filter(|url| !is_github(url))
        .map_or(String::new(), |url| {
            format!(" of GitHub Enterprise Server {url}")
        });
    let mut lines = vec![format!(
        "fast-ecr-push {} for {}/{}, on {}{server}{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        architecture(),
        host.name(),
        if container.is_some() {
            ", in its own container"
        } else {
            ""
        }
    )];
    if container.is_some() {
        lines.push(
            "not seen from here: the runner's Docker logins and builders, its /tmp and its SSH agent; no login or \
             builder outlives this step"
                .to_owned(),
        );
    }
    match host {
        Host::ArcKubernetes => lines.push(
            "in the `kubernetes` container mode of actions-runner-controller outputs and files don't get back to the \
             job, and there is no Docker Engine: use its `dind` mode"
                .to_owned(),
        ),
        Host::Act => lines.push("act has no OpenID Connect and no cache service of GitHub's".to_owned()),
        Host::Hosted | Host::SelfHosted | Host::ArcDind => {}
    }
    lines
}

/// The architecture as OCI images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// github.com, or a tenant of its cloud with data residency (`ghe.com`).
fn is_github(server: &str) -> bool {
    let host = server.trim_start_matches("https://").trim_end_matches('/');
    host == "github.com" || host.ends_with(".ghe.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(variables: &[(&str, &str)]) -> String {
        let env = Env::from([("GITHUB_ACTIONS", "true")]).with(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        lines(&env).remove(0)
    }

    #[test]
    fn each_machine_is_known_by_its_variables() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (
                &[("RUNNER_ENVIRONMENT", "github-hosted")],
                "on GitHub's runner",
            ),
            (
                &[("RUNNER_WORKSPACE", "/srv/work/app")],
                "on a self-hosted runner",
            ),
            (
                &[("RUNNER_WORKSPACE", "/home/runner/_work/app")],
                "on a self-hosted runner, as of actions-runner-controller",
            ),
            (&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")], "on a pod"),
            (&[("ACT", "true")], "on act"),
            (
                &[
                    ("GITHUB_SERVER_URL", "https://git.example.com"),
                    ("GITHUB_WORKSPACE", "/github/workspace"),
                ],
                "on a self-hosted runner of GitHub Enterprise Server https://git.example.com, in its own container",
            ),
        ];
        for (variables, expected) in cases {
            let line = first(variables);
            assert!(line.ends_with(expected), "{line}");
        }
        assert!(first(&[]).contains(" for linux/"));
    }

    #[test]
    fn the_command_line_needs_no_introduction() {
        assert_eq!(lines(&Env::default()), Vec::<String>::new());
    }
}
