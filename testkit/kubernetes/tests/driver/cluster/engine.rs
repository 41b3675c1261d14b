//! A second BuildKit, with a store of its own: two nodes that share one would be one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Docker Engine beside the rig's, without a network for builds.
pub(crate) struct Engine {
    child: Child,
    pub socket: PathBuf,
}

impl Engine {
    /// From the packages that the rig's buildx is one of, with variables of a pod's.
    pub(crate) fn start(folder: &Path, buildx: &Path, env: &[(String, String)]) -> Self {
        let root = buildx.ancestors().nth(5).unwrap();
        let path = format!(
            "{0}/usr/bin:{0}/usr/sbin:{1}",
            root.display(),
            super::variable("PATH")
        );
        let socket = folder.join("docker.sock");
        let child = Command::new(root.join("usr/sbin/dockerd"))
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .args(["--feature", "containerd-snapshotter", "--group", "root"])
            .args(["--shutdown-timeout", "1", "--log-level", "error"])
            .arg(format!("--host=unix://{}", socket.display()))
            .arg(format!("--data-root={}", folder.join("data").display()))
            .arg(format!("--exec-root={}", folder.join("exec").display()))
            .arg(format!("--pidfile={}", folder.join("pid").display()))
            .env("PATH", path)
            .env_remove("DOCKER_HOST")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "no second Engine"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, socket }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It has a containerd to stop, which SIGKILL would leave behind.
        let terminate = format!("kill -TERM {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &terminate]).status();
        let _ = self.child.wait();
    }
}
