//! How the runner starts a container action: a table of what it gives, each row with the line of its source.
//!
//! Rows cite actions/runner 2.336.0 (258d6c8), <https://github.com/actions/runner/tree/258d6c857db3519913f7deb6004b60172f8043ae/src/Runner.Worker>:
//! `H` is `Handlers/ContainerActionHandler.cs`, `D` is `Container/DockerCommandManager.cs`, `I` is `Container/ContainerInfo.cs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folders of the host below the work folder, and where the container sees them. Of two that hold a path, the one
/// further down is the one whose name is translated (I:250, `Insert(0, …)`).
const MOUNTS: [(&str, &str); 5] = [
    ("_temp", "/github/runner_temp"),               // H:194, H:200
    ("_temp/_github_home", "/github/home"),         // H:195, H:201
    ("_temp/_github_workflow", "/github/workflow"), // H:196, H:202
    ("_temp/_runner_file_commands", "/github/file_commands"), // H:197, H:203
    ("app/app", "/github/workspace"),               // H:198, H:204
];

/// The folders of a job on its host, `_work` of the runner.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub work: PathBuf,
    /// The Engine's socket.
    pub socket: PathBuf,
}

impl Host {
    pub(crate) fn temp(&self) -> PathBuf {
        self.work.join("_temp")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.work.join("_temp/_github_home")
    }

    pub(crate) fn workflow(&self) -> PathBuf {
        self.work.join("_temp/_github_workflow")
    }

    pub(crate) fn file_commands(&self) -> PathBuf {
        self.work.join("_temp/_runner_file_commands")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.work.join("app/app")
    }

    /// A value as the container gets it: translated if it begins with a mounted folder, and only then (I:164).
    pub(crate) fn to_container(&self, value: &str) -> String {
        let translated = MOUNTS.iter().rev().find_map(|(host, container)| {
            let host = self.work.join(host);
            let rest = value.strip_prefix(host.to_str().unwrap())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{container}{rest}"))
        });
        translated.unwrap_or_else(|| value.to_owned())
    }

    /// A path of the container as the host has it (I:198).
    pub(crate) fn to_host(&self, path: &str) -> String {
        let translated = MOUNTS.iter().rev().find_map(|(host, container)| {
            let rest = path.strip_prefix(container)?;
            let host = self.work.join(host);
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", host.display()))
        });
        translated.unwrap_or_else(|| path.to_owned())
    }
}

/// A container to start.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    pub host: &'a Host,
    pub name: &'a str,
    pub label: &'a str,
    pub image: &'a str,
    pub entrypoint: &'a str,
    /// The job's network, where the job has services.
    pub network: Option<&'a str>,
    /// The rig's own: what a real machine asks a name server for.
    pub hosts: &'a [String],
    /// Names and values, not translated yet.
    pub environment: &'a BTreeMap<String, String>,
}

impl Container<'_> {
    /// The arguments of `docker`. Values of variables are not among them: the CLI has them in its own environment.
    pub(crate) fn argv(&self) -> Vec<String> {
        let mut argv = words(&["run"]); // D:261
        argv.extend(words(&["--name", self.name])); // D:198
        argv.extend(words(&["--label", self.label])); // D:199
        argv.extend(words(&["--workdir", "/github/workspace"])); // D:201, H:206
        argv.extend(words(&["--rm"])); // D:202
        for name in self.environment.keys() {
            argv.extend(words(&["-e", name])); // D:208
        }
        argv.extend(words(&["-e", "GITHUB_ACTIONS=true"])); // D:212
        if !self.environment.contains_key("CI") {
            argv.extend(words(&["-e", "CI=true"])); // D:218
        }
        argv.extend(words(&["--entrypoint", self.entrypoint])); // D:223
        if let Some(network) = self.network {
            argv.extend(words(&["--network", network])); // D:228
        }
        for host in self.hosts {
            argv.extend(words(&["--add-host", host]));
        }
        argv.extend([
            "-v".to_owned(),
            volume(&self.host.socket, "/var/run/docker.sock"),
        ]); // H:193
        for (host, container) in MOUNTS {
            argv.extend([
                "-v".to_owned(),
                volume(&self.host.work.join(host), container),
            ]); // D:249
        }
        argv.push(self.image.to_owned()); // D:252
        argv // `args` of an action without any are empty (D:258)
    }

    /// The variables of the CLI that starts the container (H:257).
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        self.environment
            .iter()
            .map(|(name, value)| (name.clone(), self.host.to_container(value)))
            .collect()
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn volume(host: &Path, container: &str) -> String {
    format!("{}:{container}", host.display())
}

/// What every step gets, beside its inputs and `env`: the `github` and `runner` contexts as far as they are passed
/// (`GitHubContext.cs`:10, `RunnerContext.cs`:9), and the addresses of GitHub's services (H:218 to H:246), which lead
/// nowhere here.
pub(crate) fn contexts(host: &Host) -> BTreeMap<String, String> {
    let workspace = host.workspace();
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let architecture = if cfg!(target_arch = "aarch64") {
        "ARM64"
    } else {
        "X64"
    };
    let mut contexts: BTreeMap<String, String> = [
        ("GITHUB_ACTION", "__fast-ecr-push"),
        ("GITHUB_ACTOR", "octocat"),
        ("GITHUB_API_URL", "https://api.github.com"),
        ("GITHUB_BASE_REF", ""),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_GRAPHQL_URL", "https://api.github.com/graphql"),
        ("GITHUB_HEAD_REF", ""),
        ("GITHUB_JOB", "build"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_REF_NAME", "main"),
        ("GITHUB_REF_PROTECTED", "false"),
        ("GITHUB_REF_TYPE", "branch"),
        ("GITHUB_REPOSITORY", "octo/app"),
        ("GITHUB_REPOSITORY_OWNER", "octo"),
        ("GITHUB_RETENTION_DAYS", "90"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_RUN_ID", "1"),
        ("GITHUB_RUN_NUMBER", "1"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"),
        ("GITHUB_WORKFLOW", "build"),
        ("RUNNER_ARCH", architecture),
        ("RUNNER_ENVIRONMENT", "github-hosted"),
        ("RUNNER_NAME", "GitHub Actions 1"),
        ("RUNNER_OS", "Linux"),
        ("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"),
        ("ACTIONS_RUNTIME_URL", "http://127.0.0.1:9/"),
        ("ACTIONS_RUNTIME_TOKEN", "runtime-token-of-the-stand-in"),
        ("ACTIONS_RESULTS_URL", "http://127.0.0.1:9/"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    contexts.extend([
        ("GITHUB_WORKSPACE".to_owned(), at(&workspace)),
        (
            "GITHUB_EVENT_PATH".to_owned(),
            at(&host.workflow().join("event.json")),
        ),
        ("RUNNER_TEMP".to_owned(), at(&host.temp())),
        // Its parent is `_work/app`, which is mounted nowhere.
        (
            "RUNNER_WORKSPACE".to_owned(),
            at(workspace.parent().unwrap()),
        ),
        ("HOME".to_owned(), at(&host.home())), // H:185
    ]);
    contexts
}
