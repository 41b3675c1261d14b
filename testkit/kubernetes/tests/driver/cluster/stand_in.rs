//! The stand-in as a process of a test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::engine::Engine;
use super::{program, variable};

/// The BuildKits that pods are.
pub(crate) enum Pods<'a> {
    /// The rig's own.
    One,
    /// That and another, in turn.
    Two,
    /// One with variables of its own.
    WithVariables(&'a [(String, String)]),
}

pub(crate) struct StandIn {
    child: Child,
    /// Beside the rig's own, or instead of it.
    _engine: Option<Engine>,
    folder: PathBuf,
}

impl StandIn {
    pub(crate) fn start(folder: &Path, buildx: &Path, pods: &Pods<'_>) -> Self {
        let socket = variable("DOCKER_HOST").replace("unix://", "");
        let socket = (!matches!(pods, Pods::WithVariables(_))).then_some(socket);
        let engine = match pods {
            Pods::One => None,
            Pods::Two => Some(Engine::start(folder, buildx, &[])),
            Pods::WithVariables(env) => Some(Engine::start(folder, buildx, env)),
        };
        let mut child = Command::new(program("kubernetes-stand-in"))
            .arg(folder)
            .args(socket)
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
            _engine: engine,
            folder: folder.to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn script(&self, json: &str) {
        std::fs::write(self.folder.join("script.json"), json).unwrap();
    }

    /// Stops the API server. It listens again after so long.
    pub(crate) fn restart(&self, takes: Duration) {
        let file = self.folder.join("restart");
        let text = takes.as_millis().to_string();
        std::fs::write(&file, text).unwrap();
        let begun = Instant::now();
        while file.exists() {
            assert!(begun.elapsed() < Duration::from_secs(5), "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn record(&self, name: &str) -> Vec<Value> {
        let path = self.folder.join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    pub(crate) fn calls(&self, call: &str) -> usize {
        let requests = self.record("requests");
        requests.iter().filter(|line| line["call"] == call).count()
    }

    /// Stops it. Returns the objects that are left.
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
        left.lines().map(str::to_owned).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Gone already after a good end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
