//! What the rig gives, and a run of the action on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

/// A variable of the rig's.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: the end-to-end tests run on the rig, `make test` starts them")
    })
}

/// Host and port of the rig's registry.
pub(crate) fn registry() -> String {
    variable("RIG_REGISTRY")
}

/// The tiny base image.
pub(crate) fn busybox() -> String {
    format!("{}/rig/busybox:latest", registry())
}

/// Held by tests that make builders on the Engine, so that none counts another's.
pub(crate) static BUILDERS: Mutex<()> = Mutex::new(());

/// A run of the action as the runner would start it.
pub(crate) struct Action {
    folder: TempDir,
    inputs: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: i32,
    pub log: String,
    pub outputs: BTreeMap<String, String>,
    pub summary: String,
}

impl Action {
    /// A run that builds a Dockerfile in a context of its own.
    pub(crate) fn new(dockerfile: &str) -> Self {
        let action = Self {
            folder: tempfile::tempdir().unwrap(),
            inputs: BTreeMap::new(),
            variables: BTreeMap::new(),
        };
        std::fs::create_dir(action.workspace()).unwrap();
        std::fs::create_dir(action.folder.path().join("temp")).unwrap();
        let buildx = action.folder.path().join("bin");
        std::fs::create_dir(&buildx).unwrap();
        std::os::unix::fs::symlink(variable("RIG_BUILDX"), buildx.join("buildx")).unwrap();
        action.file("Dockerfile", dockerfile).input("context", ".")
    }

    /// The folder that a checkout would fill.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// Puts a file into the workspace.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        std::fs::write(self.workspace().join(path), text).unwrap();
        self
    }

    pub(crate) fn input(mut self, name: &str, value: &str) -> Self {
        let name = format!("INPUT_{}", name.to_uppercase());
        self.inputs.insert(name, value.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With several variables, as an AWS account gives them.
    pub(crate) fn variables(self, variables: &[(&str, String)]) -> Self {
        let variables = variables.iter();
        variables.fold(self, |action, (name, value)| action.variable(name, value))
    }

    /// Runs it to its end. May be called again: each run has files of its own.
    pub(crate) fn run(&self) -> Ended {
        let root = self.folder.path();
        let [output, summary, state] = ["output", "summary", "state"].map(|name| root.join(name));
        for file in [&output, &summary, &state] {
            std::fs::write(file, "").unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", root.join("bin").display());
        let ended = Command::new(env!("CARGO_BIN_EXE_fast-ecr-push"))
            .current_dir(self.workspace())
            .env_clear()
            .env("PATH", path)
            .env("HOME", root)
            .env("DOCKER_HOST", variable("DOCKER_HOST"))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_WORKSPACE", self.workspace())
            .env("RUNNER_TEMP", root.join("temp"))
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_STATE", &state)
            .envs(&self.inputs)
            .envs(&self.variables)
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        let left: Vec<_> = std::fs::read_dir(root.join("temp")).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        Ended {
            code: ended.status.code().unwrap_or(-1),
            log: String::from_utf8(ended.stdout).unwrap(),
            outputs: outputs(&output),
            summary: std::fs::read_to_string(summary).unwrap(),
        }
    }
}

impl Ended {
    /// The run, which has to have succeeded.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.log);
        self
    }

    pub(crate) fn output(&self, name: &str) -> &str {
        self.outputs
            .get(name)
            .unwrap_or_else(|| panic!("no output `{name}`: {:?}", self.outputs.keys()))
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.output(name).parse().unwrap()
    }
}

/// Reads `GITHUB_OUTPUT`: heredoc blocks.
fn outputs(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let mut outputs = BTreeMap::new();
    while let Some(head) = lines.next() {
        let (name, end) = head.split_once("<<").expect("heredoc");
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        outputs.insert(name.to_owned(), value.join("\n"));
    }
    outputs
}
