//! The runner's stand-in: starts the built image as the real runner does and takes what it hands back.
//!
//! A [`Runner`] is a machine with the folders of one job, a [`Step`] a `uses:` with its inputs. Main and post each get
//! a container of their own; a cancelled step gets SIGINT, after 7.5 s SIGTERM, after 2.5 s more the CLI is killed
//! (`ProcessInvoker.cs`:32). Not imitated: job containers, container hooks, problem matchers.

pub(crate) mod commands;
mod container;
mod files;
mod follow;
mod manifest;
mod script;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_stand_in::Account;
use tempfile::TempDir;

use crate::image;
use crate::rig::variable;
use commands::Log;
use container::{Container, Host};
use files::{Files, Values};
use follow::{Stop, follow};
use manifest::Manifest;

/// The user that runner and checkout are on GitHub's machines and in ARC's image.
const USER: u32 = 1001;

/// A machine with one job.
#[derive(Debug)]
pub(crate) struct Runner {
    _folder: TempDir,
    host: Host,
    /// The label that this runner's containers bear (`DockerInstanceLabel`).
    label: String,
    token: String,
    environment: BTreeMap<String, String>,
    network: Option<String>,
    /// Names that containers find elsewhere than the world does, as `--add-host` has them.
    hosts: Vec<String>,
    /// The action's image; none for the one that all tests share.
    image: Option<String>,
}

impl Runner {
    /// A machine with an empty workspace that belongs to the runner's user.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let host = Host {
            work: folder.path().join("_work"),
            socket: socket(&variable("DOCKER_HOST")),
        };
        for path in [
            host.home(),
            host.workflow(),
            host.file_commands(),
            host.workspace(),
        ] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(host.workflow().join("event.json"), "{}").unwrap();
        for path in below(&host.work) {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        Self {
            host,
            label: format!("e2e-{}-{number}", std::process::id()),
            token: "token-of-the-job".to_owned(),
            environment: BTreeMap::new(),
            network: None,
            hosts: Vec::new(),
            image: None,
            _folder: folder,
        }
    }

    /// Sets a variable for all steps, as `env:` of a job does; over what the runner sets.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The event that started the workflow run.
    pub(crate) fn event(self, name: &str, payload: &str) -> Self {
        fs::write(self.host.workflow().join("event.json"), payload).unwrap();
        self.variable("GITHUB_EVENT_NAME", name)
    }

    /// Mounts another Engine's socket.
    pub(crate) fn engine(mut self, address: &str) -> Self {
        self.host.socket = socket(address);
        self
    }

    /// Gives the steps a network other than the default one.
    pub(crate) fn network(mut self, name: &str) -> Self {
        self.network = Some(name.to_owned());
        self
    }

    /// A machine that has static keys of an AWS account, and finds and trusts its registry.
    pub(crate) fn with_keys_of(self, account: &Account) -> Self {
        self.in_account(account, &account.variables())
    }

    /// A job with `id-token: write`, before an AWS account.
    pub(crate) fn with_tokens_for(self, account: &Account) -> Self {
        self.in_account(account, &account.oidc_variables())
    }

    /// Before an AWS account, with variables that it gives.
    pub(crate) fn in_account(mut self, account: &Account, variables: &[(&str, String)]) -> Self {
        let authority = self.authority();
        fs::copy(variable("RIG_AWS_CA"), &authority).unwrap();
        self.hosts = account.add_hosts();
        for (name, value) in variables {
            self.environment.insert((*name).to_owned(), value.clone());
        }
        self.variable("SSL_CERT_FILE", authority.to_str().unwrap())
    }

    /// The private certificate authority's certificate, where the container sees it.
    fn authority(&self) -> PathBuf {
        self.host.workflow().join("authority.pem")
    }

    /// Starts another image of the action.
    pub(crate) fn image(mut self, name: &str) -> Self {
        self.image = Some(name.to_owned());
        self
    }

    /// Puts a file into the workspace, as a checkout does.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        for path in below(&self.workspace()) {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        self
    }

    /// A file in the home of the job's steps.
    pub(crate) fn at_home(self, path: &str, content: &str) -> Self {
        let path = self.host.home().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// The workspace on the host, `${{ github.workspace }}`.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.host.workspace()
    }

    /// `${{ runner.temp }}`.
    pub(crate) fn temp(&self) -> PathBuf {
        self.host.temp()
    }

    /// A step that uses the action.
    pub(crate) fn step(&self) -> Step<'_> {
        let mut step = Step {
            runner: self,
            inputs: BTreeMap::new(),
            stop: None,
        };
        if !self.hosts.is_empty() {
            // The push engine is a step of the build, which does not find an account's registry: it would ask for minutes, and
            // leave the push to BuildKit.
            step = step.input("accelerate", "off");
        }
        step
    }

    /// Everything in the job's folders that is not the user's, with what the runner makes itself left out.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let own = [
            self.temp(),
            self.host.home(),
            self.host.workflow(),
            self.host.file_commands(),
        ];
        let event = self.host.workflow().join("event.json");
        let authority = self.authority();
        let all = below(&self.temp());
        all.into_iter()
            .filter(|path| !own.contains(path) && ![&event, &authority].contains(&path))
            .collect()
    }

    /// Ends and removes what a CLI left that was signalled between making and starting its container: it goes without
    /// a word to the container (<https://github.com/actions/runner/issues/1309>).
    pub(crate) fn stop_containers(&self) {
        for name in self.containers().lines() {
            docker(&["stop", name]);
        }
        let label = format!("label={}", self.label);
        docker(&["container", "prune", "--force", "--filter", &label]);
    }

    /// Names of containers that run or stay, by a filter of `docker ps`.
    pub(crate) fn containers(&self) -> String {
        docker(&[
            "ps",
            "--all",
            "--filter",
            &format!("label={}", self.label),
            "--format",
            "{{.Names}}",
        ])
    }
}

