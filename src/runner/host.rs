//! The first lines of the log: the machine, and its known limits.
//!
//! In: the environment. Out: what kind of machine this is, and what does not work on it. Nothing is probed.
//! Variables: <https://docs.github.com/actions/reference/workflows-and-actions/variables>.

use crate::runner::env::Env;
use crate::runner::mounts::Mounts;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    GitHubHosted,
    SelfHosted,
    /// A runner of actions-runner-controller with a Docker Engine (`dind` mode): its image has jobs below this folder
    /// (<https://github.com/actions/actions-runner-controller/blob/master/charts/gha-runner-scale-set/values.yaml>).
    ArcDind,
    /// A pod that actions-runner-controller started for a step: nothing is copied back from it
    /// (<https://github.com/actions/runner-container-hooks/issues/302>).
    ArcKubernetes,
    /// nektos/act, which imitates a runner (<https://nektosact.com/usage/index.html#skipping-jobs>).
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
            Self::GitHubHosted
        } else if workspace.starts_with(ARC_WORK) {
            Self::ArcDind
        } else {
            Self::SelfHosted
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::GitHubHosted => "a GitHub-hosted runner",
            Self::SelfHosted => "a self-hosted runner",
            Self::ArcDind => "a self-hosted runner of actions-runner-controller",
            Self::ArcKubernetes => "a pod",
            Self::Act => "act",
        }
    }

    fn limit(self) -> Option<&'static str> {
        match self {
            Self::ArcKubernetes => Some(
                "the `kubernetes` container mode of actions-runner-controller does not return outputs and files to the job, and has no \
                 Docker Engine: use its `dind` mode",
            ),
            Self::Act => Some("act has neither OpenID Connect nor GitHub's cache service"),
            Self::GitHubHosted | Self::SelfHosted | Self::ArcDind => None,
        }
    }
}

/// The lines, most important first; none on the command line.
pub(crate) fn lines(env: &Env) -> Vec<String> {
    let Some(host) = Host::of(env) else {
        return Vec::new();
    };
    let is_container = Mounts::of(env).is_some();
    let server = env.get("GITHUB_SERVER_URL").filter(|url| !is_github(url));
    let server = server.map_or(String::new(), |url| {
        format!(" of GitHub Enterprise Server {url}")
    });
    let container = if is_container {
        ", in its own container"
    } else {
        ""
    };
    let mut lines = vec![format!(
        "fast-ecr-push {} for {}/{}, on {}{server}{container}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        architecture(),
        host.name(),
    )];
    if is_container {
        lines.push(
            "this container does not see the runner's Docker logins and builders, its /tmp and its SSH agent; later steps do not see \
             this step's logins and builders"
                .to_owned(),
        );
    }
    lines.extend(host.limit().map(str::to_owned));
    lines
}

/// OCI's name of the architecture.
pub(crate) fn architecture() -> &'static str {
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
                "on a GitHub-hosted runner",
            ),
            (
                &[("RUNNER_WORKSPACE", "/srv/work/app")],
                "on a self-hosted runner",
            ),
            (
                &[("RUNNER_WORKSPACE", "/home/runner/_work/app")],
                "on a self-hosted runner of actions-runner-controller",
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
