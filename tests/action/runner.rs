//! A harness around the real binary: the runner's side of a step.
//!
//! In: inputs, variables, what the fake buildx shall do. Out: what the step left: exit code, log,
//! outputs, summary, state, and every call to buildx ([`Ran`]). A run's private folder must be
//! gone when it has ended.
#![expect(
    clippy::disallowed_methods,
    reason = "a harness starts the program under test and makes its environment"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Pid;
use tempfile::TempDir;

use crate::engine::{Engine, Store};
use crate::ran::Ran;
use crate::recording::as_of_now;
pub(crate) use crate::recording::recorded;
use crate::running::{Running, on_engine};

/// Variables that say where a run happens and whom it may talk to. They are taken away, so that a
/// test means the same on a laptop, inside of a workflow and behind a company's proxy.
const SCRUBBED: &[(&str, &str)] = &[
    ("ACTIONS_", "the runner's services and tokens"),
    (
        "AWS_",
        "credentials, region and endpoints of whoever runs the tests",
    ),
    ("BUILDX_", "another builder, other settings of buildx"),
    ("BUILDKIT_", "another BuildKit"),
    ("DOCKER_", "another Engine, another configuration"),
    ("FAKE_", "the fake programs' own"),
    ("FAST_ECR_PUSH_", "our own"),
    ("GITHUB_", "the workflow that runs the tests, and its files"),
    ("INPUT_", "inputs of an action that runs the tests"),
    ("RUNNER_", "the runner that runs the tests"),
    ("STATE_", "state of an action that runs the tests"),
    ("ALL_PROXY", "requests to loopback go through no proxy"),
    ("HTTP_PROXY", "the same"),
    ("HTTPS_PROXY", "the same"),
    ("NO_PROXY", "the same"),
    ("SSL_CERT_", "certificates that the machine trusts"),
    ("NODE_EXTRA_CA_CERTS", "the same"),
    ("CI", "programs behave differently where it is set"),
];

/// The names under which the runner passes files for commands.
const FILES: &[&str] = &[
    "GITHUB_OUTPUT",
    "GITHUB_STATE",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_ENV",
    "GITHUB_PATH",
];

/// The token that the workflow's `github.token` stands for; it must turn up nowhere.
pub(crate) const GITHUB_TOKEN: &str = "ghs_canary0123456789canary0123456789";

/// What the run pushes unless the test says otherwise: a registry that needs no login.
pub(crate) const TAG: &str = "registry.test/team/app:1";

/// Where recorded answers and streams are.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A step that is about to run.
pub(crate) struct Runner {
    root: TempDir,
    variables: BTreeMap<String, OsString>,
    arguments: Vec<String>,
    program: PathBuf,
    stdin: Option<String>,
    // Answers as long as it lives.
    engine: Option<Engine>,
}

impl Runner {
    /// A step of a workflow with our action's inputs at their defaults, a checked-out workspace
    /// with a Dockerfile, an Engine with containerd's image store and a buildx that replays a
    /// push.
    pub(crate) fn new() -> Self {
        let mut runner = Self::bare();
        let commands = runner.path("temp/_runner_file_commands");
        fs::create_dir_all(&commands).unwrap();
        for name in FILES {
            let path = commands.join(name.to_ascii_lowercase());
            File::create(&path).unwrap();
            runner = runner.variable(name, &path);
        }
        for (name, default) in crate::inputs::declared_defaults() {
            let value = default
                .replace("${{ github.token }}", GITHUB_TOKEN)
                .replace("${{ toJSON(matrix) }}", "null");
            runner = runner.input(&name, &value);
        }
        let (temp, workspace) = (runner.path("temp"), runner.path("workspace"));
        runner
            .variable("CI", "true")
            .variable("GITHUB_ACTIONS", "true")
            .variable("GITHUB_REPOSITORY", "octo/app")
            .variable("GITHUB_SERVER_URL", "https://github.com")
            // Nobody listens there.
            .variable("GITHUB_API_URL", "http://127.0.0.1:1")
            .variable("GITHUB_SHA", "8d3a4cf1b2e5d6f7a8b9c0d1e2f3a4b5c6d7e8f9")
            .variable("GITHUB_REF", "refs/heads/main")
            .variable("GITHUB_RUN_ID", "7")
            .variable("GITHUB_RUN_ATTEMPT", "1")
            .variable("GITHUB_WORKSPACE", workspace)
            .variable("RUNNER_TEMP", temp)
            .input("context", ".")
            .input("tags", TAG)
            // Its own tests ask for one.
            .input("cache", "none")
            .stream(&recorded("cold-push"))
            .engine(Store::Containerd)
    }