fn socket(address: &str) -> PathBuf {
    let path = address.strip_prefix("unix://");
    path.expect("an Engine on a socket").into()
}

/// Prints what `docker` prints. On a busy machine Docker now and then loses what a container prints that ends at once, so one that
/// printed nothing runs once more.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let printed = || {
        let mut docker = Command::new(variable("RIG_DOCKER"));
        let output = docker.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let first = printed();
    if first.is_empty() && arguments.contains(&"run") {
        return printed();
    }
    first
}

/// A folder and everything in it.
pub(crate) fn below(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all.extend(below(&entry.unwrap().path()));
        }
    }
    all
}

/// A `uses:` of the action.
pub(crate) struct Step<'a> {
    runner: &'a Runner,
    inputs: BTreeMap<String, String>,
    stop: Option<Stop>,
}

/// What a stage of a step left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub log: Log,
    pub values: Values,
    /// From the start of the CLI to the first line.
    pub first_line: Option<Duration>,
    /// From the first signal to the end; none when none was sent.
    pub cancelled: Option<Duration>,
}

impl Step<'_> {
    pub(crate) fn input(mut self, name: &str, value: &str) -> Self {
        self.inputs.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Cancels the run a while after the given occurrence of a line; an empty line is the start of the CLI.
    pub(crate) fn cancelled_at(mut self, line: &str, number: u32, delay: Duration) -> Self {
        let (line, number) = (line.to_owned(), AtomicU32::new(number));
        self.stop = Some(Stop {
            line,
            number,
            delay,
            kill: false,
            when: Box::new(|| true),
        });
        self
    }

    /// Kills the container after a line, as soon as something is so.
    pub(crate) fn killed_at(mut self, line: &str, when: impl Fn() -> bool + 'static) -> Self {
        let (line, number) = (line.to_owned(), AtomicU32::new(1));
        self.stop = Some(Stop {
            line,
            number,
            delay: Duration::ZERO,
            kill: true,
            when: Box::new(when),
        });
        self
    }

    /// Runs main and then post, which has nothing to do after a run that ended by itself.
    pub(crate) fn run(self) -> Ended {
        let (main, post) = self.main_and_post();
        assert_eq!(post.code, Some(0), "{}", post.log());
        main
    }

    /// Runs main, and post whatever became of it.
    pub(crate) fn main_and_post(self) -> (Ended, Ended) {
        let (manifest, mut environment, main) = self.main();
        for (name, value) in &main.values.state {
            environment.insert(format!("STATE_{name}"), value.clone());
        }
        let post = self.stage(&manifest.runs.post_entrypoint, &environment, None);
        (main, post)
    }

    /// Runs main alone, on a machine that goes away before post.
    pub(crate) fn main_alone(self) -> Ended {
        self.main().2
    }

    fn main(&self) -> (Manifest, BTreeMap<String, String>, Ended) {
        let manifest = Manifest::read();
        assert_eq!(
            (manifest.runs.using.as_str(), manifest.runs.image.as_str()),
            ("docker", "Dockerfile")
        );
        let mut environment = container::contexts(&self.runner.host);
        environment.extend(self.runner.environment.clone());
        for (name, value) in manifest.inputs(&self.inputs, &self.runner.token) {
            environment.insert(
                format!("INPUT_{}", name.replace(' ', "_").to_uppercase()),
                value,
            );
        }
        let main = self.stage(&manifest.runs.entrypoint, &environment, self.stop.as_ref());
        for name in main.values.outputs.keys() {
            assert!(
                manifest.outputs.contains_key(name),
                "undeclared output `{name}`"
            );
        }
        (manifest, environment, main)
    }

    fn stage(
        &self,
        entrypoint: &str,
        environment: &BTreeMap<String, String>,
        stop: Option<&Stop>,
    ) -> Ended {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let host = &self.runner.host;
        let suffix = format!(
            "{}-{}",
            self.runner.label,
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let files = Files::create(&host.file_commands(), &suffix);
        let mut environment = environment.clone();
        environment.extend(files.variables());
        let container = Container {
            host,
            name: &suffix,
            label: &self.runner.label,
            image: self
                .runner
                .image
                .as_deref()
                .unwrap_or_else(|| image::built()),
            entrypoint,
            network: self.runner.network.as_deref(),
            hosts: &self.runner.hosts,
            environment: &environment,
        };
        let started = Instant::now();
        let child = Command::new(variable("RIG_DOCKER"))
            .args(container.argv())
            .current_dir(host.workspace())
            .envs(container.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the CLI starts");
        let mut ended = follow(child, started, host, &suffix, stop);
        ended.values = files.process();
        // What masks hide is dropped from the job's outputs (`JobExtension.cs`:812): a mistake of the action's.
        for (name, value) in &ended.values.outputs {
            assert_eq!(
                ended.log.masked(value),
                *value,
                "output `{name}` may contain secret"
            );
        }
        ended.values.summary = ended.log.masked(&ended.values.summary);
        assert_eq!(ended.values.refused, Vec::<String>::new());
        assert_eq!(ended.log.unexpected, Vec::<String>::new());
        // The rest of the job goes on as if the action had not been there.
        assert_eq!(
            (&ended.values.path, &ended.values.env),
            (&Vec::new(), &BTreeMap::new())
        );
        if ended.cancelled.is_none() {
            assert_eq!(ended.log.open, 0, "an open group: {}", ended.log());
        }
        ended
    }
}

impl Ended {
    /// The log as shown.
    pub(crate) fn log(&self) -> String {
        self.log.lines.join("\n")
    }

    /// The run, which has to have succeeded.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.log());
        self
    }

    /// An output that is a number.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.output(name).parse().unwrap()
    }

    /// The annotations of a level, as `error`.
    pub(crate) fn annotations(&self, level: &str) -> Vec<&commands::Annotation> {
        let all = self.log.annotations.iter();
        all.filter(|found| found.level == level).collect()
    }

    /// The annotations of a level that are at a file.
    pub(crate) fn in_files(&self, level: &str) -> Vec<&commands::Annotation> {
        let mut found = self.annotations(level);
        found.retain(|annotation| annotation.properties.contains_key("file"));
        found
    }

    pub(crate) fn output(&self, name: &str) -> &str {
        let outputs = &self.values.outputs;
        outputs
            .get(name)
            .unwrap_or_else(|| panic!("no output `{name}`: {:?}\n{}", outputs.keys(), self.log()))
    }
}
