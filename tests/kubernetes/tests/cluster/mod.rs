//! The stand-in as a process of a test, and runs of the action against it.

mod engine;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use engine::Engine;
use serde_json::Value;

pub(crate) struct Cluster {
    child: Child,
    /// Beside the rig's own.
    engine: Option<Engine>,
    folder: PathBuf,
}

/// A run of the action that ended.
pub(crate) struct Run {
    pub code: Option<i32>,
    pub log: String,
    outputs: String,
}

impl Run {
    pub(crate) fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{}", self.log);
    }

    pub(crate) fn output(&self, name: &str) -> String {
        let line = self
            .outputs
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no output `{name}`: {}", self.outputs))
            .to_owned()
    }
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run this under `rig exec --`"))
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_kubernetes-stand-in")).with_file_name(name)
}

impl Cluster {
    /// All pods are the rig's one BuildKit.
    pub(crate) fn start() -> Self {
        Self::start_with(false)
    }

    /// Pods are two BuildKits in turn.
    pub(crate) fn start_with_two_buildkits() -> Self {
        Self::start_with(true)
    }

    fn start_with(second: bool) -> Self {
        let socket = variable("DOCKER_HOST").replace("unix://", "");
        let nanos = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let folder = std::env::temp_dir().join(format!("kubernetes-stand-in-{nanos}"));
        std::fs::create_dir_all(folder.join("context")).unwrap();
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::create_dir_all(folder.join("temp")).unwrap();
        let buildx = folder.join("bin/buildx");
        let original = PathBuf::from(variable("RIG_BUILDX"));
        std::os::unix::fs::symlink(&original, buildx).unwrap();
        let engine = second.then(|| Engine::start(&folder, &original));
        let image = format!("{}/rig/busybox:latest", variable("RIG_REGISTRY"));
        let dockerfile = format!(
            "FROM {image}\nARG SECONDS=0\nRUN echo {nanos} && sleep $SECONDS && head -c 1000000 /dev/urandom > /x\n"
        );
        std::fs::write(folder.join("context/Dockerfile"), dockerfile).unwrap();
        let mut child = Command::new(program("kubernetes-stand-in"))
            .arg(&folder)
            .arg(socket)
            .args(engine.iter().map(|engine| &engine.socket))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready "), "{line}");
        Self {
            child,
            engine,
            folder,
        }
    }

    /// What is built from now on.
    pub(crate) fn dockerfile(&self, text: &str) {
        std::fs::write(self.folder.join("context/Dockerfile"), text).unwrap();
    }

    /// What the cluster does from now on.
    pub(crate) fn script(&self, json: &str) {
        std::fs::write(self.folder.join("script.json"), json).unwrap();
    }

    pub(crate) fn kubeconfig(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap()
    }

    pub(crate) fn run(&self, inputs: &[(&str, &str)]) -> Run {
        self.run_with(inputs, &[])
    }

    pub(crate) fn run_with(&self, inputs: &[(&str, &str)], env: &[(&str, &str)]) -> Run {
        let output = self
            .command(inputs)
            .envs(env.iter().copied())
            .output()
            .unwrap();
        Run {
            code: output.status.code(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
            outputs: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// An image's name that nobody else pushes to: the rig's registry mixes up uploads of the same
    /// layer into the same repository.
    pub(crate) fn tag(&self, name: &str) -> String {
        let registry = variable("RIG_REGISTRY");
        let cluster = self.folder.file_name().unwrap().to_string_lossy();
        format!("{registry}/{cluster}/{name}:1")
    }

    fn command(&self, inputs: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program("fast-ecr-push"));
        let path = format!("{}:{}", self.folder.join("bin").display(), variable("PATH"));
        let kubeconfig = self.kubeconfig("kubeconfig");
        let context = self.folder.join("context").display().to_string();
        let tag = self.tag("test");
        let defaults = [
            ("driver", "kubernetes"),
            ("kubeconfig", kubeconfig.as_str()),
            ("context", context.as_str()),
            ("tags", tag.as_str()),
        ];
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.join("temp"))
            .env("DOCKER_HOST", variable("DOCKER_HOST"))
            .env("RUNNER_TEMP", self.folder.join("temp"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL_EKS", self.kubeconfig("eks-endpoint"));
        for (name, value) in defaults.iter().chain(inputs) {
            command.env(format!("INPUT_{}", name.to_ascii_uppercase()), value);
        }
        command
    }

    /// Runs a long build and kills the action and buildx in the middle. Returns the runner's state.
    pub(crate) fn run_and_kill(&self) -> Vec<(String, String)> {
        let state = self.folder.join("state");
        std::fs::write(&state, "").unwrap();
        let before = self.calls("create pods/exec");
        let mut child = self
            .command(&[("namespace", "buildx"), ("build-args", "SECONDS=120")])
            .env("GITHUB_STATE", &state)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while self.calls("create pods/exec") == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "no build began");
            std::thread::sleep(Duration::from_millis(50));
        }
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        for pid in std::fs::read_to_string(children)
            .unwrap()
            .split_whitespace()
        {
            // A word of every shell, but not a program of every machine.
            let kill = format!("kill -9 {pid}");
            Command::new("sh").args(["-c", &kill]).status().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let text = std::fs::read_to_string(state).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .chunks(3)
            .map(|entry| {
                let name = entry[0].split("<<").next().unwrap();
                (format!("STATE_{name}"), entry[1].to_owned())
            })
            .collect()
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

    /// Lines of a record.
    pub(crate) fn record(&self, name: &str) -> Vec<Value> {
        let path = self.folder.join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// How often something was asked, as `list pods`.
    pub(crate) fn calls(&self, call: &str) -> usize {
        let requests = self.record("requests");
        requests.iter().filter(|line| line["call"] == call).count()
    }

    /// Stops the stand-in, which must not have seen a call that it does not know. Returns the
    /// objects that are left.
    pub(crate) fn stop(mut self) -> Vec<String> {
        // Pods take a moment to end.
        std::thread::sleep(Duration::from_millis(300));
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        let mut strikes = String::new();
        if let Ok(mut file) = std::fs::File::open(self.folder.join("strikes")) {
            file.read_to_string(&mut strikes).unwrap();
        }
        assert!(status.success(), "{strikes}");
        let left = std::fs::read_to_string(self.folder.join("left")).unwrap();
        let temp = std::fs::read_dir(self.folder.join("temp")).unwrap();
        let folders = temp.map(|entry| entry.unwrap().path().display().to_string());
        let folders = folders.filter(|path| path.contains("fast-ecr-push-"));
        // A killed run leaves its folder to the runner, which empties its temporary one.
        let folders = folders.filter(|_| !self.folder.join("state").exists());
        left.lines().map(str::to_owned).chain(folders).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Gone already after a good end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.engine.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