    /// A shell on a machine without runner, Engine and AWS credentials.
    pub(crate) fn bare() -> Self {
        let root = tempfile::Builder::new()
            .prefix("action-test-")
            .tempdir()
            .unwrap();
        for folder in ["temp", "workspace", "home", "buildx"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("workspace/Dockerfile"), "FROM scratch\n").unwrap();
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/action/bin");
        let runner = Self {
            variables: BTreeMap::new(),
            arguments: Vec::new(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_fast-ecr-push")),
            stdin: None,
            engine: None,
            root,
        };
        for (name, recording) in [
            ("version", "version.txt"),
            ("inspect", "inspect.txt"),
            ("metadata", "metadata.json"),
            ("iidfile", "iidfile.txt"),
            ("manifest", "manifest.json"),
            ("image", "image.json"),
        ] {
            let from = fixture(&format!("answers/buildx-0.29.1-{recording}"));
            fs::copy(from, runner.path("buildx").join(name)).unwrap();
        }
        let (home, buildx, socket) = (
            runner.path("home"),
            runner.path("buildx"),
            runner.path("nowhere.sock"),
        );
        let temp = runner.path("temp");
        runner
            .variable("HOME", home)
            .variable("TMPDIR", temp)
            .variable("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .variable("FAKE_BUILDX", buildx)
            .variable("DOCKER_HOST", format!("unix://{}", socket.display()))
            // No request to the address where cloud machines have their credentials.
            .variable("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Gives an input, as the runner does: upper case, hyphens kept.
    pub(crate) fn input(self, name: &str, value: &str) -> Self {
        self.variable(&format!("INPUT_{}", name.to_ascii_uppercase()), value)
    }

    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// Calls the binary by another name, through a symbolic link.
    pub(crate) fn called(mut self, name: &str) -> Self {
        let link = self.path(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_fast-ecr-push"), &link).unwrap();
        self.program = link;
        self
    }

    /// Starts an Engine for this run alone.
    pub(crate) fn engine(mut self, store: Store) -> Self {
        let engine = Engine::start(&self.path(store.name()), store, &self.path("buildx"));
        let host = engine.host.clone();
        self.engine = Some(engine);
        self.variable("DOCKER_HOST", host)
    }

    /// Address of this run's Engine.
    pub(crate) fn engine_host(&self) -> &str {
        &self.engine.as_ref().unwrap().host
    }

    /// What `buildx build` prints, as of now.
    pub(crate) fn stream(self, stream: &str) -> Self {
        self.buildx("stream", &as_of_now(stream))
    }

    /// What a second `buildx build` prints.
    pub(crate) fn second_stream(self, stream: &str) -> Self {
        self.buildx("stream.2", &as_of_now(stream))
    }

    /// A file that tells the fake buildx what to do: see `tests/action/bin/buildx`.
    pub(crate) fn buildx(self, name: &str, content: &str) -> Self {
        self.file(&format!("buildx/{name}"), content)
    }

    /// A file below the run's root: `workspace/…`, `temp/…`, `home/…`.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Whether a post step comes, and has been told what to do.
    pub(crate) fn has_a_post_step(&self) -> bool {
        self.variables.contains_key("GITHUB_STATE")
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Ran {
        self.start().finish()
    }

    /// Starts the step and returns while it runs.
    pub(crate) fn start(self) -> Running {
        let output = |name: &str| File::create(self.path(name)).unwrap();
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_ascii_uppercase();
            if SCRUBBED.iter().any(|(prefix, _)| upper.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let stdin = match &self.stdin {
            Some(text) => {
                fs::write(self.path("stdin"), text).unwrap();
                Stdio::from(File::open(self.path("stdin")).unwrap())
            }
            None => Stdio::null(),
        };
        let child = command
            .envs(&self.variables)
            .args(&self.arguments)
            .current_dir(self.path("workspace"))
            .stdin(stdin)
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        Running {
            child,
            before: on_engine(&self),
            started: Instant::now(),
            runner: self,
        }
    }
}

/// The private folders of runs that are there.
pub(crate) fn run_folders(runner: &Runner) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(runner.path("temp"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("fast-ecr-push-")
        })
        .collect();
    found.sort();
    found
}

/// Whether buildx knows a builder by this run's folder.
pub(crate) fn keeps_a_builder(folder: &Path) -> bool {
    fs::read_dir(folder.join("docker/buildx/instances"))
        .is_ok_and(|mut names| names.next().is_some())
}

pub(crate) fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}
