//! Programs that unpack images, as different as they are.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::tree::{self, Tree};
use crate::rig::variable;
use crate::runner::docker;

/// The tree that an Engine makes of an image.
pub(crate) fn by_docker(host: &str, image: &str) -> Tree {
    docker(&["--host", host, "pull", "--quiet", image]);
    let id = docker(&["--host", host, "create", image, "none"]);
    let mut export = Command::new(variable("RIG_DOCKER"))
        .args(["--host", host, "export", &id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let tree = tree::exported(export.stdout.take().unwrap());
    assert!(export.wait().unwrap().success());
    docker(&["--host", host, "rm", "--volumes", &id]);
    assert!(!tree.is_empty());
    tree
}

/// A containerd of its own, without Docker.
pub(crate) struct Containerd {
    folder: TempDir,
    daemon: Child,
}

impl Containerd {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        // <https://github.com/containerd/containerd/blob/v2.1.0/docs/man/containerd-config.toml.5.md>
        let settings = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
            at("root"),
            at("state"),
            at("socket"),
            at("opt")
        );
        std::fs::write(at("config.toml"), settings).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let daemon = Command::new(program("containerd"))
            .args(["--config", &at("config.toml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let containerd = Self { folder, daemon };
        let until = Instant::now() + Duration::from_secs(20);
        while !containerd
            .ctr(&["version"])
            .output()
            .unwrap()
            .status
            .success()
        {
            let log = containerd.folder.path().join("log");
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < until, "containerd: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        containerd
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("ctr"));
        command
            .arg("--address")
            .arg(self.folder.path().join("socket"))
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.ctr(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "ctr {arguments:?}: {said}");
    }

    /// The tree that containerd makes of an image.
    pub(crate) fn tree(&self, image: &str) -> Tree {
        let mount = TempDir::new_in(self.folder.path()).unwrap();
        let at = mount.path().to_str().unwrap();
        self.run(&["images", "pull", "--plain-http", image]);
        self.run(&["images", "mount", image, at]);
        let tree = tree::mounted(Path::new(at));
        self.run(&["images", "unmount", "--rm", at]);
        assert!(!tree.is_empty());
        tree
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A program of the Engine's packages.
fn program(name: &str) -> PathBuf {
    Path::new(&variable("RIG_DOCKER")).with_file_name(name)
}
