//! A cluster that builds, and runs of the action against it: the API stand-in, or a real one.
//!
//! A real one is what `TEST_KUBECONFIG` names; `TEST_NAMESPACE`, `TEST_REGISTRY` and `TEST_BASE`
//! (all of `make test-kubernetes`) say where pods may be, where they may push to and what from they
//! build. The stand-in needs the rig. `TEST_BUILDX` names another buildx than the rig's, or that of PATH.

mod engine;
mod objects;
mod run;
mod stand_in;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

pub(crate) use objects::Objects;
pub(crate) use run::Run;
use stand_in::{Pods, StandIn};

/// How long the pods of a real cluster may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct Cluster {
    folder: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    registry: String,
    base: String,
    stand_in: Option<StandIn>,
    buildx: PathBuf,
}

/// A variable of the rig's.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run this under `rig exec --`"))
}

/// A program that was built beside the tests.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_kubernetes-stand-in")).with_file_name(name)
}

impl Cluster {
    /// The real cluster where one is named, else the stand-in, all of whose pods are one BuildKit.
    pub(crate) fn any() -> Self {
        match std::env::var_os("TEST_KUBECONFIG") {
            Some(path) => Self::real(PathBuf::from(path)),
            None => Self::stand_in(),
        }
    }

    fn real(kubeconfig: PathBuf) -> Self {
        let namespace = std::env::var("TEST_NAMESPACE").unwrap_or_else(|_| "buildx".to_owned());
        let registry = variable("TEST_REGISTRY");
        let base = std::env::var("TEST_BASE").unwrap_or_else(|_| "busybox:latest".to_owned());
        let buildx = std::env::var_os("RIG_BUILDX").map(PathBuf::from);
        let buildx = other_buildx().or(buildx).unwrap_or_else(on_path);
        Self {
            folder: folder(&base, &buildx),
            buildx,
            kubeconfig,
            namespace,
            registry,
            base,
            stand_in: None,
        }
    }

    /// The same, where the stand-in's pods are two BuildKits.
    pub(crate) fn any_with_two_buildkits() -> Self {
        match std::env::var_os("TEST_KUBECONFIG") {
            Some(path) => Self::real(PathBuf::from(path)),
            None => Self::with_two_buildkits(),
        }
    }

    /// The stand-in.
    pub(crate) fn stand_in() -> Self {
        Self::on_stand_in(&Pods::One)
    }

    /// The stand-in, whose pods are two BuildKits in turn.
    pub(crate) fn with_two_buildkits() -> Self {
        Self::on_stand_in(&Pods::Two)
    }

    /// The stand-in, whose pods are a BuildKit with these variables.
    pub(crate) fn with_variables(env: &[(String, String)]) -> Self {
        Self::on_stand_in(&Pods::WithVariables(env))
    }

    fn on_stand_in(pods: &Pods<'_>) -> Self {
        let registry = variable("RIG_REGISTRY");
        let of_rig = PathBuf::from(variable("RIG_BUILDX"));
        let buildx = other_buildx().unwrap_or_else(|| of_rig.clone());
        let base = format!("{registry}/rig/busybox:latest");
        let folder = folder(&base, &buildx);
        let stand_in = StandIn::start(&folder, &of_rig, pods);
        Self {
            buildx,
            kubeconfig: folder.join("kubeconfig"),
            folder,
            namespace: "buildx".to_owned(),
            registry,
            base,
            stand_in: Some(stand_in),
        }
    }

    /// The image that builds begin with.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The stand-in's process.
    pub(crate) fn stand_in_pid(&self) -> u32 {
        self.trick().pid()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether the buildx of these tests is that old or newer, as major and minor version.
    pub(crate) fn has_buildx_since(&self, oldest: (u32, u32)) -> bool {
        let said = Command::new(&self.buildx).arg("version").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let version = said.split_whitespace().nth(1).unwrap();
        let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
        let mut next = || numbers.next().unwrap().unwrap();
        (next(), next()) >= oldest
    }

    /// What is built from now on, on the base image.
    pub(crate) fn dockerfile(&self, steps: &str) {
        let text = format!("FROM {}\n{steps}", self.base);
        std::fs::write(self.context("Dockerfile"), text).unwrap();
    }

    /// A path in the build's context.
    pub(crate) fn context(&self, name: &str) -> PathBuf {
        self.folder.join("context").join(name)
    }

    /// A path beside it, for what a test keeps.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A folder with the push engine's step, for builders of this machine's architecture.
    pub(crate) fn step(&self) -> PathBuf {
        let program = variable("STEP");
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            _ => "arm64",
        };
        let step = self.file("step");
        std::fs::create_dir_all(&step).unwrap();
        let name = format!("fast-ecr-push-step-{architecture}");
        std::fs::copy(program, step.join(name)).unwrap();
        step
    }

