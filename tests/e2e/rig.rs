//! What the rig gives, and a run of the action on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::runner::{Ended, Runner, docker};

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

/// Driver options of a `docker-container` builder that reaches the rig's registry.
pub(crate) fn container_options() -> String {
    format!("image={}/rig/buildkit:latest\nnetwork=host", registry())
}

/// The tiny base image.
pub(crate) fn busybox() -> String {
    format!("{}/rig/busybox:latest", registry())
}

/// The rig's second Engine, whose image store is the classic one. Whoever has it is alone: no other run removes what a killed
/// one has left there.
pub(crate) struct Classic {
    pub host: String,
    _alone: MutexGuard<'static, ()>,
}

impl Classic {
    pub(crate) fn alone() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock();
        Self {
            host: variable("RIG_CLASSIC_DOCKER_HOST"),
            // Another test that failed leaves nothing that matters.
            _alone: alone.unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Prints what `docker` prints.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        docker(&[&["--host", &self.host], arguments].concat())
    }
}

/// A step that builds a Dockerfile in a workspace of its own, started by the runner's stand-in.
pub(crate) struct Action {
    runner: Runner,
    inputs: BTreeMap<String, String>,
}

impl Action {
    pub(crate) fn new(dockerfile: &str) -> Self {
        let action = Self {
            runner: Runner::new(),
            inputs: BTreeMap::new(),
        };
        action.file("Dockerfile", dockerfile).input("context", ".")
    }

    /// The folder that a checkout would fill.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.runner.workspace()
    }

    /// Puts a file into the workspace.
    pub(crate) fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.runner = self.runner.file(path, content);
        self
    }

    pub(crate) fn input(mut self, name: &str, value: &str) -> Self {
        self.inputs.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable for the step.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.runner = self.runner.variable(name, value);
        self
    }

    /// Has another event start the run than a push to the default branch.
    pub(crate) fn event(mut self, name: &str, payload: &str) -> Self {
        self.runner = self.runner.event(name, payload);
        self
    }

    /// Gives the step another Engine's socket than the one that its container is on.
    pub(crate) fn engine(mut self, address: &str) -> Self {
        self.runner = self.runner.engine(address);
        self
    }

    /// Runs it to its end. May be called again: each run has files of its own.
    pub(crate) fn run(&self) -> Ended {
        let step = self
            .inputs
            .iter()
            .fold(self.runner.step(), |step, (name, value)| {
                step.input(name, value)
            });
        let ended = step.run();
        let left = self.runner.leftovers();
        assert!(left.is_empty(), "left behind: {left:?}");
        ended
    }
}