    /// The action's program.
    pub(crate) fn program(&self) -> PathBuf {
        program("fast-ecr-push")
    }

    /// What is in the namespace.
    pub(crate) fn objects(&self) -> Objects {
        Objects::new(&self.kubeconfig, &self.namespace)
    }

    /// The stand-in's folder of records and scripts, for tests that need its tricks.
    fn trick(&self) -> &StandIn {
        self.stand_in.as_ref().unwrap()
    }

    /// What the stand-in does from now on.
    pub(crate) fn script(&self, json: &str) {
        self.trick().script(json);
    }

    /// Has the API server stop, and listen on the same port again after so long.
    pub(crate) fn restart(&self, takes: Duration) {
        self.trick().restart(takes);
    }

    /// How often the stand-in was asked for something, as `list pods`.
    pub(crate) fn calls(&self, call: &str) -> usize {
        self.trick().calls(call)
    }

    /// Lines of a record of the stand-in's.
    pub(crate) fn record(&self, name: &str) -> Vec<Value> {
        self.trick().record(name)
    }

    pub(crate) fn kubeconfig(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap()
    }

    /// The stand-in's kubeconfig with a command of one's own for credentials.
    pub(crate) fn with_command(&self, script: &str) -> String {
        let plugin = self.file("plugin");
        std::fs::write(&plugin, format!("#!/bin/sh\n{script}\n")).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&plugin, executable).unwrap();
        let text = self.kubeconfig("kubeconfig-eks");
        let (head, _) = text.split_once("      command: aws").unwrap();
        format!("{head}      command: {}\n", plugin.display())
    }

    pub(crate) fn run(&self, inputs: &[(&str, &str)]) -> Run {
        self.run_with(inputs, &[])
    }

    pub(crate) fn run_with(&self, inputs: &[(&str, &str)], env: &[(&str, &str)]) -> Run {
        let summary = self.folder.join(format!("summary-{}", unique()));
        let output = self
            .command(inputs)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .envs(env.iter().copied())
            .output()
            .unwrap();
        Run {
            code: output.status.code(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
            outputs: String::from_utf8_lossy(&output.stdout).into_owned(),
            summary: std::fs::read_to_string(summary).unwrap_or_default(),
        }
    }

    /// An image's name that nobody else pushes to: the rig's registry mixes up uploads of the same
    /// layer into the same repository.
    pub(crate) fn tag(&self, name: &str) -> String {
        let cluster = self.folder.file_name().unwrap().to_string_lossy();
        format!("{}/{cluster}/{name}:1", self.registry)
    }

    pub(crate) fn command(&self, inputs: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program("fast-ecr-push"));
        let path = format!("{}:{}", self.folder.join("bin").display(), variable("PATH"));
        let context = self.folder.join("context").display().to_string();
        let tag = self.tag("test");
        let defaults = [
            ("driver", "kubernetes"),
            ("namespace", &self.namespace),
            ("context", &context),
            ("tags", &tag),
        ];
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.join("temp"))
            .env("RUNNER_TEMP", self.folder.join("temp"));
        if self.stand_in.is_some() {
            command
                .env("INPUT_KUBECONFIG", self.kubeconfig("kubeconfig"))
                .env("DOCKER_HOST", variable("DOCKER_HOST"))
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
                .env("AWS_SECRET_ACCESS_KEY", "secret")
                .env("AWS_ENDPOINT_URL_EKS", self.kubeconfig("eks-endpoint"));
        } else {
            // The user's own, with the programs and files that it names, and the login to the registry.
            command
                .env("KUBECONFIG", &self.kubeconfig)
                .env("INPUT_ALLOW-EXEC", "true");
            for name in ["HOME", "DOCKER_CONFIG", "AWS_PROFILE", "AWS_REGION"] {
                command.envs(std::env::var_os(name).map(|value| (name, value)));
            }
        }
        for (name, value) in defaults.iter().chain(inputs) {
            command.env(format!("INPUT_{}", name.to_ascii_uppercase()), value);
        }
        command
    }

    /// Starts a long build, whose log goes into a file.
    pub(crate) fn start_long_build(&self, inputs: &[(&str, &str)], log: &Path) -> Child {
        self.command(&[("build-args", "SECONDS=120")])
            .envs(
                inputs
                    .iter()
                    .map(|(name, value)| (format!("INPUT_{}", name.to_uppercase()), value)),
            )
            .env("GITHUB_STATE", self.new_state())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap()
    }

    /// Runs a long build and kills the action and buildx in the middle. Returns the runner's state.
    pub(crate) fn run_and_kill(&self, inputs: &[(&str, &str)]) -> Vec<(String, String)> {
        let log = self.folder.join("killed.log");
        let mut child = self.start_long_build(inputs, &log);
        let begun = Instant::now();
        while !std::fs::read_to_string(&log).unwrap().contains("RUN echo") {
            assert!(
                begun.elapsed() < Duration::from_secs(300) && child.try_wait().unwrap().is_none(),
                "no build began: {}",
                std::fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let children = std::fs::read_to_string(children).unwrap();
        // Before its children: it would notice that buildx is gone, and clean up.
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "it ended by itself");
        for pid in children.split_whitespace() {
            // A word of every shell, but not a program of every machine.
            let kill = format!("kill -9 {pid}");
            Command::new("sh").args(["-c", &kill]).status().unwrap();
        }
        self.state()
    }

    /// The file of a run that has a post step.
    pub(crate) fn new_state(&self) -> PathBuf {
        let state = self.folder.join("state");
        std::fs::write(&state, "").unwrap();
        state
    }

    /// What the last such run wrote into it, as the post step gets it.
    pub(crate) fn state(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.folder.join("state")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .chunks(3)
            .map(|entry| {
                let name = entry[0].split("<<").next().unwrap();
                (format!("STATE_{name}"), entry[1].to_owned())
            })
            .collect()
    }

    /// A run that has a post step, of which this is the state then.
    pub(crate) fn run_before_post(&self, inputs: &[(&str, &str)]) -> (Run, Vec<(String, String)>) {
        let state = self.new_state().display().to_string();
        let run = self.run_with(inputs, &[("GITHUB_STATE", &state)]);
        (run, self.state())
    }

    /// The post step; returns its log.
    pub(crate) fn post(&self, state: &[(String, String)]) -> String {
        let output = self
            .command(&[])
            .arg("post")
            .envs(state.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Ends the test: the stand-in must not have seen a call that it does not know. Returns the
    /// objects and folders that are left.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let mut left = match self.stand_in.take() {
            Some(stand_in) => stand_in.stop(),
            None => {
                let begun = Instant::now();
                let objects = self.objects();
                while !objects.names().is_empty() && begun.elapsed() < GONE_WITHIN {
                    std::thread::sleep(Duration::from_secs(1));
                }
                objects.names()
            }
        };
        let temp = std::fs::read_dir(self.folder.join("temp")).unwrap();
        let folders = temp.map(|entry| entry.unwrap().path().display().to_string());
        let folders = folders.filter(|path| path.contains("fast-ecr-push-"));
        // A killed run leaves its folder to the runner, which empties its temporary one.
        left.extend(folders.filter(|_| !self.folder.join("state").exists()));
        left
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stand_in.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn unique() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()
}

/// Another buildx than the rig's, to try the tests with.
fn other_buildx() -> Option<PathBuf> {
    std::env::var_os("TEST_BUILDX").map(PathBuf::from)
}

/// A folder for one test: context, buildx, what runs leave.
fn folder(base: &str, buildx: &Path) -> PathBuf {
    let nanos = unique();
    let folder = std::env::temp_dir().join(format!("kubernetes-test-{nanos}"));
    for name in ["context", "bin", "temp"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(buildx, folder.join("bin/buildx")).unwrap();
    let dockerfile = format!(
        "FROM {base}\nARG SECONDS=0\nRUN echo {nanos} && sleep $SECONDS && head -c 1000000 /dev/urandom > /x\n"
    );
    std::fs::write(folder.join("context/Dockerfile"), dockerfile).unwrap();
    folder
}

/// The buildx of this machine.
fn on_path() -> PathBuf {
    let path = variable("PATH");
    let programs = ["buildx", "docker-buildx"];
    let plugins = [
        format!("{}/.docker/cli-plugins", variable("HOME")),
        "/usr/local/lib/docker/cli-plugins".to_owned(),
        "/usr/libexec/docker/cli-plugins".to_owned(),
        "/usr/lib/docker/cli-plugins".to_owned(),
    ];
    path.split(':')
        .chain(plugins.iter().map(String::as_str))
        .flat_map(|folder| programs.map(|program| Path::new(folder).join(program)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("no buildx in PATH, nor as a plugin of the Docker CLI"))
}
